"""Endpoints, one module each: plain requests in, plain answers out; HTTP stays in `mtls_as.http`."""
