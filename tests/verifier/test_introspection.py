"""Introspection from the verifier: an endpoint that says everything wrong, and a running authorization server."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.verifier import (
    AccessTokenVerifier,
    DPoPRequest,
    InsufficientScope,
    Introspection,
    InvalidToken,
    ProofMemory,
    TokenRefusal,
    VerificationUnavailable,
)
from tests.authority import Authority, dns, self_signed
from tests.cli.workplace import free_ports
from tests.dpop import DPoPKey
from tests.http.introspecting import OPAQUE, Parties, fetch, revoke
from tests.remote.https_server import HTTPSServer, Request, Stream, answer
from tests.running import RESOURCE, RunningServer, running
from tests.verifier.issuer import AUDIENCE, NOW, OMIT, Issuer, segment, without_omitted

AS, STRANGER = Issuer(), Issuer()
MINE, THIEF = self_signed("mine"), self_signed("thief")
CLIENT_CA = Authority.create("Client CA")
API = CLIENT_CA.issue("api", san=[dns("api.example")])
TOKEN = "opaque-token_of.some~kind"
SIGNED = "application/token-introspection+jwt"


class Server:
    """An issuer with metadata, keys, an introspection endpoint and an alias of it; the test says what it answers."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.now = NOW
        self.server = HTTPSServer(self.handle, client_authority=CLIENT_CA)
        self.folder = folder
        self.options = options
        self.reply: Callable[[Request], bytes | Stream] = lambda _request: answer(self.active())

    def handle(self, request: Request) -> bytes | Stream:
        match request.path:
            case "/introspect" | "/mtls/introspect":
                return self.reply(request)
            case "/jwks":
                return answer(AS.jwks)
        url = self.server.url
        endpoints = {"introspection_endpoint": f"{url}/introspect", "jwks_uri": f"{url}/jwks"}
        aliases = {"introspection_endpoint": f"{url}/mtls/introspect"}
        return answer({"issuer": url, **endpoints, "mtls_endpoint_aliases": aliases})

    @property
    def questions(self) -> list[Request]:
        return [request for request in self.server.requests if request.method == "POST"]

    def active(self, **changed: Any) -> dict[str, Any]:
        members = {
            "active": True,
            "token_type": "Bearer",
            "iss": self.server.url,
            "aud": AUDIENCE,
            "sub": "reports",
            "client_id": "reports",
            "scope": "reports:read",
            "iat": int(NOW) - 60,
            "exp": int(NOW) + 240,
            "jti": "token-1",
            "cnf": {"x5t#S256": x5t_s256(MINE.der)},
        }
        return without_omitted(members | changed)

    def signed(
        self, answer: object, *, issuer: Issuer = AS, header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        members = {"alg": "ES256", "typ": "token-introspection+jwt", "kid": AS.kid} | (header or {})
        payload = {"iss": self.server.url, "aud": "api", "iat": int(self.now), "token_introspection": answer}
        return issuer.sign(segment(without_omitted(members)), segment(without_omitted(payload | claims)))

    def verifier(self, **options: Any) -> AccessTokenVerifier:
        context = self.server.client_context()
        context.load_cert_chain(*API.write(self.folder, "api"))
        introspection = Introspection(client_id="api", ssl_context=context, **self.options)
        settings: dict[str, Any] = {
            "issuer": self.server.url,
            "audience": AUDIENCE,
            "ssl_context": self.server.client_context(),
            "clock": lambda: self.now,
            "introspection": introspection,
        }
        return AccessTokenVerifier(**settings | options)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Server]:
    return lambda **options: Server(tmp_path, **options)


async def refusal(verifier: AccessTokenVerifier, token: str = TOKEN, certificate: bytes | None = MINE.der) -> str:
    with pytest.raises(InvalidToken) as caught:
        await verifier.verify(token, certificate=certificate)
    assert token not in f"{caught.value!r} {caught.value.detail}"
    return caught.value.reason


async def test_an_opaque_token_is_asked_about_by_mutual_tls(make: Callable[..., Server]) -> None:
    """RFC 7662 §2.1, at the alias (RFC 8705 §5), with our certificate and name; once for all who wait, and a while."""
    server = make()
    with server.server:
        verifier = server.verifier()
        found = await asyncio.gather(*(verifier.verify(TOKEN, certificate=MINE.der) for _ in range(30)))
        assert (found[0].client_id, found[0].scope, found[0].thumbprint) == (
            "reports",
            ("reports:read",),
            x5t_s256(MINE.der),
        )
        assert verifier.verify_cached(TOKEN, certificate=MINE.der, scopes=["reports:read"]) == found[0]
        (question,) = server.questions
        assert (question.path, question.certificate) == ("/mtls/introspect", API.der)
        assert parse_qs(question.body) == {
            "token": [TOKEN],
            "token_type_hint": ["access_token"],
            "client_id": ["api"],
        }
        server.now += 10
        assert verifier.verify_cached(TOKEN, certificate=MINE.der) is None
        await verifier.verify(TOKEN, certificate=MINE.der)
        assert len(server.questions) == 2


async def test_the_binding_is_held_against_the_connection(make: Callable[..., Server]) -> None:
    """RFC 8705 §3.2: `cnf` of the answer, also from memory; scopes and DPoP as for a JWT."""
    server, key = make(), DPoPKey(clock=lambda: NOW)
    with server.server:
        verifier = server.verifier(dpop=ProofMemory(clock=lambda: NOW))
        assert await refusal(verifier, certificate=THIEF.der) is TokenRefusal.OTHER_CERTIFICATE
        assert await refusal(verifier, certificate=None) is TokenRefusal.NO_CERTIFICATE
        await verifier.verify(TOKEN, certificate=MINE.der)
        assert await refusal(verifier, certificate=THIEF.der) is TokenRefusal.OTHER_CERTIFICATE
        with pytest.raises(InsufficientScope):
            await verifier.verify(TOKEN, certificate=MINE.der, scopes=["reports:write"])
        server.reply = lambda _request: answer(server.active(cnf=OMIT))
        assert await refusal(verifier, "unbound") is TokenRefusal.NOT_BOUND
        bound = answer(server.active(cnf={"jkt": key.thumbprint}, token_type="DPoP"))
        server.reply = lambda _request: bound
        assert await refusal(verifier, "dpop") is TokenRefusal.WRONG_SCHEME
        url = "https://api.example/x"
        request = DPoPRequest(proof=key.proof("GET", url, token="dpop"), method="GET", url=url)
        found = await verifier.verify("dpop", certificate=None, dpop=request)
        assert found.dpop_thumbprint == key.thumbprint


async def test_what_may_be_missing(make: Callable[..., Server]) -> None:
    """`sub`, `iat` and `jti` (RFC 7662 §2.2): the client, long ago, and no name."""
    server = make()
    with server.server:
        server.reply = lambda _request: answer(server.active(sub=OMIT, iat=OMIT, jti=OMIT, scope=OMIT))
        found = await server.verifier().verify(TOKEN, certificate=MINE.der)
        assert (found.subject, found.scope, found.claims.issued_at, found.claims.jwt_id) == ("reports", (), 0, "")


REFUSED: dict[str, tuple[dict[str, Any], TokenRefusal]] = {
    "inactive": ({"active": False}, TokenRefusal.INACTIVE),
    "expired": ({"exp": NOW - 10}, TokenRefusal.EXPIRED),
    "no end": ({"exp": OMIT}, TokenRefusal.CLAIM_REFUSED),
    "other issuer": ({"iss": "https://other.example"}, TokenRefusal.CLAIM_REFUSED),
    "no issuer": ({"iss": OMIT}, TokenRefusal.CLAIM_REFUSED),
    "other audience": ({"aud": ["https://other.example"]}, TokenRefusal.CLAIM_REFUSED),
    "no audience": ({"aud": OMIT}, TokenRefusal.CLAIM_REFUSED),
    "no client": ({"client_id": OMIT}, TokenRefusal.CLAIM_REFUSED),
    "no client, a subject": ({"client_id": OMIT, "sub": "x"}, TokenRefusal.CLAIM_REFUSED),
    "not yet": ({"nbf": NOW + 11}, TokenRefusal.CLAIM_REFUSED),
    "a refresh token": ({"token_type": "refresh_token"}, TokenRefusal.CLAIM_REFUSED),
    "no type": ({"token_type": OMIT}, TokenRefusal.CLAIM_REFUSED),
    "two bindings": ({"cnf": {"x5t#S256": "a" * 43, "jkt": "a" * 43}}, TokenRefusal.CLAIM_REFUSED),
    "unknown binding": ({"cnf": {"kid": "x"}}, TokenRefusal.CLAIM_REFUSED),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_answers_that_refuse_a_token(make: Callable[..., Server], kind: str) -> None:
    """Every member is looked at: 401."""
    changed, reason = REFUSED[kind]
    server = make()
    with server.server:
        server.reply = lambda _request: answer(server.active(**changed))
        verifier = server.verifier()
        assert await refusal(verifier) is reason
        assert verifier.verify_cached(TOKEN, certificate=MINE.der) is None


def no_answers() -> dict[str, Callable[[Server], bytes | Stream]]:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n")
        for _ in range(100):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    return {
        "refused": lambda _s: answer({"error": "invalid_client"}, status=401),
        "error": lambda _s: answer(status=500),
        "created": lambda s: answer(s.active(), status=201),
        "redirect": lambda s: answer(status=307, Location=f"{s.server.url}/introspect"),
        "HTML": lambda s: answer(s.active(), media_type="text/html"),
        "other JSON": lambda s: answer(s.active(), media_type="application/problem+json"),
        "no JSON": lambda _s: answer(b"active"),
        "an array": lambda s: answer([s.active()]),
        "nothing in it": lambda _s: answer({}),
        "active as text": lambda s: answer(s.active(active="true")),
        "active as a number": lambda s: answer(s.active(active=1)),
        "active twice": lambda _s: answer(b'{"active":false,"active":true}'),
        "huge": lambda s: answer(s.active(x="a" * 100_000)),
        "signed, unasked": lambda s: answer(s.signed(s.active()).encode(), media_type=SIGNED),
        "nothing": lambda _s: b"",
        "without end": lambda _s: drip,
    }


@pytest.mark.parametrize("kind", no_answers())
async def test_what_is_no_answer_says_nothing(make: Callable[..., Server], kind: str) -> None:
    """503, and nothing is remembered of it."""
    server = make(seconds=2.0)
    with server.server:
        server.reply = lambda _request: no_answers()[kind](server)
        verifier = server.verifier()
        with pytest.raises(VerificationUnavailable):
            await verifier.verify(TOKEN, certificate=MINE.der)
        server.reply = lambda _request: answer(server.active())
        await verifier.verify(TOKEN, certificate=MINE.der)


async def test_an_outage_ends_what_is_remembered_at_its_time(make: Callable[..., Server]) -> None:
    """The issuer's word counts for `max_age`, and never past the token's end."""
    server = make(max_age=1_000)
    with server.server:
        verifier = server.verifier()
        await verifier.verify(TOKEN, certificate=MINE.der)
        server.reply = lambda _request: answer(status=503)
        server.now += 249
        await verifier.verify(TOKEN, certificate=MINE.der)
        server.now += 1
        with pytest.raises(VerificationUnavailable):
            await verifier.verify(TOKEN, certificate=MINE.der)
        assert len(server.questions) == 2


async def test_a_flood_with_one_bad_token_is_one_question(make: Callable[..., Server]) -> None:
    """For a second; then it may have become good."""
    server = make()
    with server.server:
        verifier = server.verifier()
        server.reply = lambda _request: answer({"active": False})
        for _ in range(20):
            assert await refusal(verifier) is TokenRefusal.INACTIVE
        assert len(server.questions) == 1
        server.now += 1
        server.reply = lambda _request: answer(server.active())
        await verifier.verify(TOKEN, certificate=MINE.der)


@pytest.mark.parametrize("token", ["", "with space", "tökén", "a" * 17_000, "a=b", "x\n"], ids=lambda t: t[:8])
async def test_what_is_no_token_is_asked_about_by_nobody(make: Callable[..., Server], token: str) -> None:
    """RFC 6750 §2.1: characters of tokens alone, and no endless ones."""
    server = make()
    with server.server:
        assert await refusal_of_any(server.verifier(), token) is TokenRefusal.MALFORMED
        assert server.questions == []


async def refusal_of_any(verifier: AccessTokenVerifier, token: str) -> TokenRefusal:
    with pytest.raises(InvalidToken) as caught:
        await verifier.verify(token, certificate=MINE.der)
    return caught.value.reason


async def test_jwts_are_verified_here_unless_wanted_otherwise(make: Callable[..., Server]) -> None:
    """By their form; without introspection an opaque token is malformed."""
    server = make()
    with server.server:
        token = AS.token(MINE.der, iss=server.server.url)
        verifier = server.verifier()
        await verifier.verify(token, certificate=MINE.der)
        assert server.questions == []
        assert await refusal(server.verifier(introspection=None)) is TokenRefusal.MALFORMED


async def test_jwts_may_be_asked_about_too(make: Callable[..., Server]) -> None:
    """Only those that are good by themselves, and the answer must be about them."""
    server = make(jwts=True)
    with server.server:
        verifier = server.verifier()
        token = AS.token(MINE.der, iss=server.server.url)
        for bad in (token[:-2] + "AA", AS.token(MINE.der), STRANGER.token(MINE.der, iss=server.server.url)):
            await refusal(verifier, bad)
        assert server.questions == []
        await verifier.verify(token, certificate=MINE.der)
        assert verifier.verify_cached(token, certificate=MINE.der) is not None
        server.now += 10
        assert verifier.verify_cached(token, certificate=MINE.der) is None
        server.reply = lambda _request: answer({"active": False})
        assert await refusal(verifier, token) is TokenRefusal.INACTIVE
        server.now += 1
        for changed in ({"jti": "token-2"}, {"client_id": "other"}, {"cnf": {"x5t#S256": "a" * 43}}, {"cnf": OMIT}):
            server.reply = lambda _request, changed=changed: answer(server.active(**changed))  # type: ignore[misc] # one of many
            assert await refusal(verifier, token) is TokenRefusal.CLAIM_REFUSED
        server.reply = lambda _request: answer(status=500)
        with pytest.raises(VerificationUnavailable):
            await verifier.verify(token, certificate=MINE.der)


async def test_signed_answers(make: Callable[..., Server]) -> None:
    """RFC 9701 §5: asked for, verified by the issuer's keys, and nothing else counts then."""
    server = make(signed=True)
    with server.server:
        verifier = server.verifier()
        server.reply = lambda _request: answer(server.signed(server.active()).encode(), media_type=SIGNED)
        await verifier.verify(TOKEN, certificate=MINE.der)
        assert server.questions[0].headers["accept"] == SIGNED
        server.reply = lambda _request: answer(server.signed({"active": False}).encode(), media_type=SIGNED)
        assert await refusal(verifier, "another") is TokenRefusal.INACTIVE


def bad_signed_answers() -> dict[str, Callable[[Server], bytes]]:
    def of(**changed: Any) -> Callable[[Server], bytes]:
        return lambda s: answer(s.signed(s.active(), **changed).encode(), media_type=SIGNED)

    return {
        "plain": lambda s: answer(s.active()),
        "other label": lambda s: answer(s.signed(s.active()).encode(), media_type="application/jwt"),
        "garbage": lambda _s: answer(b"a.b.c", media_type=SIGNED),
        "by a stranger": of(issuer=STRANGER),
        "unsigned": of(header={"alg": "none"}),
        "an access token": of(header={"typ": "at+jwt"}),
        "a status list": of(header={"typ": "statuslist+jwt"}),
        "of another issuer": of(iss="https://other.example"),
        "for somebody else": of(aud="rs2"),
        "for nobody": of(aud=OMIT),
        "old": of(iat=NOW - 21),
        "of the future": of(iat=NOW + 11),
        "without a time": of(iat=OMIT),
        "without an answer": of(token_introspection=OMIT),
    }


@pytest.mark.parametrize("kind", bad_signed_answers())
async def test_bad_signed_answers_say_nothing(make: Callable[..., Server], kind: str) -> None:
    """503: somebody else may have answered, or to another question."""
    server = make(signed=True)
    with server.server:
        server.reply = lambda _request: bad_signed_answers()[kind](server)
        with pytest.raises(VerificationUnavailable):
            await server.verifier().verify(TOKEN, certificate=MINE.der)


async def test_the_endpoint_may_be_configured(make: Callable[..., Server]) -> None:
    """Then nothing is discovered; and one that cannot be found says nothing."""
    server = make()
    with server.server:
        server.options["endpoint"] = f"{server.server.url}/introspect"
        await server.verifier(jwks=AS.jwks).verify(TOKEN, certificate=MINE.der)
        assert server.server.paths() == ["/introspect"]
        del server.options["endpoint"]
        with pytest.raises(VerificationUnavailable):
            await server.verifier(issuer=f"{server.server.url}/tenant").verify(TOKEN, certificate=MINE.der)


@pytest.mark.parametrize("options", [{"client_id": ""}, {"endpoint": "http://as.example/"}, {"max_age": -1.0}], ids=str)
def test_settings_that_cannot_work(make: Callable[..., Server], options: dict[str, Any]) -> None:
    """Noticed at once."""
    with make().server as server, pytest.raises(ValueError, match=r"client_id|endpoint|max_age"):
        Introspection(**{"client_id": "api", "ssl_context": server.client_context()} | options)


def test_a_question_holds_no_token_in_its_address(make: Callable[..., Server]) -> None:
    """Tokens travel in the body, so that no log of addresses has them."""
    server = make()
    with server.server:
        asyncio.run(server.verifier().verify(TOKEN, certificate=MINE.der))
        assert all(TOKEN not in request.path + json.dumps(request.headers) for request in server.server.requests)


@pytest.fixture(scope="module")
def parties() -> Parties:
    return Parties.create()


@pytest.fixture(scope="module", params=["ES256", "ML-DSA-44"])
def running_server(
    request: pytest.FixtureRequest, parties: Parties, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    (port,) = free_ports(1)
    folder = tmp_path_factory.mktemp("server")
    issuer = f"https://localhost:{port}"
    with running(parties.deployment(folder, issuer=issuer, port=port, algorithm=request.param)) as server:
        yield server


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("resource", "name"), [(RESOURCE, "rs1"), (OPAQUE, "rs2")])
async def test_with_a_running_server(
    running_server: RunningServer, parties: Parties, resource: str, name: str, signed: bool
) -> None:
    """Opaque tokens and JWTs, plain and signed answers, classical and post-quantum keys: good, stolen, revoked."""
    server = running_server
    context = server.ssl_context(getattr(parties, name))
    introspection = Introspection(client_id=name, ssl_context=context, jwts=True, signed=signed, max_age=0)
    verifier = AccessTokenVerifier(
        issuer=server.deployment.issuer,
        audience=resource,
        algorithms=["ES256", "ML-DSA-44"],
        ssl_context=server.ssl_context(),
        introspection=introspection,
    )
    token = await asyncio.to_thread(fetch, server, parties.c1, resource=resource)
    found = await verifier.verify(token, certificate=parties.c1.der)
    assert (found.client_id, found.thumbprint) == ("c1", x5t_s256(parties.c1.der))
    assert await refusal(verifier, token, parties.c2.der) is TokenRefusal.OTHER_CERTIFICATE
    await asyncio.to_thread(revoke, server, parties, "c1", token)
    assert await refusal(verifier, token, parties.c1.der) is TokenRefusal.INACTIVE
    await introspection.aclose()
