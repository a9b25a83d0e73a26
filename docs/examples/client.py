"""A client program: httpx fetches, caches and refreshes tokens, and presents the same certificate everywhere."""

import os

from mtls_as.client import MutualTLSAuth

auth = MutualTLSAuth(
    issuer=os.environ.get("ISSUER", "https://localhost:8443"),
    client_id="reports",
    certificate="certs/reports.pem",
    private_key="certs/reports-key.pem",
    ca="certs/ca.pem",
)

with auth.client() as http:
    answer = http.get(os.environ.get("RESOURCE", "https://localhost:8445") + "/reports")
    print(answer.raise_for_status().json())  # noqa: T201 - what the example is for
