"""Clients as operators see them: what they registered, where, and when their secrets were made."""

import hashlib
import json

from mtls_as.rfc.rfc3339_time import format_optional_time, format_time
from mtls_as.rfc.rfc4648_base64url import encode_base64url
from mtls_as.server.clients import Client, format_client

_VERSION_BYTES = 16


def describe_client(client: Client) -> dict[str, object]:
    """The members of a registration, `source`, and of its secrets the times."""
    members: dict[str, object] = {**format_client(client), "source": client.source.value}
    if client.secrets:
        members["client_secrets"] = [
            {"created_at": format_time(secret.created_at), "expires_at": format_optional_time(secret.expires_at)}
            for secret in client.secrets
        ]
    return members


def client_version(client: Client) -> str:
    """A text that is another one whenever anything about the client is: for an entity tag (RFC 9110 §8.8.3)."""
    secrets = [(each.digest.hex(), each.created_at, each.expires_at) for each in client.secrets]
    text = json.dumps([format_client(client), secrets], sort_keys=True)
    return encode_base64url(hashlib.sha256(text.encode()).digest()[:_VERSION_BYTES])
