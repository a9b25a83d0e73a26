"""A client program with requests: the session's tokens and connections go by the same certificate."""

import os

from mtls_as.client import TokenSource
from mtls_as.client.requests import session

tokens = TokenSource(
    issuer=os.environ.get("ISSUER", "https://localhost:8443"),
    client_id="reports",
    certificate="certs/reports.pem",
    private_key="certs/reports-key.pem",
    ca="certs/ca.pem",
)

with session(tokens, scope="reports:read") as http:
    answer = http.get(os.environ.get("RESOURCE", "https://localhost:8445") + "/reports", timeout=10)
    answer.raise_for_status()
    print(answer.json())  # noqa: T201 # what the example is for
