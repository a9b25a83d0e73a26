"""draft-ietf-oauth-spiffe-client-auth-02 §4, §5.1: what a SPIFFE client registers."""

from typing import Any

import pytest

from mtls_as.rfc.rfc7591_client_metadata import (
    ClientMetadataError,
    SpiffeJwt,
    SpiffeX509,
    format_client_metadata,
    parse_client_metadata,
)
from mtls_as.rfc.spiffe_id import parse_spiffe_id_pattern
from mtls_as.server.clients import ClientSource, parse_client

ID = "spiffe://td.example/a"
METHODS = ("spiffe_x509", "spiffe_jwt")


def problems(members: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ClientMetadataError) as caught:
        parse_client_metadata(members)
    return dict(caught.value.problems)


@pytest.mark.parametrize(("method", "kind"), [("spiffe_x509", SpiffeX509), ("spiffe_jwt", SpiffeJwt)])
@pytest.mark.parametrize("text", [ID, f"{ID}/*", "spiffe://td.example/*"])
def test_both_methods_round_trip(method: str, kind: Any, text: str) -> None:
    """§5.1: an ID, or a prefix of whole segments. Tokens are bound by default here too."""
    metadata = parse_client_metadata({"token_endpoint_auth_method": method, "spiffe_id": text})
    assert metadata.authentication == kind(spiffe_id=parse_spiffe_id_pattern(text))
    assert metadata.token_endpoint_auth_method == method
    assert metadata.tls_client_certificate_bound_access_tokens is True
    assert format_client_metadata(metadata)["spiffe_id"] == text
    assert parse_client_metadata(format_client_metadata(metadata)) == metadata


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "value", ["", "a", "spiffe://td.example", "spiffe://Td.example/a", f"{ID}*", f"{ID}/", 1, None, [ID]]
)
def test_what_is_no_id_is_refused(method: str, value: object) -> None:
    assert set(problems({"token_endpoint_auth_method": method, "spiffe_id": value})) == {"spiffe_id"}


@pytest.mark.parametrize("method", METHODS)
def test_an_id_is_needed(method: str) -> None:
    assert problems({"token_endpoint_auth_method": method}) == {"spiffe_id": "is missing"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("member", ["tls_client_auth_san_uri", "tls_client_auth_subject_dn", "jwks", "jwks_uri"])
def test_other_identities_do_not_go_with_it(method: str, member: str) -> None:
    """A client has exactly one identity."""
    found = problems({"token_endpoint_auth_method": method, "spiffe_id": ID, member: "x"})
    assert found[member].endswith(f"not to {method}")


@pytest.mark.parametrize(
    "members",
    [
        {"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "a.example"},
        {"token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks_uri": "https://a.example/jwks"},
    ],
)
def test_an_id_does_not_go_with_other_methods(members: dict[str, Any]) -> None:
    assert "belongs to spiffe_x509 and spiffe_jwt" in problems(members | {"spiffe_id": ID})["spiffe_id"]


def test_clients_do_not_choose_the_keys_that_vouch_for_them() -> None:
    """§5.1 makes `spiffe_bundle_endpoint` optional; trust comes from the configuration alone."""
    members = {"token_endpoint_auth_method": "spiffe_x509", "spiffe_id": ID}
    assert set(problems(members | {"spiffe_bundle_endpoint": "https://a.example"})) == {"spiffe_bundle_endpoint"}


@pytest.mark.parametrize("method", METHODS)
def test_a_trust_domain_of_certificates_is_not_named(method: str) -> None:
    members = {"client_id": "a", "token_endpoint_auth_method": method, "spiffe_id": ID}
    assert parse_client(members, ClientSource.STORAGE).trust is None
    with pytest.raises(ClientMetadataError, match="trust: must not be given"):
        parse_client(members | {"trust": "default"}, ClientSource.STORAGE)
