"""Where the server remembers: SQLAlchemy Core statements behind the ports of `mtls_as.server`."""
