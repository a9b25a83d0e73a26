"""The headers that tell a service of a token, and those of clients who would like to tell it themselves."""

import pytest

from mtls_as.gateway.identity import MEMBERS, IdentityHeaders
from mtls_as.rfc.rfc7800_confirmation import CertificateBinding
from mtls_as.rfc.rfc9068_at_jwt import AccessTokenClaims
from mtls_as.verifier import VerifiedToken

HEADERS = IdentityHeaders(prefix="X-Token-")


def token(**replaced: object) -> VerifiedToken:
    members: dict[str, object] = {
        "issuer": "https://as.example",
        "subject": "alice",
        "client_id": "reports",
        "audience": ("https://api.example", "urn:b"),
        "scope": ("a", "b"),
        "issued_at": 1.0,
        "expires_at": 301.9,
        "jwt_id": "token-1",
        "confirmation": CertificateBinding(thumbprint="A" * 43),
        "other": {},
    }
    return VerifiedToken(claims=AccessTokenClaims(**members | replaced))  # type: ignore[arg-type] # as above


def test_all_headers_in_every_answer() -> None:
    assert HEADERS.of(token()) == {
        "X-Token-Client-Id": "reports",
        "X-Token-Subject": "alice",
        "X-Token-Scope": "a b",
        "X-Token-Audience": "https://api.example urn:b",
        "X-Token-Id": "token-1",
        "X-Token-Issuer": "https://as.example",
        "X-Token-Expires": "301",
        "X-Token-Thumbprint": "A" * 43,
    }
    bare = HEADERS.of(token(jwt_id=None, scope=(), confirmation=None))
    assert [bare[f"X-Token-{member}"] for member in ("Id", "Scope", "Thumbprint")] == ["", "", ""]
    assert len(bare) == len(MEMBERS)


@pytest.mark.parametrize(
    ("subject", "written"),
    [
        ("a\r\nX-Token-Subject: root", "a%0D%0AX-Token-Subject:%20root"),
        ("Zoë", "Zo%C3%AB"),
        ("50%41", "50%2541"),
        ("a b", "a%20b"),
        ("\x00\x7f", "%00%7F"),
        ("issuer|alice@example", "issuer|alice@example"),
    ],
)
def test_a_value_cannot_end_its_header(subject: str, written: str) -> None:
    """Subjects may be of other issuers, and hold what those like."""
    assert HEADERS.of(token(subject=subject))["X-Token-Subject"] == written


@pytest.mark.parametrize(
    "name",
    [b"x-token-subject", b"X-Token-Subject", b"x_token_subject", b"X-TOKEN_id", b"x.token.scope", b"x-token-new"],
)
def test_whatever_a_service_could_take_for_ours_is_found(name: bytes) -> None:
    assert HEADERS.find_spoofed([(b"host", b"a"), (name, b"root")]) == name


def test_other_headers_are_left_alone() -> None:
    names = [b"x-tokens-subject", b"x-toke", b"xtoken-subject", b"token-subject", b"x-original-uri", b"authorization"]
    assert HEADERS.find_spoofed([(name, b"x") for name in names]) is None
