"""RFC 7591 §2, `token_endpoint_auth_method`: what each method of RFC 8414 wants registered, and nothing beside it."""

from typing import Any

import pytest

from mtls_as.rfc import rfc7591_client_metadata
from mtls_as.rfc.rfc7517_jwk import JWKSet
from mtls_as.rfc.rfc7591_client_metadata import (
    ClientMetadata,
    ClientMetadataError,
    ClientSecret,
    JWKSUri,
    NoAuthentication,
    PrivateKeyJwt,
    format_client_metadata,
    parse_client_metadata,
)
from tests.assertions import AssertingClient
from tests.authority import new_key

JWT = {"token_endpoint_auth_method": "private_key_jwt"}
CLIENT = AssertingClient("batch")


def problems(members: dict[str, Any]) -> dict[str, str]:
    """What is wrong with a registration, by member."""
    with pytest.raises(ClientMetadataError) as caught:
        parse_client_metadata(members)
    return dict(caught.value.problems)


@pytest.mark.parametrize("members", [{"jwks": CLIENT.jwks}, {"jwks_uri": "https://c.example/jwks"}])
def test_keys_for_assertions_round_trip(members: dict[str, Any]) -> None:
    """RFC 7523 §2.2: keys or the place where they are."""
    metadata = parse_client_metadata(JWT | members)
    assert metadata.token_endpoint_auth_method == "private_key_jwt"
    assert isinstance(metadata.authentication, PrivateKeyJwt)
    assert isinstance(metadata.authentication.keys, JWKSUri if "jwks_uri" in members else JWKSet)
    assert parse_client_metadata(format_client_metadata(metadata)) == metadata


@pytest.mark.parametrize("kind", ["P-256", "RSA-2048", "Ed25519"])
def test_every_kind_of_key_that_can_sign(kind: str) -> None:
    algorithm = {"P-256": "ES256", "RSA-2048": "PS256", "Ed25519": "EdDSA"}[kind]
    assert parse_client_metadata(JWT | {"jwks": AssertingClient("c", algorithm=algorithm, key=new_key(kind)).jwks})


@pytest.mark.parametrize(
    ("jwk", "message"),
    [
        (CLIENT.jwk | {"kid": None}, "without kid"),
        (CLIENT.jwk | {"use": "enc"}, "cannot sign"),
        (CLIENT.jwk | {"alg": "RS256"}, "cannot sign"),
        (CLIENT.jwk | {"alg": "PS256"}, "cannot sign"),
        (AssertingClient("c", key=new_key("P-384")).jwk, "cannot sign"),
        (AssertingClient("c", algorithm="RS256", key=new_key("RSA-2048")).jwk, "cannot sign"),
        (CLIENT.jwk | {"d": "AAAA"}, "private"),
        ({"kty": "oct", "k": "AAAA", "kid": "k"}, "symmetric"),
    ],
)
def test_a_key_that_could_never_sign_an_assertion_is_refused(jwk: dict[str, Any], message: str) -> None:
    """Told when it is registered, not when it is first used."""
    given = {name: value for name, value in jwk.items() if value is not None}
    found = problems(JWT | {"jwks": {"keys": [CLIENT.jwk | {"kid": "other"}, given]}})
    assert set(found) == {"jwks"}
    assert message in found["jwks"]


def test_assertions_need_keys_of_one_place() -> None:
    """RFC 7591 §2."""
    assert problems(JWT) == {"": "private_key_jwt needs jwks or jwks_uri"}
    both = {"jwks": CLIENT.jwks, "jwks_uri": "https://c.example/jwks"}
    assert set(problems(JWT | both)) == {"jwks_uri"}
    assert set(problems(JWT | {"jwks": {"keys": []}})) == {"jwks"}


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_secret_is_no_metadata(method: str) -> None:
    """The server makes it; whoever sends one along is told that it is not read."""
    metadata = parse_client_metadata({"token_endpoint_auth_method": method})
    assert metadata.authentication == ClientSecret(method=method)  # type: ignore[arg-type] # one of the two
    assert metadata.token_endpoint_auth_method == method
    assert parse_client_metadata(format_client_metadata(metadata)) == metadata
    assert set(problems({"token_endpoint_auth_method": method, "client_secret": "x"})) == {"client_secret"}


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "tls_client_auth", "spiffe_jwt"])
def test_keys_belong_to_the_methods_that_use_them(method: str) -> None:
    """A member that would be ignored is an error."""
    found = problems({"token_endpoint_auth_method": method, "jwks": CLIENT.jwks})
    assert found["jwks"] == f"belongs to self_signed_tls_client_auth and private_key_jwt, not to {method}"


def test_a_public_client_needs_a_grant_that_takes_one() -> None:
    """RFC 6749 §4.4.2: client_credentials never does, and says so."""
    found = problems({"token_endpoint_auth_method": "none"})
    assert found == {
        "token_endpoint_auth_method": "cannot be none: no grant of this server may be used by a client that does not "
        "authenticate (RFC 6749 §4.4.2)"
    }
    with pytest.raises(ClientMetadataError):
        ClientMetadata(authentication=NoAuthentication())


def test_a_public_client_of_such_a_grant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once there is one; with another grant beside it, still not."""
    monkeypatch.setattr(rfc7591_client_metadata, "PUBLIC_GRANT_TYPES", frozenset({"client_credentials"}))
    metadata = parse_client_metadata({"token_endpoint_auth_method": "none"})
    assert (metadata.authentication, metadata.token_endpoint_auth_method) == (NoAuthentication(), "none")
    assert parse_client_metadata(format_client_metadata(metadata)) == metadata
    with pytest.raises(ClientMetadataError, match="only client_credentials may be used"):
        ClientMetadata(authentication=NoAuthentication(), grant_types=("client_credentials", "other"))
