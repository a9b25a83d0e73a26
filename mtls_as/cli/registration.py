"""A client's registration, from a file of metadata and from the options of `mtls-as client add`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

_CERTIFICATE_METHOD = "self_signed_tls_client_auth"
_SUBJECT_METHOD = "tls_client_auth"
_SPIFFE_METHODS = {False: "spiffe_x509", True: "spiffe_jwt"}


def members_of_file(file: Path | None) -> dict[str, object]:
    """The members of a file of metadata. Raises `FileError`."""
    from mtls_as.cli.files import FileError, read_json

    if file is None:
        return {}
    document = read_json(file)
    if not isinstance(document, dict):
        raise FileError(f"{file}: a client's metadata is a JSON object")
    return document


def members_of_options(options: Mapping[str, Any]) -> dict[str, object]:
    """The members that the given options stand for; which of them go together is judged with the whole."""
    from mtls_as.cli.files import read_json

    given = {name: value for name, value in options.items() if value is not None and value is not False}
    subjects = ("subject_dn", "san_dns", "san_uri", "san_ip", "san_email")
    members: dict[str, object] = {f"tls_client_auth_{name}": given.pop(name) for name in subjects if name in given}
    method = given.pop("token_endpoint_auth_method", None)
    if method is not None:
        members["token_endpoint_auth_method"] = method
    elif members:
        members["token_endpoint_auth_method"] = _SUBJECT_METHOD
    if "jwks" in given and "certificate" in given:
        raise click.UsageError("--jwks and --certificate exclude each other.")
    if "jwks" in given:
        members["jwks"] = read_json(given.pop("jwks"))
    if "certificate" in given:
        members["jwks"] = _keys_of_certificate(given.pop("certificate"))
    sends_jwt = given.pop("spiffe_jwt", False)
    if sends_jwt and "spiffe_id" not in given:
        raise click.UsageError("--spiffe-jwt goes with --spiffe-id.")
    if "spiffe_id" in given:
        members.setdefault("token_endpoint_auth_method", _SPIFFE_METHODS[sends_jwt])
    members |= _binding(given)
    if "jwks" in members or "jwks_uri" in given:
        members.setdefault("token_endpoint_auth_method", _CERTIFICATE_METHOD)
    return members | given


def _binding(given: dict[str, Any]) -> dict[str, object]:
    binding: dict[str, object] = {}
    if given.pop("dpop", False):
        binding["dpop_bound_access_tokens"] = True
    if given.pop("bearer", False):
        binding["tls_client_certificate_bound_access_tokens"] = False
    return binding


def _keys_of_certificate(file: Path) -> dict[str, object]:
    from mtls_as.cli.certificate_facts import registered_keys
    from mtls_as.cli.files import FileError, read_certificates

    certificate = read_certificates(file)[0]
    keys = registered_keys(certificate)
    if keys is None:
        raise FileError(f"{file}: keys of the kind {certificate.key_description} cannot be registered")
    return keys
