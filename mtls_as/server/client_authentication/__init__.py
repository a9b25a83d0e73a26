"""Client authentication, one module per method (RFC 6749 §2.3, RFC 8705 §2)."""
