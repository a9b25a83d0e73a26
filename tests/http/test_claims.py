"""Further claims over real TLS: static ones, an entry point, the HTTPS hook and all that can go wrong there."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import httpx
import pytest

from mtls_as.config import ConfigurationError
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc9068_at_jwt import RESERVED_CLAIMS
from mtls_as.server.claims import ClaimsRequest
from mtls_as.server.events import Outcome
from tests.authority import Authority, Identity, dns
from tests.http.exchanging import claims_of
from tests.remote.https_server import HTTPSServer, Request, Stream, answer
from tests.running import RESOURCE, Deployment, RunningServer, running

Ask = Callable[[], httpx.Response]


@pytest.fixture(scope="module")
def c1(authority: Authority) -> Identity:
    return authority.issue("c1", san=[dns("c1.example")])


def deploy(folder: Path, authority: Authority, *sections: str, **members: object) -> Deployment:
    deployment = Deployment(folder).trust("default", authority)
    deployment.client("c1", tls_client_auth_san_dns="c1.example", **members)
    deployment.sections.extend(sections)
    return deployment


def assert_failed(server: RunningServer, response: httpx.Response) -> None:
    """No token, and nothing about the hook in the answer."""
    assert (response.status_code, response.json()["error"]) == (500, "server_error"), response.text
    assert server.last_event.refusal is Refusal.CLAIMS_HOOK_FAILED
    assert server.last_event.outcome is Outcome.FAILED
    assert set(response.json()) == {"error", "error_description"}


class TestStatic:
    def test_of_resource_and_client(self, tmp_path: Path, authority: Authority, c1: Identity) -> None:
        """The client's come over the resource's."""
        deployment = deploy(tmp_path, authority, claims={"tenant": "c1", "level": 3})
        deployment.resource_options = 'claims = { tenant = "all", region = { name = "eu" } }'
        with running(deployment) as server:
            claims = claims_of(server.token(c1))
        assert (claims["tenant"], claims["level"], claims["region"]) == ("c1", 3, {"name": "eu"})

    @pytest.mark.parametrize("claim", sorted(RESERVED_CLAIMS))
    def test_reserved_ones_are_refused_at_the_start(self, tmp_path: Path, authority: Authority, claim: str) -> None:
        """What the standards give a meaning is the server's, in the file of a client and of a resource."""
        deployment = deploy(tmp_path, authority, claims={claim: "x"})
        deployment.resource_options = f'claims = {{ {claim} = "x" }}'
        with pytest.raises(ConfigurationError) as caught, running(deployment):
            pass
        places = {problem.place for problem in caught.value.problems}
        assert places == {f"clients[0].claims.{claim}", f"resources[0].claims.{claim}"}

    def test_too_much(self, tmp_path: Path, authority: Authority) -> None:
        with (
            pytest.raises(ConfigurationError, match="4096"),
            running(deploy(tmp_path, authority, claims={"x": "a" * 5000})),
        ):
            pass


class Example:
    """An entry point that tests change."""

    def __init__(self) -> None:
        self.answer: object = {}
        self.requests: list[ClaimsRequest] = []

    def __call__(self, request: ClaimsRequest) -> Mapping[str, object]:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value] # also what is none


example = Example()


class TestEntryPoint:
    @pytest.fixture(scope="class")
    @staticmethod
    def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
        def installed(*, group: str) -> EntryPoints:
            return EntryPoints([EntryPoint("example", "tests.http.test_claims:example", group)])

        deployment = deploy(
            tmp_path_factory.mktemp("entry"),
            authority,
            '[claims_hook]\nentry_point = "example"',
            claims={"a": 1, "b": 1},
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mtls_as.wiring.claims.entry_points", installed)
            with running(deployment) as server:
                yield server

    def test_its_claims(self, server: RunningServer, c1: Identity) -> None:
        """It learns what the token will say, and comes over static claims."""
        example.answer = {"b": 2, "roles": ["x"]}
        claims = claims_of(server.token(c1))
        assert (claims["a"], claims["b"], claims["roles"]) == (1, 2, ["x"])
        request = example.requests[-1]
        assert (request.client_id, request.subject, request.actor) == ("c1", "c1", None)
        assert (request.grant_type, request.resource, request.scope) == (
            "client_credentials",
            RESOURCE,
            ("reports:read",),
        )
        assert (request.authentication_method, request.certificate_thumbprint) == (
            "tls_client_auth",
            claims["cnf"]["x5t#S256"],
        )

    @pytest.mark.parametrize(
        "bad",
        [
            ValueError("secret text"),
            KeyError("x"),
            None,
            [],
            {"sub": "admin"},
            {"x": object()},
            {"x": float("nan")},
            {1: 2},
            {"x y": 1},
            {"x": "a" * 5000},
        ],
        ids=lambda bad: str(bad).partition(" object at ")[0][:40],
    )
    def test_no_token_without_its_claims(self, server: RunningServer, c1: Identity, bad: object) -> None:
        """It raises, or answers what is no claim that it may set."""
        example.answer = bad
        response = server.token(c1)
        assert_failed(server, response)
        assert "secret" not in response.text

    def test_a_name_that_nobody_installed(self, tmp_path: Path, authority: Authority) -> None:
        deployment = deploy(tmp_path, authority, '[claims_hook]\nentry_point = "missing"')
        with pytest.raises(ConfigurationError, match="no installed package"), running(deployment):
            pass


async def _never(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(5)


class Endpoint:
    """The HTTPS hook: answers what the test wants."""

    def __init__(self) -> None:
        self.answer: bytes | Stream = answer({})

    def __call__(self, request: Request) -> bytes | Stream:
        return self.answer


def hook(server: HTTPSServer, folder: Path, **options: object) -> str:
    (folder / "hook-ca.pem").write_text(server.authority.pem)
    settings = {"url": f"{server.url}/claims", "ca": "hook-ca.pem", "timeout": 0.5} | options
    return "\n".join(["[claims_hook]", *(f"{name} = {json.dumps(value)}" for name, value in settings.items())])


class TestHTTPS:
    @pytest.fixture(scope="class")
    @staticmethod
    def endpoint() -> Endpoint:
        return Endpoint()

    @pytest.fixture(scope="class")
    @staticmethod
    def hooked(endpoint: Endpoint) -> Iterator[HTTPSServer]:
        with HTTPSServer(
            endpoint, Authority.create("Hook CA"), client_authority=Authority.create("Caller CA")
        ) as server:
            yield server

    @pytest.fixture(scope="class")
    @staticmethod
    def servers(
        hooked: HTTPSServer, authority: Authority, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[dict[str, RunningServer]]:
        """One that fails closed, with a certificate of its own at the hook, and one that fails open."""
        assert hooked.client_authority is not None
        closed, opened = (tmp_path_factory.mktemp(name) for name in ("closed", "open"))
        files = {}
        for folder in (closed, opened):
            certificate, key = hooked.client_authority.issue("as").write(folder, "as")
            files[folder] = {"certificate": Path(certificate).name, "private_key": Path(key).name}
        with (
            running(deploy(closed, authority, hook(hooked, closed, **files[closed]))) as fails_closed,
            running(deploy(opened, authority, hook(hooked, opened, fail="open", **files[opened]))) as fails_open,
        ):
            yield {"closed": fails_closed, "open": fails_open}

    def test_its_claims(
        self, servers: dict[str, RunningServer], endpoint: Endpoint, hooked: HTTPSServer, c1: Identity
    ) -> None:
        endpoint.answer = answer({"tenant": "example"})
        response = servers["closed"].token(c1)
        assert claims_of(response)["tenant"] == "example"
        request = hooked.requests[-1]
        assert (request.method, request.path) == ("POST", "/claims")
        assert request.certificate is not None
        body: dict[str, Any] = json.loads(request.body)
        assert (body["client_id"], body["resource"], body["scope"]) == ("c1", RESOURCE, ["reports:read"])
        assert "access_token" not in body

    @pytest.mark.parametrize(
        "bad",
        [
            answer({}, status=500),
            answer({}, status=204),
            answer({}, status=302, Location="https://elsewhere.example/"),
            answer({}, media_type="text/html"),
            answer(b"{"),
            answer({"x": "a" * 20_000}),
            b"",
            b"nonsense\r\n\r\n",
            _never,
        ],
        ids=["500", "204", "302", "html", "cut", "long", "nothing", "nonsense", "slow"],
    )
    def test_no_answer_that_can_be_used(
        self, servers: dict[str, RunningServer], endpoint: Endpoint, c1: Identity, bad: bytes | Stream
    ) -> None:
        """Closed by default; open says so in the event."""
        endpoint.answer = bad
        started = time.monotonic()
        assert_failed(servers["closed"], servers["closed"].token(c1))
        assert claims_of(servers["open"].token(c1))["sub"] == "c1"
        assert "without the claims" in str(servers["open"].last_event.note)
        assert time.monotonic() - started < 4

    @pytest.mark.parametrize("claim", ["sub", "cnf", "scope", "act", "authorization_details", "exp"])
    def test_what_it_may_not_set(
        self, servers: dict[str, RunningServer], endpoint: Endpoint, c1: Identity, claim: str
    ) -> None:
        """An answer that would change the token's meaning refuses it, open or closed."""
        endpoint.answer = answer({"tenant": "example", claim: "x"})
        for server in servers.values():
            assert_failed(server, server.token(c1))

    @pytest.mark.parametrize("document", [[], "x", None, {"a b": 1}, {"x": "a" * 5000}], ids=repr)
    def test_what_is_no_claims(
        self, servers: dict[str, RunningServer], endpoint: Endpoint, c1: Identity, document: object
    ) -> None:
        endpoint.answer = answer(document)
        for server in servers.values():
            assert_failed(server, server.token(c1))

    def test_a_client_that_is_refused_asks_nobody(
        self, servers: dict[str, RunningServer], hooked: HTTPSServer, authority: Authority
    ) -> None:
        """The hook learns only of tokens that will be issued."""
        before = len(hooked.requests)
        assert servers["closed"].token(authority.issue("x", san=[dns("x.example")])).status_code == 401
        assert len(hooked.requests) == before


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("", "entry_point, url or both"),
        ("timeout = 2", "belongs to url"),
        ('url = "http://claims.example/"', "https"),
        ('url = "https://claims.example/"\ntimeout = 60', "10"),
        ('url = "https://claims.example/"\ncertificate = "server.pem"', "together"),
        ('url = "https://claims.example/"\nfail = "ajar"', "closed"),
        ('url = "https://claims.example/"\nca = "missing.pem"', "missing.pem"),
    ],
)
def test_configurations_that_do_not_start(tmp_path: Path, authority: Authority, lines: str, problem: str) -> None:
    with (
        pytest.raises(ConfigurationError, match=problem),
        running(deploy(tmp_path, authority, f"[claims_hook]\n{lines}")),
    ):
        pass
