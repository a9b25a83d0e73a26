"""An OAuth 2.0 authorization server, verifier and client for certificate-bound access tokens (RFC 8705)."""

__version__ = "0.1.0"
