"""A client program with gRPC: calls carry tokens, over a connection with the certificate that they are bound to."""

import os

from mtls_as.client import TokenSource
from mtls_as.client.grpc import secure_channel

tokens = TokenSource(
    issuer=os.environ.get("ISSUER", "https://localhost:8443"),
    client_id="reports",
    certificate="certs/reports.pem",
    private_key="certs/reports-key.pem",
    ca="certs/ca.pem",
)
target = os.environ.get("RESOURCE", "https://localhost:8445").removeprefix("https://")

with secure_channel(target, tokens, scope="reports:read") as channel:
    list_reports = channel.unary_unary("/example.Reports/List")  # a generated stub takes the channel as well
    print(list_reports(b"", timeout=10).decode())  # noqa: T201 # what the example is for
