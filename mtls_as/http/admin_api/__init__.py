"""The administration over HTTP: its operations, and what stands between them and a request."""
