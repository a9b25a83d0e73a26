"""Tokens bound to DPoP keys at the resource server: verifier, middleware, and the memory of proofs."""

from typing import Any

import pytest

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc9449_dpop import MAX_AGE
from mtls_as.verifier import (
    AccessTokenVerifier,
    DPoPRequest,
    InsufficientScope,
    InvalidDPoPProof,
    InvalidToken,
    ProofMemory,
    TokenRefusal,
    VerificationUnavailable,
    VerifiedToken,
)
from mtls_as.verifier.asgi import RequireBoundToken
from tests.authority import self_signed
from tests.dpop import DPoPKey
from tests.verifier.issuer import AUDIENCE, ISSUER, NOW, OMIT, Issuer
from tests.verifier.test_asgi import Exchange, http_scope, websocket_scope

AS = Issuer()
MINE = self_signed("mine")
KEY, THIEF = DPoPKey(clock=lambda: NOW), DPoPKey(clock=lambda: NOW)
BASE = "https://api.example"
URL = f"{BASE}/reports"
TOKEN = AS.token(None, cnf={"jkt": KEY.thumbprint})
BOUND_TO_CERTIFICATE, BEARER = AS.token(MINE.der), AS.token(None)
ALGS = 'algs="ES256 PS256 EdDSA"'


def verifier(*, dpop: bool = True, **options: Any) -> AccessTokenVerifier:
    proofs = ProofMemory(clock=lambda: NOW) if dpop else None
    return AccessTokenVerifier(
        issuer=ISSUER, audience=AUDIENCE, jwks=AS.jwks, clock=lambda: NOW, dpop=proofs, **options
    )


def request(proof: str | None = None, *, method: str = "GET", url: str = URL) -> DPoPRequest:
    return DPoPRequest(proof=proof or KEY.proof("GET", URL, token=TOKEN), method=method, url=url)


async def verify(
    token: str = TOKEN, dpop: DPoPRequest | None = None, *, by: AccessTokenVerifier | None = None, **options: Any
) -> VerifiedToken:
    return await (by or verifier()).verify(token, certificate=options.pop("certificate", None), dpop=dpop, **options)


async def test_a_token_with_a_proof_by_its_key() -> None:
    """RFC 9449 §7.1; whatever the certificate, it does not matter here."""
    for certificate in (None, MINE.der):
        verified = await verify(dpop=request(), certificate=certificate, scopes=["reports:read"])
        assert (verified.client_id, verified.thumbprint) == ("reports", None)
        assert verified.dpop_thumbprint == KEY.thumbprint


async def test_dpop_is_off_unless_asked_for() -> None:
    """Without its argument, a token bound to a DPoP key is refused, with a proof or without."""
    for sent in (None, request()):
        with pytest.raises(InvalidToken) as caught:
            await verify(dpop=sent, by=verifier(dpop=False), certificate=MINE.der)
        assert caught.value.reason is TokenRefusal.WRONG_SCHEME


@pytest.mark.parametrize("require_binding", [True, False])
async def test_a_token_is_good_by_its_own_scheme_alone(require_binding: bool) -> None:
    """RFC 9449 §7.2: bound to a DPoP key it is no bearer token, and no other token needs just any proof."""
    by = verifier(require_binding=require_binding)
    with pytest.raises(InvalidToken) as caught:
        await verify(by=by, certificate=MINE.der)
    assert caught.value.reason is TokenRefusal.WRONG_SCHEME
    for token in (BOUND_TO_CERTIFICATE, BEARER):
        with pytest.raises(InvalidToken) as caught:
            await verify(token, request(KEY.proof("GET", URL, token=token)), by=by, certificate=MINE.der)
        assert caught.value.reason is TokenRefusal.WRONG_SCHEME


async def test_tokens_bound_to_certificates_are_good_as_before() -> None:
    assert (await verify(BOUND_TO_CERTIFICATE, certificate=MINE.der)).dpop_thumbprint is None


OTHER_TOKEN = AS.token(None, cnf={"jkt": KEY.thumbprint}, jti="other")
BAD_PROOFS: dict[str, tuple[str, Refusal]] = {
    "by another key": (THIEF.proof("GET", URL, token=TOKEN), Refusal.DPOP_PROOF_UNTRUSTED),
    "the key's name forged": (
        THIEF.proof("GET", URL, token=TOKEN, header={"jwk": KEY.jwk}),
        Refusal.DPOP_PROOF_UNTRUSTED,
    ),
    "for another token": (KEY.proof("GET", URL, token=OTHER_TOKEN), Refusal.DPOP_PROOF_OF_ANOTHER_REQUEST),
    "for no token": (KEY.proof("GET", URL), Refusal.DPOP_PROOF_MALFORMED),
    "for another method": (KEY.proof("POST", URL, token=TOKEN), Refusal.DPOP_PROOF_OF_ANOTHER_REQUEST),
    "for another path": (KEY.proof("GET", URL + "/x", token=TOKEN), Refusal.DPOP_PROOF_OF_ANOTHER_REQUEST),
    "too old": (KEY.proof("GET", URL, token=TOKEN, iat=NOW - MAX_AGE), Refusal.DPOP_PROOF_EXPIRED),
    "too new": (KEY.proof("GET", URL, token=TOKEN, iat=NOW + 60), Refusal.DPOP_PROOF_NOT_YET_VALID),
    "without jti": (KEY.proof("GET", URL, token=TOKEN, jti=OMIT), Refusal.DPOP_PROOF_MALFORMED),
    "junk": ("x", Refusal.DPOP_PROOF_MALFORMED),
}


@pytest.mark.parametrize(("proof", "refusal"), BAD_PROOFS.values(), ids=BAD_PROOFS)
async def test_bad_proofs(proof: str, refusal: Refusal) -> None:
    """RFC 9449 §4.3 and §7.1."""
    with pytest.raises(InvalidDPoPProof) as caught:
        await verify(dpop=request(proof))
    assert caught.value.refusal is refusal
    assert caught.value.detail not in caught.value.description


async def test_the_token_is_judged_first() -> None:
    """A proof of an expired token tells nothing, and is not used up."""
    by, expired = verifier(), AS.token(None, cnf={"jkt": KEY.thumbprint}, exp=NOW - 60)
    with pytest.raises(InvalidToken):
        await verify(expired, request(KEY.proof("GET", URL, token=expired, jti="1")), by=by)
    assert await verify(dpop=request(KEY.proof("GET", URL, token=TOKEN, jti="1")), by=by)


async def test_a_proof_is_good_for_once() -> None:
    """RFC 9449 §11.1."""
    by, used = verifier(), request(KEY.proof("GET", URL, token=TOKEN, jti="1"))
    await verify(dpop=used, by=by)
    for again in (used, request(KEY.proof("GET", URL, token=TOKEN, jti="1", iat=NOW - 1))):
        with pytest.raises(InvalidDPoPProof) as caught:
            await verify(dpop=again, by=by)
        assert caught.value.refusal is Refusal.DPOP_PROOF_REPLAYED
    await verify(dpop=request(KEY.proof("GET", URL, token=TOKEN, jti="2")), by=by)


async def test_scope_is_asked_of_these_tokens_too() -> None:
    with pytest.raises(InsufficientScope):
        await verify(dpop=request(), scopes=["reports:write"])


class TestProofMemory:
    async def test_what_has_ended_is_forgotten(self) -> None:
        """Room is made; what could still be used is never forgotten."""
        now = [0.0]
        memory = ProofMemory(max_proofs=3, clock=lambda: now[0])
        for number, until in enumerate((10, 5, 20)):
            assert await memory.use(str(number), until)
        now[0] = 5.0
        with pytest.raises(VerificationUnavailable):
            await memory.use("3", 30)
        assert not await memory.use("1", 5), "known proofs are refused as such, full or not"
        now[0] = 5.1
        assert await memory.use("3", 30)
        assert not await memory.use("0", 10)
        assert not await memory.use("2", 20)
        now[0] = 31.0
        assert [await memory.use(str(number), 40) for number in range(3)] == [True] * 3

    async def test_a_verifier_with_a_full_memory_lets_nothing_in(self) -> None:
        by = AccessTokenVerifier(
            issuer=ISSUER, audience=AUDIENCE, jwks=AS.jwks, clock=lambda: NOW,
            dpop=ProofMemory(max_proofs=1, clock=lambda: NOW),
        )  # fmt: skip
        await verify(dpop=request(), by=by)
        with pytest.raises(VerificationUnavailable):
            await verify(dpop=request(), by=by)


async def run(scope: dict[str, Any], *, by: AccessTokenVerifier | None = None, **options: Any) -> Exchange:
    exchange = Exchange()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        exchange.seen.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"secret"})

    async def receive() -> dict[str, Any]:
        return {"type": f"{scope['type']}.connect"}

    async def send(message: Any) -> None:
        exchange.sent.append(message)

    wrapped = RequireBoundToken(app, by or verifier(), **{"dpop_url": BASE} | options)
    await wrapped(scope, receive, send)
    return exchange


def challenges(exchange: Exchange) -> list[str]:
    return [value.decode() for name, value in exchange.sent[0]["headers"] if name == b"www-authenticate"]


def scope_of(*proofs: str, token: str = TOKEN, scheme: str = "DPoP", **replaced: Any) -> dict[str, Any]:
    scope = http_scope(f"{scheme} {token}", **{"path": "/reports", "chain": (), **replaced})
    scope["headers"] += [(b"dpop", proof.encode()) for proof in proofs]
    return scope


def proof(url: str = URL, method: str = "GET", **options: Any) -> str:
    return KEY.proof(method, url, token=TOKEN, **options)


@pytest.mark.parametrize("scheme", ["DPoP", "dpop", "DPOP"])
async def test_a_good_request(scheme: str) -> None:
    """RFC 9449 §7.1; schemes have no case (RFC 9110 §11.1)."""
    exchange = await run(scope_of(proof(), scheme=scheme), scopes=["reports:read"])
    assert exchange.seen[0]["access_token"].dpop_thumbprint == KEY.thumbprint


async def test_tokens_bound_to_certificates_beside() -> None:
    scope = http_scope(f"Bearer {BOUND_TO_CERTIFICATE}", chain=(MINE.pem,))
    assert (await run(scope)).seen[0]["access_token"].thumbprint


async def test_both_ways_are_offered() -> None:
    """RFC 9449 §7.2: a challenge for each, the algorithms with it."""
    exchange = await run(http_scope(), scopes=["a"])
    assert exchange.status == 401
    assert challenges(exchange) == ['Bearer scope="a"', f"DPoP {ALGS}"]


async def test_a_dpop_token_is_no_bearer_token() -> None:
    """RFC 9449 §7.2: a stolen one cannot be used without the key, with a proof in the request or without."""
    for proofs in ((), (proof(),)):
        exchange = await run(scope_of(*proofs, scheme="Bearer"))
        assert (exchange.status, exchange.seen) == (401, [])
        bearer, dpop = challenges(exchange)
        assert bearer.startswith('Bearer error="invalid_token"')
        assert dpop == f"DPoP {ALGS}"


async def test_a_certificate_bound_token_is_no_dpop_token() -> None:
    scope = scope_of(KEY.proof("GET", URL, token=BOUND_TO_CERTIFICATE), token=BOUND_TO_CERTIFICATE, chain=(MINE.pem,))
    exchange = await run(scope)
    assert exchange.status == 401
    assert challenges(exchange)[0].startswith('DPoP error="invalid_token"')


BAD_REQUESTS: dict[str, dict[str, Any]] = {
    "no proof": scope_of(),
    "two proofs": scope_of(proof(), proof()),
    "two proofs in one header": scope_of(f"{proof()}, {proof()}"),
    "by another key": scope_of(THIEF.proof("GET", URL, token=TOKEN)),
    "for another method": scope_of(proof(), method="POST"),
    "for another path": scope_of(proof(), path="/admin"),
    "for another path, as sent": scope_of(proof(), path="/reports", raw_path=b"/reports%2Fx"),
    "for the host that the request names": scope_of(
        proof("https://x/reports"), headers=[(b"host", b"x"), (b"authorization", f"DPoP {TOKEN}".encode())]
    ),
    "absolute form": scope_of(proof("https://evil.example/reports"), raw_path=b"https://evil.example/reports"),
}


@pytest.mark.parametrize("scope", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
async def test_bad_requests(scope: dict[str, Any]) -> None:
    """RFC 9449 §7.1: 401 `invalid_dpop_proof`, and the algorithms that would do."""
    exchange = await run(scope)
    (challenge,) = challenges(exchange)
    assert (exchange.status, exchange.seen) == (401, [])
    assert challenge.startswith('DPoP error="invalid_dpop_proof"')
    assert challenge.endswith(ALGS)


async def test_forwarded_headers_do_not_matter() -> None:
    """Neither do they make a proof good, nor a good one bad."""
    forwarded = [
        (b"x-forwarded-host", b"evil.example"),
        (b"forwarded", b"host=evil.example"),
        (b"host", b"evil.example"),
    ]
    for sent, status in ((proof("https://evil.example/reports"), 401), (proof(), 200)):
        scope = scope_of(sent)
        scope["headers"] += forwarded
        assert (await run(scope)).status == status


@pytest.mark.parametrize(
    ("raw_path", "url"),
    [
        (b"/reports", URL),
        (b"/r%65ports", URL),
        (b"/reports%2Fx", f"{BASE}/reports%2fx"),
        (b"/a%20b", f"{BASE}/a%20b"),
        (b"/", BASE),
        (None, f"{BASE}/a%20b"),
    ],
)
async def test_the_path_as_it_was_sent(raw_path: bytes | None, url: str) -> None:
    """`raw_path` where the server gives it; the query does not count."""
    scope = scope_of(proof(url), path="/a b", raw_path=raw_path, query_string=b"x=1")
    assert (await run(scope)).status == 200


async def test_a_path_before_the_application() -> None:
    """A proxy may take away what stands in `dpop_url`."""
    for base in (f"{BASE}/v1", f"{BASE}/v1/"):
        assert (await run(scope_of(proof(f"{BASE}/v1/reports")), dpop_url=base)).status == 200
    assert (await run(scope_of(proof()), dpop_url=f"{BASE}/v1")).status == 401


async def test_plain_http() -> None:
    """RFC 9449 §2: a proof does not replace TLS."""
    exchange = await run(scope_of(proof(), scheme="DPoP") | {"scheme": "http"})
    assert challenges(exchange)[0].startswith('DPoP error="invalid_token"')


async def test_missing_scope_and_malformed_requests() -> None:
    exchange = await run(scope_of(proof()), scopes=["reports:write"])
    assert exchange.status == 403
    assert challenges(exchange)[0].startswith('DPoP error="insufficient_scope"')
    for authorization in (("DPoP",), ("DPoP a b",), (f"DPoP {TOKEN}", f"Bearer {TOKEN}")):
        assert (await run(http_scope(*authorization))).status == 400


async def test_websockets() -> None:
    """They begin with a GET, and their URL is an https one."""
    scope = websocket_scope(f"DPoP {TOKEN}", path="/reports", chain=())
    del scope["method"]
    scope["headers"].append((b"dpop", proof().encode()))
    assert (await run(scope)).seen


async def test_where_dpop_is_off_its_scheme_is_none() -> None:
    """As any other scheme: a challenge for the one there is."""
    exchange = await run(scope_of(proof()), by=verifier(dpop=False), dpop_url=None)
    assert (exchange.status, challenges(exchange), exchange.seen) == (401, ["Bearer"], [])


@pytest.mark.parametrize(
    ("dpop", "url"),
    [(True, None), (False, BASE), (True, "http://api.example"), (True, "api.example"), (True, f"{BASE}?a"), (True, "")],
)
def test_what_cannot_work_is_said_at_once(dpop: bool, url: str | None) -> None:
    """DPoP needs a place for proofs and a URL of its own."""
    with pytest.raises(ValueError, match="dpop_url"):
        RequireBoundToken(None, verifier(dpop=dpop), dpop_url=url)  # type: ignore[arg-type] # never called
