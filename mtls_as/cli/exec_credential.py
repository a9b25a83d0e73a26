"""Credential plugins of kubectl: what it asks for, and the answer (ExecCredential, client.authentication.k8s.io)."""

import json
from collections.abc import Mapping
from typing import Final

from mtls_as.client.token_source import BoundToken
from mtls_as.rfc.rfc3339_time import format_time

VARIABLE: Final = "KUBERNETES_EXEC_INFO"

_VERSIONS: Final = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


class ExecCredentialError(Exception):
    """kubectl asks for something else, or in a way that is not known here."""


def asked_version(environment: Mapping[str, str]) -> str | None:
    """The version of the API to answer in; None where kubectl did not ask. Raises `ExecCredentialError`."""
    if VARIABLE not in environment:
        return None
    try:
        asked = json.loads(environment[VARIABLE])
    except ValueError:
        raise ExecCredentialError(f"{VARIABLE} is not JSON") from None
    if not isinstance(asked, dict) or asked.get("kind") != "ExecCredential":
        raise ExecCredentialError(f"{VARIABLE} is not an ExecCredential")
    if asked.get("apiVersion") not in _VERSIONS:
        raise ExecCredentialError(f"{VARIABLE}: apiVersion must be {' or '.join(_VERSIONS)}")
    return str(asked["apiVersion"])


def exec_credential(bound: BoundToken, *, version: str, with_certificate: bool) -> dict[str, object]:
    """The answer. Its `expirationTimestamp` is when to ask again, a little before the token ends.

    With the certificate it holds the key, too, as kubectl wants it; then kubectl presents it to the API server.
    """
    status = {"token": bound.token.value, "expirationTimestamp": format_time(bound.token.refresh_at)}
    if with_certificate:
        status["clientCertificateData"] = bound.credentials.chain_pem.decode("ascii", "replace")
        status["clientKeyData"] = bound.credentials.private_key_pem.decode("ascii", "replace")
    return {"apiVersion": version, "kind": "ExecCredential", "status": status}
