"""Client authentication, one module per method (RFC 6749 §2.3, RFC 8705 §2).

Only `authenticator.ClientAuthenticator` makes an `AuthenticatedClient`, after every check of the client's own method.
"""
