"""Client authentication by assertions and secrets, over real TLS; how each certificate beside them binds the token."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httpx
import jwt
import pytest

from mtls_as.remote.documents import DocumentFetcher
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.server.client_secrets import make_secret
from mtls_as.server.clients import ClientSource, parse_client
from mtls_as.storage import DatabaseUnavailable
from tests.assertions import ISSUER, AssertingClient, carry
from tests.authority import DAY, HOUR, Authority, Identity, dns, new_key, self_signed
from tests.remote.https_server import HTTPSServer, answer
from tests.running import Deployment, RunningServer, running


@dataclass
class Credentials:
    """What the clients of the server hold."""

    jwt: AssertingClient = field(default_factory=lambda: AssertingClient("jwt"))
    rsa: AssertingClient = field(
        default_factory=lambda: AssertingClient("rsa", algorithm="PS256", key=new_key("RSA-2048"))
    )
    ed: AssertingClient = field(
        default_factory=lambda: AssertingClient("ed", algorithm="EdDSA", key=new_key("Ed25519"))
    )
    bearer: AssertingClient = field(default_factory=lambda: AssertingClient("jwt-bearer"))
    off: AssertingClient = field(default_factory=lambda: AssertingClient("jwt-off"))
    secrets: dict[str, str] = field(default_factory=dict)
    certificate: Identity = field(default_factory=self_signed)
    pki: Authority = field(default_factory=lambda: Authority.create("Client CA"))


@pytest.fixture(scope="module")
def held() -> Credentials:
    return Credentials()


@pytest.fixture(scope="module", params=[True, False], ids=["fast-lane", "framework"])
def server(
    request: pytest.FixtureRequest, held: Credentials, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server with a client of each method: those with keys declared, those with secrets stored."""
    deployment = Deployment(tmp_path_factory.mktemp("methods"), fast_lane=request.param).trust("default", held.pki)
    for client in (held.jwt, held.rsa, held.ed):
        deployment.client(client.client_id, token_endpoint_auth_method="private_key_jwt", jwks=client.jwks)
    loose = {"token_endpoint_auth_method": "private_key_jwt", "tls_client_certificate_bound_access_tokens": False}
    deployment.client("jwt-bearer", jwks=held.bearer.jwks, **loose)
    deployment.client("jwt-off", jwks=held.off.jwks, enabled=False, **loose)
    deployment.client("pki", tls_client_auth_san_dns="pki.example")
    with running(deployment) as server:
        for client_id, method in (
            ("basic", "client_secret_basic"),
            ("post", "client_secret_post"),
            ("basic-bearer", "client_secret_basic"),
        ):
            held.secrets[client_id] = store_client(
                server, client_id, method, tls_client_certificate_bound_access_tokens=client_id != "basic-bearer"
            )
        yield server


def store_client(server: RunningServer, client_id: str, method: str, **members: object) -> str:
    """Store a client with a secret, as the command line does; returns the secret."""
    registration = {"client_id": client_id, "token_endpoint_auth_method": method, "scope": "reports:read"} | members
    text, kept = make_secret(at=0.0)
    client = replace(parse_client(registration, ClientSource.STORAGE), secrets=(kept,))
    server.call(server.node.storage.clients.add(client))
    server.node.generation.clients.forget()
    return text


def basic(client_id: str, secret: str) -> dict[str, str]:
    """The header of RFC 6749 §2.3.1."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()
    return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


def ask(
    server: RunningServer,
    certificate: Identity | None = None,
    *,
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    **form: Any,
) -> httpx.Response:
    """One token request that names its client only where `form` does."""
    with server.client(certificate) as client:
        return client.post("/token", data={"grant_type": "client_credentials"} | form, headers=headers)


def confirmation(response: httpx.Response) -> object:
    """The `cnf` of the answer's token, if it has one."""
    assert response.status_code == 200, response.text
    return jwt.decode(response.json()["access_token"], options={"verify_signature": False}).get("cnf")


def refused(server: RunningServer, response: httpx.Response, refusal: Refusal, error: str = "invalid_client") -> None:
    """The status and error for the client, and the reason in the log alone."""
    assert server.last_event.refusal is refusal, server.last_event
    status = {"invalid_client": 401, "temporarily_unavailable": 503}.get(error, 400)
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert server.last_event.detail
    assert server.last_event.detail not in response.text
    assert response.headers["Cache-Control"] == "no-store"


class TestAssertions:
    @pytest.mark.parametrize("name", ["jwt", "rsa", "ed"])
    def test_an_assertion_gets_a_token_bound_to_the_certificate(
        self, server: RunningServer, held: Credentials, name: str
    ) -> None:
        """RFC 7523 §2.2 and RFC 8705 §3: who it is, the assertion says; the certificate, of any issuer, only binds."""
        response = ask(server, held.certificate, **getattr(held, name).form())
        assert confirmation(response) == {"x5t#S256": x5t_s256(held.certificate.der)}
        event = server.last_event
        assert (event.client_id, event.authentication_method, event.trust) == (name, "private_key_jwt", None)
        assert event.certificate is None

    def test_client_id_may_be_there_and_must_agree(self, server: RunningServer, held: Credentials) -> None:
        """RFC 7521 §4.2."""
        assert ask(server, held.certificate, client_id="jwt", **held.jwt.form()).status_code == 200
        refused(
            server, ask(server, held.certificate, client_id="rsa", **held.jwt.form()), Refusal.ASSERTION_KEY_UNKNOWN
        )
        assert server.last_event.unverified_client_id == "rsa"
        refused(server, ask(server, held.certificate, client_id="nobody", **held.jwt.form()), Refusal.UNKNOWN_CLIENT)

    def test_an_assertion_is_good_for_once(self, server: RunningServer, held: Credentials) -> None:
        form = held.jwt.form()
        assert ask(server, held.certificate, **form).status_code == 200
        refused(server, ask(server, held.certificate, **form), Refusal.ASSERTION_REPLAYED)
        refused(server, ask(server, self_signed(), **form), Refusal.ASSERTION_REPLAYED)

    def test_one_jti_is_not_another_client_s(self, server: RunningServer, held: Credentials) -> None:
        """Each client names its own assertions; nobody can use up those of another."""
        for client in (held.jwt, held.rsa):
            assert ask(server, held.certificate, **client.form(jti="the same")).status_code == 200

    def test_what_was_not_let_in_uses_nothing_up(self, server: RunningServer, held: Credentials) -> None:
        """A forged assertion with a client's next `jti` keeps nobody out."""
        stranger = AssertingClient("jwt")
        refused(server, ask(server, held.certificate, **stranger.form(jti="n")), Refusal.ASSERTION_UNTRUSTED)
        refused(server, ask(server, held.certificate, **held.jwt.form(jti="n", exp=1)), Refusal.ASSERTION_EXPIRED)
        assert ask(server, held.certificate, **held.jwt.form(jti="n")).status_code == 200

    @pytest.mark.parametrize(
        ("claims", "refusal"),
        [
            ({"aud": [ISSUER]}, Refusal.ASSERTION_WRONG_AUDIENCE),
            ({"aud": f"{ISSUER}/token"}, Refusal.ASSERTION_WRONG_AUDIENCE),
            ({"iss": "rsa"}, Refusal.SUBJECT_MISMATCH),
            ({"jti": None}, Refusal.ASSERTION_MALFORMED),
            ({"exp": None}, Refusal.ASSERTION_MALFORMED),
            ({"sub": None}, Refusal.ASSERTION_MALFORMED),
        ],
    )
    def test_other_claims_are_refused(
        self, server: RunningServer, held: Credentials, claims: dict[str, Any], refusal: Refusal
    ) -> None:
        """FAPI 2.0 §5.3.2.1 and RFC 7523 §3."""
        refused(server, ask(server, held.certificate, **held.jwt.form(**claims)), refusal)

    def test_a_type_of_its_own_is_asked_for(self, server: RunningServer, held: Credentials) -> None:
        """RFC 7521 §4.2: both parameters, and the type of this method."""
        form = held.jwt.form()
        for changed in (
            {"client_assertion": form["client_assertion"]},
            {"client_assertion_type": form["client_assertion_type"]},
            form | {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
            form | {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"},
        ):
            response = ask(server, held.certificate, client_id="jwt", **changed)
            refused(server, response, Refusal.WRONG_AUTHENTICATION_METHOD)

    def test_junk_names_nobody(self, server: RunningServer, held: Credentials) -> None:
        """Without client_id, an assertion that cannot be read is refused before anything else."""
        refused(server, ask(server, held.certificate, **carry("a.b.c")), Refusal.ASSERTION_MALFORMED)
        response = ask(server, held.certificate, client_assertion="a.b.c")
        refused(server, response, Refusal.MISSING_PARAMETER, "invalid_request")

    @pytest.mark.parametrize("error", [DatabaseUnavailable("locked")])
    def test_where_nobody_can_tell_nobody_is_let_in(
        self, server: RunningServer, held: Credentials, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        """Neither let in nor called a replay: 503, and the same assertion works afterwards."""

        async def fail(*_: object) -> bool:
            raise error

        form = held.jwt.form()
        with monkeypatch.context() as patch:
            patch.setattr(type(server.node.storage.used_once), "use", fail)
            response = ask(server, held.certificate, **form)
            refused(server, response, Refusal.TEMPORARILY_UNAVAILABLE, "temporarily_unavailable")
            assert response.headers["Retry-After"]
        assert ask(server, held.certificate, **form).status_code == 200


class TestPublishedKeys:
    """`jwks_uri`, behind a real HTTPS server."""

    def test_keys_roll_over_with_one_fetch(self, tmp_path: Path, held: Credentials) -> None:
        """An unknown `kid` fetches once; within the cool-down nobody can make it fetch again."""
        old, new = AssertingClient("remote", kid="old"), AssertingClient("remote", kid="new")
        published = {"keys": [old.jwk]}
        with HTTPSServer(lambda _: answer(published)) as keys:
            deployment = Deployment(tmp_path).client(
                "remote", token_endpoint_auth_method="private_key_jwt", jwks_uri=f"{keys.url}/jwks"
            )
            with running(deployment) as server:
                pool = server.node.foundation.remote_key_sets
                pool.fetcher = DocumentFetcher(ssl_context=keys.client_context(), seconds=2)
                assert ask(server, held.certificate, **old.form()).status_code == 200
                published["keys"] = [old.jwk, new.jwk]
                server.move_clock(40)
                assert ask(server, held.certificate, **new.form(exp=_later(server), iat=None)).status_code == 200
                assert len(keys.requests) == 2
                for _ in range(3):
                    response = ask(server, held.certificate, **new.form(header={"kid": "guess"}))
                    refused(server, response, Refusal.ASSERTION_KEY_UNKNOWN)
                assert len(keys.requests) == 2
                server.call(pool.fetcher.aclose())

    def test_keys_that_cannot_be_had_let_nobody_in(self, tmp_path: Path, held: Credentials) -> None:
        client = AssertingClient("remote")
        deployment = Deployment(tmp_path).client(
            "remote", token_endpoint_auth_method="private_key_jwt", jwks_uri="https://localhost:9/jwks"
        )
        with running(deployment) as server:
            response = ask(server, held.certificate, **client.form())
            refused(server, response, Refusal.REGISTERED_KEYS_UNAVAILABLE)


def _later(server: RunningServer) -> int:
    return int(datetime.now(UTC).timestamp() + server.clock_offset[0]) + 60


class TestSecrets:
    def test_a_secret_in_the_header_gets_a_bound_token(self, server: RunningServer, held: Credentials) -> None:
        """RFC 6749 §2.3.1 and RFC 8705 §3; `client_id` may stand in the form as well."""
        header = basic("basic", held.secrets["basic"])
        bound = {"x5t#S256": x5t_s256(held.certificate.der)}
        assert confirmation(ask(server, held.certificate, headers=header)) == bound
        assert confirmation(ask(server, held.certificate, headers=header, client_id="basic")) == bound
        event = server.last_event
        assert (event.client_id, event.authentication_method) == ("basic", "client_secret_basic")

    def test_a_secret_in_the_form_gets_a_bound_token(self, server: RunningServer, held: Credentials) -> None:
        secret = held.secrets["post"]
        response = ask(server, held.certificate, client_id="post", client_secret=secret)
        assert confirmation(response) == {"x5t#S256": x5t_s256(held.certificate.der)}
        refused(
            server, ask(server, held.certificate, client_secret=secret), Refusal.MISSING_PARAMETER, "invalid_request"
        )

    def test_names_are_encoded_as_form_values(self, server: RunningServer, held: Credentials) -> None:
        """A name with a colon, a plus and a percent sign."""
        name = "https://c.example/a+b%20"
        secret = store_client(server, name, "client_secret_basic")
        assert ask(server, held.certificate, headers=basic(name, secret)).status_code == 200
        server.call(server.node.storage.clients.delete(name))
        server.node.generation.clients.forget()

    @pytest.mark.parametrize("secret", ["wrong", "", "A" * 43, "é"])
    def test_wrong_secrets(self, server: RunningServer, held: Credentials, secret: str) -> None:
        """RFC 6749 §5.2: 401, with the scheme that was tried if there was one."""
        response = ask(server, held.certificate, headers=basic("basic", secret))
        refused(server, response, Refusal.WRONG_SECRET if secret else Refusal.CREDENTIALS_MALFORMED)
        assert response.headers["WWW-Authenticate"].startswith("Basic ")
        if secret:
            response = ask(server, held.certificate, client_id="post", client_secret=secret)
            refused(server, response, Refusal.WRONG_SECRET)
            assert "WWW-Authenticate" not in response.headers

    def test_a_secret_is_another_s(self, server: RunningServer, held: Credentials) -> None:
        response = ask(server, held.certificate, headers=basic("basic", held.secrets["basic-bearer"]))
        refused(server, response, Refusal.WRONG_SECRET)

    @pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Basic " + "A" * 5_000])
    def test_junk_in_the_header(self, server: RunningServer, held: Credentials, header: str) -> None:
        response = ask(server, held.certificate, headers={"Authorization": header}, client_id="basic")
        refused(server, response, Refusal.CREDENTIALS_MALFORMED)
        assert response.headers["WWW-Authenticate"].startswith("Basic ")

    @pytest.mark.parametrize("header", ["Bearer abc", "Digest a", "Negotiate"])
    def test_other_schemes(self, server: RunningServer, held: Credentials, header: str) -> None:
        response = ask(server, held.certificate, headers={"Authorization": header}, client_id="basic")
        refused(server, response, Refusal.WRONG_AUTHENTICATION_METHOD)
        assert response.headers["WWW-Authenticate"].startswith("Basic ")

    def test_two_names(self, server: RunningServer, held: Credentials) -> None:
        """RFC 6749 §2.3.1: the header names the client; a form that names another is malformed."""
        header = basic("basic", held.secrets["basic"])
        response = ask(server, held.certificate, headers=header, client_id="post")
        refused(server, response, Refusal.CLIENT_ID_CONFLICT, "invalid_request")

    def test_two_secrets_are_valid_during_a_rotation(self, server: RunningServer, held: Credentials) -> None:
        """The old one for the overlap, and then no more."""
        old = store_client(server, "turning", "client_secret_basic")
        now = datetime.now(UTC).timestamp()
        new, kept = make_secret(at=now)
        repository = server.node.storage.clients
        server.call(repository.add_secret("turning", kept, at=now, overlap=3_600.0))
        server.node.generation.clients.forget()
        try:
            for secret in (old, new):
                assert ask(server, held.certificate, headers=basic("turning", secret)).status_code == 200
            server.move_clock(3_601)
            assert ask(server, held.certificate, headers=basic("turning", new)).status_code == 200
            refused(server, ask(server, held.certificate, headers=basic("turning", old)), Refusal.WRONG_SECRET)
        finally:
            server.move_clock(-3_601)
            server.call(repository.delete("turning"))
            server.node.generation.clients.forget()

    def test_a_running_server_hears_of_a_new_secret(self, server: RunningServer, held: Credentials) -> None:
        """Through the revision of the storage, as from another process."""
        old = store_client(server, "told", "client_secret_basic")
        assert ask(server, held.certificate, headers=basic("told", old)).status_code == 200
        now = datetime.now(UTC).timestamp()
        _, kept = make_secret(at=now)
        server.call(server.node.storage.clients.add_secret("told", kept, at=now, overlap=0.0))
        assert server.call(server.node.foundation.refresh())
        server.node.generation.clients.forget()
        refused(server, ask(server, held.certificate, headers=basic("told", old)), Refusal.WRONG_SECRET)
        server.call(server.node.storage.clients.delete("told"))

    def test_the_secret_is_in_no_event(self, server: RunningServer, held: Credentials) -> None:
        """Nor is the assertion."""
        secret, form = held.secrets["basic"], held.jwt.form()
        ask(server, held.certificate, headers=basic("basic", secret))
        assert secret not in json.dumps(repr(server.last_event))
        ask(server, held.certificate, headers=basic("basic", secret + "x"))
        assert secret not in json.dumps(repr(server.last_event))
        ask(server, held.certificate, **form)
        assert form["client_assertion"] not in json.dumps(repr(server.last_event))


class TestMethods:
    """Exactly one credential, and the client's own (RFC 6749 §2.3)."""

    def test_another_method_than_the_registered_one(self, server: RunningServer, held: Credentials) -> None:
        """Even with the right secret, and for a client whose certificate would do."""
        pki = held.pki.issue("pki", san=[dns("pki.example")])
        attempts: list[Callable[[], httpx.Response]] = [
            lambda: ask(server, held.certificate, client_id="basic", client_secret=held.secrets["basic"]),
            lambda: ask(server, held.certificate, headers=basic("post", held.secrets["post"])),
            lambda: ask(server, held.certificate, client_id="basic", **held.jwt.form(sub="basic", iss="basic")),
            lambda: ask(server, held.certificate, headers=basic("jwt", "A" * 43)),
            lambda: ask(server, held.certificate, client_id="jwt"),
            lambda: ask(server, held.certificate, client_id="basic"),
            lambda: ask(server, pki, headers=basic("pki", "A" * 43)),
            lambda: ask(server, pki, client_id="pki", **held.jwt.form()),
        ]
        for attempt in attempts:
            refused(server, attempt(), Refusal.WRONG_AUTHENTICATION_METHOD)
        assert ask(server, pki, client_id="pki").status_code == 200

    def test_a_disabled_client(self, server: RunningServer, held: Credentials) -> None:
        """The same answer with the right credential and with a wrong one."""
        refused(server, ask(server, held.certificate, **held.off.form()), Refusal.DISABLED_CLIENT)
        stranger = AssertingClient("jwt-off")
        refused(server, ask(server, held.certificate, **stranger.form()), Refusal.DISABLED_CLIENT)


class TestBinding:
    """RFC 8705 §3: a certificate beside another credential binds the token, and nothing else."""

    def test_a_client_that_requires_binding_never_gets_a_bearer_token(
        self, server: RunningServer, held: Credentials
    ) -> None:
        """RFC 8705 §3.4; `true` is the default here."""
        refused(server, ask(server, **held.jwt.form()), Refusal.NO_CERTIFICATE)
        refused(server, ask(server, headers=basic("basic", held.secrets["basic"])), Refusal.NO_CERTIFICATE)
        response = ask(server, client_id="post", client_secret=held.secrets["post"])
        refused(server, response, Refusal.NO_CERTIFICATE)

    def test_a_client_that_asked_for_bearer_tokens(self, server: RunningServer, held: Credentials) -> None:
        """It gets one without a certificate; with one, whose only use is to bind, a bound one."""
        bound = {"x5t#S256": x5t_s256(held.certificate.der)}
        header = basic("basic-bearer", held.secrets["basic-bearer"])
        assert confirmation(ask(server, **held.bearer.form())) is None
        assert confirmation(ask(server, headers=header)) is None
        assert confirmation(ask(server, held.certificate, **held.bearer.form())) == bound
        assert confirmation(ask(server, held.certificate, headers=header)) == bound

    def test_no_path_is_asked_of_it(self, server: RunningServer, held: Credentials) -> None:
        """RFC 8705 §6.2: a stranger's CA, a usage for servers, another client's name."""
        stranger = Authority.create("Elsewhere")
        for certificate in (
            stranger.issue("any"),
            stranger.issue_server("server.example"),
            held.pki.issue("pki", san=[dns("pki.example")]),
        ):
            response = ask(server, certificate, **held.jwt.form())
            assert confirmation(response) == {"x5t#S256": x5t_s256(certificate.der)}

    @pytest.mark.parametrize(
        ("options", "refusal"),
        [
            (
                {"not_before": datetime.now(UTC) - 2 * DAY, "not_after": datetime.now(UTC) - HOUR},
                Refusal.CERTIFICATE_EXPIRED,
            ),
            (
                {"not_before": datetime.now(UTC) + HOUR, "not_after": datetime.now(UTC) + DAY},
                Refusal.CERTIFICATE_NOT_YET_VALID,
            ),
            ({"private_key": new_key("RSA-1024")}, Refusal.WEAK_KEY),
        ],
        ids=["expired", "not yet valid", "weak"],
    )
    def test_it_must_be_valid_and_strong(
        self, server: RunningServer, held: Credentials, options: dict[str, Any], refusal: Refusal
    ) -> None:
        """Whether the client requires binding or not."""
        certificate = held.pki.issue("client", **options)
        refused(server, ask(server, certificate, **held.jwt.form()), refusal)
        refused(server, ask(server, certificate, **held.bearer.form()), refusal)
        refused(server, ask(server, certificate, headers=basic("basic", held.secrets["basic"])), refusal)


class TestPublicClients:
    """`none`: the dispatch is there, and no grant that would let anybody in by it."""

    @pytest.fixture
    def public(self, server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
        """A server that believes a grant of its own to be for public clients, and has such a client."""
        grants = frozenset({"client_credentials"})
        monkeypatch.setattr("mtls_as.rfc.rfc7591_client_metadata.PUBLIC_GRANT_TYPES", grants)
        members = {"client_id": "public", "token_endpoint_auth_method": "none", "scope": "reports:read"}
        server.call(server.node.storage.clients.add(parse_client(members, ClientSource.STORAGE)))
        server.node.generation.clients.forget()
        yield server
        server.call(server.node.storage.clients.delete("public"))
        server.node.generation.clients.forget()

    def test_client_credentials_takes_none_of_them(self, public: RunningServer, held: Credentials) -> None:
        """RFC 6749 §4.4.2, whatever a registration says; with a certificate as without."""
        for certificate in (None, held.certificate):
            response = ask(public, certificate, client_id="public")
            refused(public, response, Refusal.GRANT_NOT_ALLOWED, "unauthorized_client")
            assert (public.last_event.client_id, public.last_event.authentication_method) == ("public", "none")

    def test_a_public_client_has_no_credential(self, public: RunningServer, held: Credentials) -> None:
        """One that comes with a secret is somebody else, or a mistake."""
        response = ask(public, headers=basic("public", "A" * 43))
        refused(public, response, Refusal.WRONG_AUTHENTICATION_METHOD)
