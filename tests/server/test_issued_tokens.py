"""The server's own tokens, read again."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc7519_jwt import SUPPORTED_ALGORITHMS, sign, verify
from mtls_as.server import issued_tokens
from mtls_as.server.issued_tokens import GenuineToken, TokenNotActive, TokenReader
from mtls_as.server.opaque_tokens import token_hash
from mtls_as.server.signing_keys import ExternalKey, SigningKey, SigningKeys, generate_signing_key, rotate

ISSUER = "https://as.example"
CLAIMS: dict[str, object] = {"iss": ISSUER, "aud": "https://api.example", "client_id": "c1", "jti": "id", "exp": 1_300}
OPAQUE = "o" * 43


class Keys:
    """The keys in force."""

    def __init__(self, *keys: SigningKey) -> None:
        self.keys = SigningKeys(keys)

    def current(self) -> SigningKeys:
        return self.keys


class Store:
    """One opaque token."""

    def __init__(self, claims: Mapping[str, object]) -> None:
        self.claims = claims

    async def add(self, token_hash: str, claims: Mapping[str, object], *, expires_at: float) -> None:
        raise NotImplementedError

    async def find(self, found: str) -> Mapping[str, object] | None:
        return self.claims if found == token_hash(OPAQUE) else None

    async def prune(self, *, ended_before: float) -> None:
        raise NotImplementedError


def jwt(key: SigningKey, claims: Mapping[str, object] = CLAIMS, kind: str = "at+jwt") -> str:
    assert not isinstance(key.private_key, ExternalKey)
    return sign(claims, type=kind, kid=key.kid, algorithm=key.algorithm, private_key=key.private_key)


def reader(*keys: SigningKey, claims: Mapping[str, object] = CLAIMS) -> TokenReader:
    return TokenReader(issuer=ISSUER, signing_keys=Keys(*keys), opaque_tokens=Store(claims))


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return generate_signing_key("ES256", created_at=0, activates_at=0)


@pytest.mark.parametrize("algorithm", SUPPORTED_ALGORITHMS)
async def test_tokens_of_every_algorithm_are_read(algorithm: str) -> None:
    """Post-quantum ones too."""
    key = generate_signing_key(algorithm, created_at=0, activates_at=0)
    found = await reader(key).read(jwt(key), at=1_000)
    assert found == GenuineToken(CLAIMS, "id", "c1", ("https://api.example",), 1_300)


async def test_both_forms_are_read_alike(key: SigningKey) -> None:
    assert await reader(key).read(OPAQUE, at=1_000) == await reader(key).read(jwt(key), at=1_000)


async def test_several_audiences(key: SigningKey) -> None:
    found = await reader(key).read(jwt(key, CLAIMS | {"aud": ["a", "b"]}), at=1_000)
    assert found.audience == ("a", "b")


async def test_a_retired_key_is_still_ours_and_a_withdrawn_one_is_not(key: SigningKey) -> None:
    """Its tokens end with it."""
    keys = SigningKeys((key,))
    new, (old,) = rotate(keys, "ES256", at=1_000, publish_ahead=0, overlap=100)
    assert (await reader(new, old).read(jwt(key), at=1_099)).token_id == "id"
    with pytest.raises(TokenNotActive) as caught:
        await reader(new, old).read(jwt(key), at=1_100)
    assert caught.value.refusal is Refusal.TOKEN_UNKNOWN


async def test_a_signature_is_verified_once(key: SigningKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the keys stay: what is remembered is no answer about a key that was withdrawn since."""
    verified: list[str] = []

    def note(token: str, *arguments: Any, **options: Any) -> Any:
        verified.append(token)
        return verify(token, *arguments, **options)

    monkeypatch.setattr(issued_tokens, "verify", note)
    new, (old,) = rotate(SigningKeys((key,)), "ES256", at=1_000, publish_ahead=0, overlap=100)
    known, token = reader(new, old), jwt(key)
    first = await known.read(token, at=1_050)
    assert await known.read(token, at=1_051) is first
    assert verified == [token]
    with pytest.raises(TokenNotActive):
        await known.read(token, at=1_100)
    assert verified == [token] * 2


async def test_memory_of_signatures_is_bounded(key: SigningKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest token goes first; one that was not genuine is never remembered."""
    monkeypatch.setattr(issued_tokens, "MAX_KNOWN", 3)
    known = reader(key)
    for number in range(5):
        await known.read(jwt(key, CLAIMS | {"jti": str(number)}), at=1_000)
        with pytest.raises(TokenNotActive):
            await known.read(jwt(key, CLAIMS | {"iss": "other", "jti": str(number)}), at=1_000)
    assert [token.token_id for _, token in known._known.values()] == ["2", "3", "4"]


@pytest.mark.parametrize(
    "claims",
    [
        CLAIMS | {"iss": ISSUER + "/"},
        *({name: value for name, value in CLAIMS.items() if name != missing} for missing in CLAIMS),
        CLAIMS | {"jti": 5},
        CLAIMS | {"exp": "1300"},
    ],
)
async def test_claims_that_no_token_of_ours_has(key: SigningKey, claims: Mapping[str, object]) -> None:
    for token in (OPAQUE, jwt(key, claims)):
        with pytest.raises(TokenNotActive) as caught:
            await reader(key, claims=claims).read(token, at=1_000)
        assert caught.value.refusal is Refusal.TOKEN_UNKNOWN


@pytest.mark.parametrize("kind", ["JWT", "token-introspection+jwt", "dpop+jwt"])
async def test_what_else_the_key_has_signed(key: SigningKey, kind: str) -> None:
    """RFC 8725 §3.11."""
    with pytest.raises(TokenNotActive):
        await reader(key).read(jwt(key, kind=kind), at=1_000)


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
async def test_any_text_is_at_worst_unknown(text: str) -> None:
    """Nothing else is raised, whatever a caller sends."""
    with pytest.raises(TokenNotActive) as caught:
        await reader().read(text, at=1_000)
    assert caught.value.refusal is Refusal.TOKEN_UNKNOWN
