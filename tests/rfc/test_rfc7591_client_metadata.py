"""RFC 7591 §2 and RFC 8705 §2.1.2, §3.4: client metadata is read strictly, and every problem is named."""

import base64
import contextlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc7517_jwk import JWKSet, public_jwk
from mtls_as.rfc.rfc7591_client_metadata import (
    METADATA_MEMBERS,
    ClientMetadata,
    ClientMetadataError,
    JWKSUri,
    SelfSignedTlsClientAuth,
    TlsClientAuth,
    format_client_metadata,
    parse_client_metadata,
)
from mtls_as.rfc.rfc8705_mtls import SubjectType
from tests.authority import self_signed

SAN = {"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "reports.example"}
SELF_SIGNED = {"token_endpoint_auth_method": "self_signed_tls_client_auth"}


def jwk(**members: Any) -> dict[str, Any]:
    """A registered key with its certificate."""
    identity = self_signed()
    public_key = identity.certificate.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    x5c = [base64.b64encode(identity.der).decode()]
    return {**public_jwk(public_key, kid="k1", algorithm="ES256"), "x5c": x5c, **members}


def problems(members: dict[str, Any]) -> dict[str, str]:
    """What is wrong with a registration, by member."""
    with pytest.raises(ClientMetadataError) as caught:
        parse_client_metadata(members)
    return dict(caught.value.problems)


def test_defaults_are_the_safe_ones() -> None:
    """RFC 8705 §3.4: tokens are bound unless bearer tokens are asked for."""
    metadata = parse_client_metadata(SAN)
    assert metadata.tls_client_certificate_bound_access_tokens is True
    assert metadata.grant_types == ("client_credentials",)
    assert metadata.scope == ()
    assert metadata.client_name is None


def test_tokens_have_one_binding() -> None:
    """RFC 9449 §5.2: bound to a DPoP key instead of the certificate; asked for both, a registration is refused."""
    metadata = parse_client_metadata({**SAN, "dpop_bound_access_tokens": True})
    assert (metadata.dpop_bound_access_tokens, metadata.tls_client_certificate_bound_access_tokens) == (True, False)
    assert parse_client_metadata(format_client_metadata(metadata)) == metadata
    bearer = {**SAN, "dpop_bound_access_tokens": False, "tls_client_certificate_bound_access_tokens": False}
    assert parse_client_metadata(bearer).dpop_bound_access_tokens is False
    both = {"dpop_bound_access_tokens": True, "tls_client_certificate_bound_access_tokens": True}
    assert set(problems({**SAN, **both})) == {"dpop_bound_access_tokens"}
    with pytest.raises(ClientMetadataError, match="one binding"):
        ClientMetadata(authentication=metadata.authentication, dpop_bound_access_tokens=True)


@pytest.mark.parametrize(
    ("member", "text"),
    [
        ("tls_client_auth_subject_dn", "CN=billing,O=Example"),
        ("tls_client_auth_san_dns", "reports.example"),
        ("tls_client_auth_san_uri", "spiffe://example/reports"),
        ("tls_client_auth_san_ip", "192.0.2.7"),
        ("tls_client_auth_san_email", "reports@mail.example"),
    ],
)
def test_each_of_the_five_subjects_can_be_registered(member: str, text: str) -> None:
    """RFC 8705 §2.1.2."""
    metadata = parse_client_metadata({"token_endpoint_auth_method": "tls_client_auth", member: text})
    assert metadata.token_endpoint_auth_method == "tls_client_auth"
    assert isinstance(metadata.authentication, TlsClientAuth)
    assert metadata.authentication.subject.type == SubjectType(member)
    assert parse_client_metadata(format_client_metadata(metadata)) == metadata


def test_no_subject_is_refused() -> None:
    """RFC 8705 §2.1.2: exactly one; a client without any could be everybody."""
    found = problems({"token_endpoint_auth_method": "tls_client_auth"})
    assert "exactly one subject" in found[""]


def test_two_subjects_are_refused() -> None:
    """RFC 8705 §2.1.2: exactly one."""
    found = problems({**SAN, "tls_client_auth_san_ip": "192.0.2.7"})
    assert found == {
        "tls_client_auth_san_ip": "a client has exactly one subject, and tls_client_auth_san_dns is given too"
    }


@pytest.mark.parametrize("text", ["", "*.example", "a.example.", "ä.example", 5, None, ["a.example"]])
def test_a_subject_that_could_match_nothing_or_too_much_is_refused(text: object) -> None:
    """An empty subject, a wildcard and a wrong type are errors of that member."""
    assert set(problems({**SAN, "tls_client_auth_san_dns": text})) == {"tls_client_auth_san_dns"}


def test_a_subject_does_not_go_with_self_signed_certificates() -> None:
    """Whoever registers both means something that would not happen."""
    found = problems({**SELF_SIGNED, "jwks": {"keys": [jwk()]}, "tls_client_auth_san_dns": "reports.example"})
    assert set(found) == {"tls_client_auth_san_dns"}


def test_keys_do_not_go_with_a_subject() -> None:
    """The same, the other way round."""
    assert set(problems({**SAN, "jwks_uri": "https://client.example/jwks"})) == {"jwks_uri"}


def test_registered_keys_round_trip() -> None:
    """RFC 8705 §2.2.2: `jwks` with `x5c`."""
    metadata = parse_client_metadata({**SELF_SIGNED, "jwks": {"keys": [jwk()]}})
    assert metadata.token_endpoint_auth_method == "self_signed_tls_client_auth"
    assert isinstance(metadata.authentication, SelfSignedTlsClientAuth)
    assert isinstance(metadata.authentication.keys, JWKSet)
    assert metadata.authentication.keys.keys[0].x5c
    assert parse_client_metadata(format_client_metadata(metadata)) == metadata


@pytest.mark.parametrize("absent", ["kid", "alg", "use", "x5c"])
def test_optional_members_of_a_key_stay_absent(absent: str) -> None:
    """Writing a registration down adds nothing to it."""
    key = jwk()
    del key[absent]
    metadata = parse_client_metadata({**SELF_SIGNED, "jwks": {"keys": [key]}})
    assert format_client_metadata(metadata)["jwks"] == {"keys": [key]}


def test_a_registered_jwks_uri_round_trips() -> None:
    """RFC 8705 §2.2.2: `jwks_uri`."""
    metadata = parse_client_metadata({**SELF_SIGNED, "jwks_uri": "https://client.example/jwks"})
    assert metadata.authentication == SelfSignedTlsClientAuth(keys=JWKSUri(url="https://client.example/jwks"))
    assert parse_client_metadata(format_client_metadata(metadata)) == metadata


@pytest.mark.parametrize(
    "url",
    [
        "http://client.example/jwks",
        "file:///etc/keys",
        "https:///jwks",
        "https://u:p@client.example/jwks",
        "https://client.example/jwks#a",
        "client.example",
        "",
        7,
    ],
)
def test_a_jwks_uri_is_an_https_url(url: object) -> None:
    """The server fetches it, so nothing else will do."""
    assert set(problems({**SELF_SIGNED, "jwks_uri": url})) == {"jwks_uri"}


def test_jwks_and_jwks_uri_exclude_each_other() -> None:
    """RFC 7591 §2."""
    found = problems({**SELF_SIGNED, "jwks": {"keys": [jwk()]}, "jwks_uri": "https://client.example/jwks"})
    assert set(found) == {"jwks_uri"}


def test_self_signed_needs_keys() -> None:
    """Empty is never true."""
    assert "jwks or jwks_uri" in problems(SELF_SIGNED)[""]
    assert "no key" in problems({**SELF_SIGNED, "jwks": {"keys": []}})["jwks"]
    with pytest.raises(ClientMetadataError):
        SelfSignedTlsClientAuth(keys=JWKSet(()))


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "oct", "k": "c2VjcmV0LXNlY3JldA"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "nonsense"},
        {},
        "key",
    ],
)
def test_a_key_that_cannot_be_used_is_refused_and_not_quoted(key: Any) -> None:
    """A registration does not silently shrink, and its error repeats no secret."""
    found = problems({**SELF_SIGNED, "jwks": {"keys": [jwk(), key]}})
    assert set(found) == {"jwks"}
    assert "c2VjcmV0" not in found["jwks"]


def test_a_private_key_is_refused_and_not_quoted() -> None:
    """A private key in a registration is lost; the message must not spread it further."""
    found = problems({**SELF_SIGNED, "jwks": {"keys": [jwk(d="c2VjcmV0LXNlY3JldA")]}})
    assert "private" in found["jwks"]
    assert "c2VjcmV0" not in found["jwks"]


def test_a_misspelt_member_names_the_nearest() -> None:
    """A setting never vanishes silently."""
    found = problems({**SAN, "tls_client_auth_san_dsn": "x", "zzz": 1})
    assert found["tls_client_auth_san_dsn"] == 'unknown member; did you mean "tls_client_auth_san_dns"?'
    assert found["zzz"] == "unknown member"


def test_every_problem_is_reported_at_once() -> None:
    """One run of a check shows all there is to mend."""
    found = problems({**SAN, "scope": "a  b", "grant_types": ["password"], "client_name": 5, "tls_client": True})
    assert set(found) == {"scope", "grant_types", "client_name", "tls_client"}


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("token_endpoint_auth_method", "client_secret_jwt"),
        ("token_endpoint_auth_method", None),
        ("grant_types", "client_credentials"),
        ("grant_types", []),
        ("grant_types", [1]),
        ("scope", ["reports:read"]),
        ("scope", ""),
        ("scope", 'a"b'),
        ("tls_client_certificate_bound_access_tokens", "true"),
        ("tls_client_certificate_bound_access_tokens", 1),
        ("dpop_bound_access_tokens", "true"),
        ("client_name", "a\x1b[31mb"),
        ("client_name", "a" * 3000),
    ],
)
def test_a_wrong_value_is_an_error_of_its_member(member: str, value: object) -> None:
    """Types are those of RFC 7591 §2, without coercion."""
    assert set(problems({**SAN, member: value})) == {member}


def test_the_method_must_be_named() -> None:
    """RFC 7591's default, client_secret_basic, is not ours: whoever wants a secret says so."""
    assert problems({"tls_client_auth_san_dns": "a.example"}) == {"token_endpoint_auth_method": "is missing"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("keys"), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(METADATA_MEMBERS) | st.text(max_size=10), json_values))
def test_no_members_raise_anything_else(members: dict[str, object]) -> None:
    """A parser of hostile input raises its own error alone."""
    with contextlib.suppress(ClientMetadataError):
        assert isinstance(parse_client_metadata(members), ClientMetadata)


@given(json_values, st.sampled_from(["tls_client_auth", "self_signed_tls_client_auth"]))
def test_no_authentication_members_raise_anything_else(value: object, method: str) -> None:
    """The same, past the choice of the method."""
    members = {"token_endpoint_auth_method": method, "jwks": value, "tls_client_auth_subject_dn": value}
    with pytest.raises(ClientMetadataError):
        parse_client_metadata(members)
