"""The verifier against forged, stolen, misdirected and stale tokens."""

import hashlib
import json
import logging
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc7517_jwk import JWKError, parse_jwks
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.verifier import (
    AccessTokenVerifier,
    InsufficientScope,
    InvalidToken,
    TokenRefusal,
    VerificationUnavailable,
)
from tests.authority import Authority, self_signed
from tests.verifier.issuer import AUDIENCE, ISSUER, NOW, OMIT, Issuer, segment

AS = Issuer()
MINE, THIEF = self_signed("mine"), self_signed("thief")
THUMBPRINT = x5t_s256(MINE.der)


def verifier(**settings: Any) -> AccessTokenVerifier:
    defaults: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": AS.jwks, "clock": lambda: NOW}
    return AccessTokenVerifier(**defaults | settings)


async def refused(token: str, certificate: bytes | str | None = MINE.der, **settings: Any) -> InvalidToken:
    with pytest.raises(InvalidToken) as caught:
        await verifier(**settings).verify(token, certificate=certificate)
    assert caught.value.error == "invalid_token"
    assert token not in f"{caught.value!r} {caught.value.detail} {caught.value.description}" or not token
    return caught.value


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "EdDSA"])
async def test_bound_token_with_its_certificate(algorithm: str) -> None:
    """RFC 8705 §3: the same certificate as at the token endpoint."""
    issuer = Issuer(algorithm)
    token = await verifier(jwks=issuer.jwks).verify(
        issuer.token(MINE.der), certificate=MINE.der, scopes=["reports:read"]
    )
    assert (token.client_id, token.subject, token.scope) == ("reports", "reports", ("reports:read",))
    assert (token.thumbprint, token.expires_at, token.claims.jwt_id) == (THUMBPRINT, NOW + 240, "token-1")


async def test_certificate_in_every_form() -> None:
    """DER, PEM text and PEM bytes."""
    for certificate in (MINE.der, MINE.pem, MINE.pem.encode()):
        await verifier().verify(AS.token(MINE.der), certificate=certificate)


async def test_path_and_validity_of_the_certificate_do_not_matter_here() -> None:
    """RFC 8705 §6.2: the resource server needs the possession of the key alone; this one expired years ago."""
    expired = Authority.create().issue(
        not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=datetime(2020, 1, 2, tzinfo=UTC)
    )
    await verifier().verify(AS.token(expired.der), certificate=expired.der)


@pytest.mark.parametrize("certificate", [None, b"", ""])
async def test_stolen_token_without_certificate(certificate: bytes | str | None) -> None:
    """RFC 8705 §3: a bound token is nothing on its own."""
    error = await refused(AS.token(MINE.der), certificate)
    assert error.reason is TokenRefusal.NO_CERTIFICATE


async def test_stolen_token_with_another_certificate() -> None:
    """RFC 8705 §3 and §6.3: `invalid_token`, and the error says that the certificate is another."""
    error = await refused(AS.token(MINE.der), THIEF.der)
    assert error.reason is TokenRefusal.OTHER_CERTIFICATE
    assert "bound to another certificate" in error.description
    assert THUMBPRINT in error.detail
    assert THUMBPRINT not in error.description


async def test_renewed_certificate_of_the_same_key() -> None:
    """RFC 8705 §3.1: the certificate is bound, not its key."""
    renewed = self_signed("mine", private_key=MINE.private_key)
    assert (await refused(AS.token(MINE.der), renewed.der)).reason is TokenRefusal.OTHER_CERTIFICATE


@pytest.mark.parametrize(
    "certificate", ["junk", MINE.pem + MINE.pem, MINE.pem + "x", b"junk", MINE.der + b"\0", MINE.der[:-1]]
)
async def test_certificate_that_is_none(certificate: bytes | str) -> None:
    """Something else in the certificate's place never passes."""
    assert (await refused(AS.token(MINE.der), certificate)).reason in {
        TokenRefusal.NO_CERTIFICATE,
        TokenRefusal.OTHER_CERTIFICATE,
    }


async def test_bearer_token_where_binding_is_required() -> None:
    """Binding is the default: a token without `cnf` is refused, with and without a certificate."""
    for certificate in (None, MINE.der):
        assert (await refused(AS.token(None), certificate)).reason is TokenRefusal.NOT_BOUND


async def test_bearer_token_where_it_is_allowed() -> None:
    """Only a token without `cnf` passes then; a bound one is held to its certificate still."""
    lenient = verifier(require_binding=False)
    assert (await lenient.verify(AS.token(None), certificate=None)).thumbprint is None
    await refused(AS.token(MINE.der), None, require_binding=False)
    await refused(AS.token(MINE.der), THIEF.der, require_binding=False)


CONFIRMATIONS: dict[str, object] = {
    "unknown member": {"x5t#S256": THUMBPRINT, "other": 1},
    "two members": {"x5t#S256": THUMBPRINT, "jkt": THUMBPRINT},
    "another member": {"jwk": {}},
    "both members": {"x5t#S256": THUMBPRINT, "jkt": THUMBPRINT},
    "empty": {},
    "padding": {"x5t#S256": THUMBPRINT + "="},
    "short": {"x5t#S256": THUMBPRINT[:-1]},
    "long": {"x5t#S256": THUMBPRINT + "A"},
    "white space": {"x5t#S256": THUMBPRINT + " "},
    "hex": {"x5t#S256": hashlib.sha256(MINE.der).hexdigest()},
    "number": {"x5t#S256": 1},
    "array": {"x5t#S256": [THUMBPRINT]},
    "null": {"x5t#S256": None},
    "text": THUMBPRINT,
    "list": [{"x5t#S256": THUMBPRINT}],
    "none": None,
    "other case": {"X5T#S256": THUMBPRINT},
}


@pytest.mark.parametrize("require_binding", [True, False])
@pytest.mark.parametrize("cnf", CONFIRMATIONS.values(), ids=CONFIRMATIONS)
async def test_confirmations_that_are_not_one_thumbprint(cnf: object, require_binding: bool) -> None:
    """RFC 8705 §3.1: never read as "not bound", even where bearer tokens are allowed."""
    error = await refused(AS.token(None, cnf=cnf), require_binding=require_binding)
    assert error.reason is TokenRefusal.CLAIM_REFUSED


def hs256(secret: bytes) -> str:
    header, payload = segment({"alg": "HS256", "typ": "at+jwt", "kid": AS.kid}), segment(AS.claims(MINE.der))
    signature = jwt.get_algorithm_by_name("HS256").sign(f"{header}.{payload}".encode(), secret)
    return f"{header}.{payload}.{segment(signature)}"


def forgeries() -> dict[str, str]:
    key = AS.private_key.public_key()
    forger = Issuer()
    header, payload, signature = AS.token(MINE.der).split(".")
    admin = segment(AS.claims(MINE.der, scope="admin"))
    return {
        "alg none": f"{segment({'alg': 'none', 'typ': 'at+jwt', 'kid': AS.kid})}.{payload}.",
        "alg none with signature": f"{segment({'alg': 'none', 'typ': 'at+jwt', 'kid': AS.kid})}.{payload}.{signature}",
        "alg nOnE": f"{segment({'alg': 'nOnE', 'typ': 'at+jwt', 'kid': AS.kid})}.{payload}.AAAA",
        "HS256 with PEM": hs256(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
        "HS256 with DER": hs256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
        "HS256 with JWK": hs256(json.dumps(AS.jwk).encode()),
        "another key under the kid": forger.token(MINE.der, header={"kid": AS.kid}),
        "another key with jwk": forger.token(MINE.der, header={"jwk": forger.jwk}),
        "another key with jku": forger.token(MINE.der, header={"jku": "https://attacker.example/jwks"}),
        "another key with x5u": forger.token(MINE.der, header={"x5u": "https://attacker.example/x"}),
        "crit cnf": AS.token(MINE.der, header={"crit": ["cnf"]}),
        "crit b64": AS.token(MINE.der, header={"crit": ["b64"], "b64": False}),
        "jwk of the right key": AS.token(MINE.der, header={"jwk": AS.jwk}),
        "jku": AS.token(MINE.der, header={"jku": ISSUER + "/jwks"}),
        "x5u": AS.token(MINE.der, header={"x5u": ISSUER + "/x"}),
        "typ JWT": AS.token(MINE.der, header={"typ": "JWT"}),
        "typ missing": AS.token(MINE.der, header={"typ": OMIT}),
        "typ logout+jwt": AS.token(MINE.der, header={"typ": "logout+jwt"}),
        "kid missing": AS.token(MINE.der, header={"kid": OMIT}),
        "kid unknown": AS.token(MINE.der, header={"kid": "../../etc/passwd"}),
        "other payload": f"{header}.{admin}.{signature}",
        "no signature": f"{header}.{payload}.",
        "two segments": f"{header}.{payload}",
        "five segments": f"{header}.{payload}.{signature}.a.b",
        "empty": "",
        "17 KiB": f"{header}.{payload}{'A' * 17_000}.{signature}",
        "NUL": f"{header}.{payload}.{signature}\0",
        "claims not an object": AS.sign(header, segment([1])),
        "claims twice": AS.sign(header, segment(b'{"iss":"a","iss":"b"}')),
        "iss with a slash": AS.token(MINE.der, iss=ISSUER + "/"),
        "iss of another": AS.token(MINE.der, iss="https://as.example.attacker.example"),
        "iss as array": AS.token(MINE.der, iss=[ISSUER]),
        "aud with a slash": AS.token(MINE.der, aud=AUDIENCE + "/"),
        "aud prefix": AS.token(MINE.der, aud=AUDIENCE[:-1]),
        "aud suffix": AS.token(MINE.der, aud=AUDIENCE + ".attacker.example"),
        "aud other case": AS.token(MINE.der, aud=AUDIENCE.upper()),
        "aud of another": AS.token(MINE.der, aud=["https://other.example"]),
        "aud empty": AS.token(MINE.der, aud=[]),
        "aud with numbers": AS.token(MINE.der, aud=[AUDIENCE, 1]),
        "exp missing": AS.token(MINE.der, exp=OMIT),
        "exp as text": AS.token(MINE.der, exp=str(NOW + 100)),
        "exp true": AS.token(MINE.der, exp=True),
        "exp huge": AS.token(MINE.der, exp=1e300),
        "iat missing": AS.token(MINE.der, iat=OMIT),
        "iat a minute ahead": AS.token(MINE.der, iat=NOW + 61),
        "nbf a minute ahead": AS.token(MINE.der, nbf=NOW + 61),
        "nbf as text": AS.token(MINE.der, nbf="0"),
        "sub missing": AS.token(MINE.der, sub=OMIT),
        "client_id missing": AS.token(MINE.der, client_id=OMIT),
        "jti missing": AS.token(MINE.der, jti=OMIT),
        "scope as array": AS.token(MINE.der, scope=["reports:read"]),
    }


FORGERIES = forgeries()


@pytest.mark.parametrize("token", FORGERIES.values(), ids=FORGERIES)
async def test_forgeries(token: str) -> None:
    """RFC 8725, RFC 9068 §4: one public description for all of them, and no word about which check it was."""
    error = await refused(token)
    assert error.description == "The access token is malformed, expired or not valid here."
    assert error.detail


@pytest.mark.parametrize(
    ("claims", "good"),
    [
        ({"exp": NOW - 9}, True),
        ({"exp": NOW - 10}, False),
        ({"iat": NOW + 10, "nbf": NOW + 10}, True),
        ({"iat": NOW + 10.5}, False),
        ({"nbf": NOW + 10.5}, False),
    ],
)
async def test_times_at_the_edges_of_the_leeway(claims: dict[str, Any], good: bool) -> None:
    token = AS.token(MINE.der, **claims)
    if good:
        await verifier().verify(token, certificate=MINE.der)
    else:
        await refused(token)


async def test_expired_token_says_so() -> None:
    """The client is to fetch another one; also when the token has been good on this verifier before."""
    now = [NOW]
    watched = verifier(clock=lambda: now[0])
    token = AS.token(MINE.der)
    await watched.verify(token, certificate=MINE.der)
    now[0] += 250
    with pytest.raises(InvalidToken, match="expired") as caught:
        await watched.verify(token, certificate=MINE.der)
    assert caught.value.description == "The access token is expired."


async def test_missing_scope() -> None:
    """RFC 6750 §3.1: all scopes asked for must be there; the error carries them all."""
    token = AS.token(MINE.der)
    with pytest.raises(InsufficientScope) as caught:
        await verifier().verify(token, certificate=MINE.der, scopes=["reports:read", "reports:write"])
    assert caught.value.required == ("reports:read", "reports:write")
    with pytest.raises(InsufficientScope):
        await verifier().verify(AS.token(MINE.der, scope=OMIT), certificate=MINE.der, scopes=iter(["reports:read"]))


async def test_scope_is_judged_after_the_binding() -> None:
    """A thief does not learn what a token allows."""
    with pytest.raises(InvalidToken):
        await verifier().verify(AS.token(MINE.der), certificate=THIEF.der, scopes=["admin"])


async def test_algorithms_can_be_narrowed() -> None:
    await refused(AS.token(MINE.der), algorithms=["PS256"])


async def test_details_quote_no_raw_input(caplog: pytest.LogCaptureFixture) -> None:
    """Headers with line ends and escapes reach the log escaped and cut."""
    caplog.set_level(logging.DEBUG)
    for name in ("alg", "typ", "kid"):
        error = await refused(AS.token(MINE.der, header={name: "a\r\n\x1b[31m" + "x" * 500}))
        assert error.detail.isprintable()
        assert len(error.detail) < 200
    assert caplog.text == ""


@pytest.mark.parametrize(
    "settings",
    [
        {"issuer": ""}, {"audience": ""}, {"algorithms": []}, {"algorithms": ["HS256"]}, {"algorithms": "ES256"},
        {"algorithms": ["none"]}, {"algorithms": ["RS256"]}, {"leeway": -1}, {"leeway": float("nan")},
        {"jwks": {"keys": []}}, {"jwks": {}}, {"jwks_uri": ISSUER + "/jwks"},
        {"jwks": None, "jwks_uri": "http://as.example"},
        {"jwks": None, "jwks_uri": ""}, {"jwks": None, "issuer": "http://as.example"},
    ],
)  # fmt: skip
def test_settings_that_cannot_work(settings: dict[str, Any]) -> None:
    """Noticed when the verifier is made, not at the first token."""
    with pytest.raises(ValueError, match=r".+"):
        verifier(**settings)


async def test_keys_may_be_given_parsed() -> None:
    await verifier(jwks=parse_jwks(AS.jwks)).verify(AS.token(MINE.der), certificate=MINE.der)
    with pytest.raises(JWKError, match="private"):
        verifier(jwks={"keys": [{**AS.jwk, "d": "AAAA"}]})


async def test_no_keys_at_all_is_not_the_tokens_fault() -> None:
    """As long as no key was ever had nothing can be said: an error of its own, which is never a yes."""
    with pytest.raises(VerificationUnavailable):
        await verifier(jwks=None, jwks_uri="https://localhost:1/jwks").verify(AS.token(MINE.der), certificate=MINE.der)


TOKEN = AS.token(MINE.der)


@given(st.text(max_size=60) | st.lists(st.text(alphabet="AZaz09-_=", max_size=8), max_size=5).map(".".join))
async def test_nothing_but_invalid_token_for_any_text(token: str) -> None:
    with pytest.raises(InvalidToken):
        await verifier().verify(token, certificate=MINE.der)


@given(st.binary(max_size=50) | st.text(max_size=50))
async def test_nothing_but_invalid_token_for_any_certificate(certificate: bytes | str) -> None:
    with pytest.raises(InvalidToken):
        await verifier().verify(TOKEN, certificate=certificate)
