"""A client program with aiohttp: the session's tokens go to one origin, by the certificate of its connections."""

import asyncio
import os

from mtls_as.client import TokenSource
from mtls_as.client.aiohttp import session

tokens = TokenSource(
    issuer=os.environ.get("ISSUER", "https://localhost:8443"),
    client_id="reports",
    certificate="certs/reports.pem",
    private_key="certs/reports-key.pem",
    ca="certs/ca.pem",
)


async def main(resource: str) -> None:
    async with session(tokens, resource, scope="reports:read") as http, http.get(resource + "/reports") as answer:
        answer.raise_for_status()
        print(await answer.json())  # noqa: T201 # what the example is for


asyncio.run(main(os.environ.get("RESOURCE", "https://localhost:8445")))
