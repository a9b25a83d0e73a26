"""The Quart application: one thin route per endpoint; the only place that knows status codes and headers."""
