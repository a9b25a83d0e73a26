"""The middleware by constructed ASGI scopes: what passes, and how the others are answered."""

import json
import logging
from dataclasses import dataclass, field
from typing import Any

import pytest

from mtls_as.verifier import AccessTokenVerifier, VerifiedToken
from mtls_as.verifier.asgi import RequireBoundToken
from tests.authority import self_signed
from tests.verifier.issuer import AUDIENCE, ISSUER, NOW, Issuer

AS = Issuer()
MINE, THIEF = self_signed("mine"), self_signed("thief")
VERIFIER = AccessTokenVerifier(issuer=ISSUER, audience=AUDIENCE, jwks=AS.jwks, clock=lambda: NOW)
TOKEN = AS.token(MINE.der)
SHARED_STATE: dict[str, Any] = {"shared": 1}


@dataclass
class Exchange:
    """What the application saw, and what was sent to the client."""

    seen: list[Any] = field(default_factory=list)
    sent: list[Any] = field(default_factory=list)

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def challenge(self) -> str:
        return self.headers["www-authenticate"]

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])


def http_scope(*authorization: str, chain: Any = (MINE.pem,), **replaced: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "scheme": "https",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [(b"host", b"x"), *((b"authorization", value.encode()) for value in authorization)],
        "extensions": {"tls": {"client_cert_chain": chain, "client_cert_error": "not verified"}},
        "state": SHARED_STATE,
    } | replaced


async def run(scope: dict[str, Any], *, scopes: tuple[str, ...] = (), verifier: Any = VERIFIER) -> Exchange:
    exchange = Exchange()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        exchange.seen.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"secret"})

    async def receive() -> dict[str, Any]:
        return {"type": f"{scope['type']}.connect"}

    async def send(message: Any) -> None:
        exchange.sent.append(message)

    await RequireBoundToken(app, verifier, scopes=scopes)(scope, receive, send)
    return exchange


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_good_request(scheme: str) -> None:
    """The application finds the verified token in both places; the scheme's case does not matter (FAPI 2.0)."""
    scope = http_scope(f"{scheme} {TOKEN}")
    exchange = await run(scope, scopes=("reports:read",))
    (seen,) = exchange.seen
    assert isinstance(seen["access_token"], VerifiedToken)
    assert seen["state"] == {"shared": 1, "access_token": seen["access_token"]}
    assert exchange.body == b"secret"


async def test_shared_state_is_not_written() -> None:
    """A server may share one state dictionary among connections: one client's token must not be seen by another."""
    scope = http_scope(f"Bearer {TOKEN}")
    await run(scope)
    assert SHARED_STATE == {"shared": 1}
    assert "access_token" not in scope


@pytest.mark.parametrize("state", [None, "absent"])
async def test_servers_without_state(state: object) -> None:
    scope = http_scope(f"Bearer {TOKEN}", state=state)
    if state == "absent":
        del scope["state"]
    assert (await run(scope)).seen[0]["state"]["access_token"].client_id == "reports"


async def test_no_token() -> None:
    """RFC 6750 §3.1: a bare challenge, no error code, and nothing to cache."""
    exchange = await run(http_scope())
    assert (exchange.status, exchange.challenge, exchange.body) == (401, "Bearer", b"")
    assert exchange.headers["cache-control"] == "no-store"
    assert exchange.seen == []
    assert (await run(http_scope("Basic YTpi"), scopes=("a", "b"))).challenge == 'Bearer scope="a b"'


STOLEN: dict[str, dict[str, Any]] = {
    "no certificate": http_scope(f"Bearer {TOKEN}", chain=()),
    "no chain": http_scope(f"Bearer {TOKEN}", chain=None),
    "no TLS extension": http_scope(f"Bearer {TOKEN}", extensions={}),
    "no extensions": http_scope(f"Bearer {TOKEN}", extensions=None),
    "another certificate": http_scope(f"Bearer {TOKEN}", chain=(THIEF.pem,)),
    "the owner's certificate appended": http_scope(f"Bearer {TOKEN}", chain=(THIEF.pem, MINE.pem)),
    "the owner's appended, as DER": http_scope(
        f"Bearer {TOKEN}", extensions={"mtls_as": {"client_der_chain": (THIEF.der, MINE.der)}}
    ),
    "over plain HTTP": http_scope(f"Bearer {TOKEN}", scheme="http"),
    "over an unknown scheme": http_scope(f"Bearer {TOKEN}", scheme="HTTPS "),
    "no token but junk": http_scope("Bearer x.y.z"),
    "certificate in headers": http_scope(
        f"Bearer {TOKEN}",
        chain=(),
        headers=[
            (b"authorization", f"Bearer {TOKEN}".encode()),
            (b"client-cert", MINE.pem.replace("\n", " ").encode()),
            (b"x-forwarded-client-cert", MINE.pem.replace("\n", " ").encode()),
            (b"x-forwarded-proto", b"https"),
        ],
    ),
}


@pytest.mark.parametrize("scope", STOLEN.values(), ids=STOLEN)
async def test_stolen_token(scope: dict[str, Any]) -> None:
    """RFC 8705 §3: 401 `invalid_token`; the application is not called."""
    exchange = await run(scope)
    assert exchange.status == 401
    assert exchange.challenge.startswith('Bearer error="invalid_token", error_description="')
    assert exchange.headers["cache-control"] == "no-store"
    assert json.loads(exchange.body)["error"] == "invalid_token"
    assert exchange.seen == []


async def test_scheme_that_is_missing_is_not_secure() -> None:
    scope = http_scope(f"Bearer {TOKEN}")
    del scope["scheme"]
    assert (await run(scope)).status == 401


async def test_changed_certificate_is_told() -> None:
    """RFC 8705 §6.3: the client learns that it must fetch a token for its new certificate."""
    exchange = await run(http_scope(f"Bearer {TOKEN}", chain=(THIEF.pem,)))
    assert "bound to another certificate" in exchange.challenge


MALFORMED: dict[str, dict[str, Any]] = {
    "in the query": http_scope(query_string=f"access_token={TOKEN}".encode()),
    "in the query, encoded": http_scope(query_string=b"a=1&access%5ftoken=x"),
    "in header and query": http_scope(f"Bearer {TOKEN}", query_string=b"access_token=x"),
    "two headers": http_scope(f"Bearer {TOKEN}", f"Bearer {TOKEN}"),
    "two schemes": http_scope("Basic YTpi", f"Bearer {TOKEN}"),
    "two tokens": http_scope(f"Bearer {TOKEN}, Bearer {TOKEN}"),
    "no token after the scheme": http_scope("Bearer"),
}


@pytest.mark.parametrize("scope", MALFORMED.values(), ids=MALFORMED)
async def test_token_in_the_wrong_or_in_two_places(scope: dict[str, Any]) -> None:
    """RFC 6750 §3.1: 400 `invalid_request`, whatever the token is worth."""
    exchange = await run(scope)
    assert exchange.status == 400
    assert exchange.challenge.startswith('Bearer error="invalid_request"')
    assert exchange.seen == []


async def test_missing_scope() -> None:
    """RFC 6750 §3.1: 403 `insufficient_scope`, with what is needed."""
    exchange = await run(http_scope(f"Bearer {TOKEN}"), scopes=("reports:read", "reports:write"))
    assert exchange.status == 403
    assert 'error="insufficient_scope"' in exchange.challenge
    assert 'scope="reports:read reports:write"' in exchange.challenge


async def test_no_keys_is_unavailable() -> None:
    """503 without a challenge: another token would not help."""
    lost = AccessTokenVerifier(issuer=ISSUER, audience=AUDIENCE, jwks_uri="https://localhost:1/jwks")
    exchange = await run(http_scope(f"Bearer {TOKEN}"), verifier=lost)
    assert exchange.status == 503
    assert "www-authenticate" not in exchange.headers
    assert exchange.seen == []


async def test_head_requests_get_no_body() -> None:
    exchange = await run(http_scope("Bearer x", method="HEAD"))
    assert exchange.body == b""
    assert int(exchange.headers["content-length"]) > 0


async def test_header_names_in_any_case() -> None:
    """ASGI wants lower case; a server that does not keep to it must not open a second place for tokens."""
    scope = http_scope(f"Bearer {TOKEN}")
    scope["headers"].append((b"Authorization", b"Bearer x"))
    assert (await run(scope)).status == 400


def websocket_scope(*authorization: str, **replaced: Any) -> dict[str, Any]:
    return http_scope(*authorization, type="websocket", scheme="wss") | replaced


async def test_websocket() -> None:
    """A good one passes; another is closed before it is accepted, or answered where the server can do that."""
    assert (await run(websocket_scope(f"Bearer {TOKEN}"))).seen[0]["access_token"].client_id == "reports"
    for scope in (websocket_scope(), websocket_scope(f"Bearer {TOKEN}", scheme="ws"), websocket_scope("Bearer x")):
        closed = await run(scope)
        assert closed.sent == [{"type": "websocket.close", "code": 1008}]
        assert closed.seen == []
    extensions = {"websocket.http.response": {}, "tls": {"client_cert_chain": [THIEF.pem]}}
    answered = await run(websocket_scope(f"Bearer {TOKEN}", extensions=extensions))
    assert [message["type"] for message in answered.sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert answered.status == 401


async def test_lifespan_passes_through() -> None:
    scope = {"type": "lifespan", "state": {}}
    assert (await run(scope)).seen == [scope]


async def test_unknown_scopes_do_not_pass() -> None:
    """Protocols that do not exist yet are not let through by accident."""
    with pytest.raises(ValueError, match="protected"):
        await run(http_scope(f"Bearer {TOKEN}", type="webtransport"))


def test_impossible_scopes_are_noticed_at_once() -> None:
    with pytest.raises(ValueError, match="printable"):
        RequireBoundToken(None, VERIFIER, scopes=['a"b'])  # type: ignore[arg-type] # the application is not reached


async def test_the_log_says_why_and_holds_no_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    forged = Issuer().token(MINE.der, header={"kid": AS.kid})
    for token in (TOKEN, forged, AS.token(None), AS.token(MINE.der, exp=1)):
        await run(http_scope(f"Bearer {token}", chain=(THIEF.pem,)))
    for reason in ("other_certificate", "bad_signature", "not_bound", "expired"):
        assert reason in caplog.text
    for token in (TOKEN, forged):
        for part in token.split("."):
            assert part not in caplog.text
