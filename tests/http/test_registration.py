"""Dynamic registration and its management over a running server (RFC 7591, RFC 7592), and what it must refuse."""

import base64
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from mtls_as.pki.path import CertificateRefused
from mtls_as.pki.trust_domains import TrustDomains
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc7517_jwk import public_jwk
from mtls_as.rfc.rfc7519_jwt import sign
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.server.registration_policy import RegistrationPolicy
from mtls_as.server.registrations import InitialAccessToken, make_token
from tests.authority import Authority, Identity, dns, new_key, self_signed
from tests.running import Deployment, RunningServer, running

STATEMENT_KEY = new_key()
STATEMENT_JWK = public_jwk(STATEMENT_KEY.public_key(), kid="s1", algorithm="ES256")
POLICY = RegistrationPolicy(
    scope=("reports:read",),
    trust=("partner-a", "partner-b"),
    methods=("tls_client_auth", "self_signed_tls_client_auth", "private_key_jwt", "client_secret_basic"),
    jwks_uri_prefixes=("https://keys.partner.example/",),
)
METADATA = {"tls_client_auth_san_dns": "a1.example"}


@pytest.fixture(scope="module")
def onboarding() -> Authority:
    return Authority.create("Onboarding CA")


@pytest.fixture(scope="module")
def partner() -> Authority:
    return Authority.create("Partner CA")


@pytest.fixture(scope="module")
def registrar(
    onboarding: Authority, partner: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server where clients can register themselves."""
    deployment = Deployment(tmp_path_factory.mktemp("registrar"))
    deployment.trust("onboarding", onboarding).trust("partner-a", partner)
    deployment.trust("partner-b", Authority.create("Other partner CA"))
    keys = "{keys = [{" + ", ".join(f'{name} = "{value}"' for name, value in STATEMENT_JWK.items()) + "}]}"
    deployment.sections.append(
        '[registration]\ntrust = "onboarding"\n'
        'allows = { trust = ["partner-a"], scope = "reports:read" }\n'
        f'[[registration.software_statement_issuers]]\nissuer = "https://software.example"\njwks = {keys}\n'
    )
    with running(deployment) as server:
        yield server


@pytest.fixture
def identity(partner: Authority) -> Identity:
    return partner.issue(san=[dns("a1.example")])


def initial_token(server: RunningServer, *, uses: int = 1, seconds: float = 60, **policy: Any) -> str:
    text, digest = make_token()
    allowed = replace(POLICY, **policy)
    ends = time.time() + server.clock_offset[0] + seconds
    token = InitialAccessToken(digest=digest, policy=allowed, uses_left=uses, expires_at=ends)
    server.call(server.node.storage.registrations.add_initial_access_token(token))
    return text


def register(
    server: RunningServer, members: Any, *, token: str | None = None, identity: Identity | None = None
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with server.client(identity) as client:
        return client.post("/register", json=members, headers=headers)


def manage(
    server: RunningServer, method: str, made: dict[str, Any], identity: Identity | None, **request: Any
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {request.pop('token', made['registration_access_token'])}"}
    with server.client(identity) as client:
        return client.request(method, f"/register/{made['client_id']}", headers=headers, **request)


def refused(server: RunningServer, answer: httpx.Response, status: int, error: str, refusal: Refusal) -> bool:
    return (answer.status_code, answer.json()["error"], server.last_event.refusal) == (status, error, refusal)


def test_a_registered_client_gets_tokens(registrar: RunningServer, identity: Identity) -> None:
    """RFC 7591 §3.2.1: all members as they are registered, and what was not asked for by the credential's defaults."""
    answer = register(registrar, METADATA | {"client_name": "A", "logo_uri": "x"}, token=initial_token(registrar))
    made = answer.json()
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store"), registrar.last_event
    assert {name: made[name] for name in ("token_endpoint_auth_method", "grant_types", "scope", "trust")} == {
        "token_endpoint_auth_method": "tls_client_auth",
        "grant_types": ["client_credentials"],
        "scope": "reports:read",
        "trust": "partner-a",
    }
    assert made["registration_client_uri"] == f"https://localhost:8443/register/{made['client_id']}"
    assert "logo_uri" not in made
    assert registrar.last_event.client_id == made["client_id"]
    assert registrar.token(identity, made["client_id"]).status_code == 200


def test_the_metadata_names_the_endpoint(registrar: RunningServer, server: RunningServer) -> None:
    """RFC 8414 §2; and where it is off, there is none."""
    path = "/.well-known/oauth-authorization-server"
    with registrar.client() as client:
        assert client.get(path).json()["registration_endpoint"] == "https://localhost:8443/register"
    with server.client() as client:
        assert "registration_endpoint" not in client.get(path).json()
        assert client.post("/register", json={}).status_code == 404


def test_an_initial_access_token_is_for_one_use(registrar: RunningServer) -> None:
    """A request that is refused does not use it up."""
    token = initial_token(registrar)
    assert register(registrar, {"scope": "reports:write"}, token=token).status_code == 400
    assert register(registrar, METADATA, token=token).status_code == 201
    answer = register(registrar, METADATA, token=token)
    assert refused(registrar, answer, 401, "invalid_token", Refusal.REGISTRATION_TOKEN_INVALID)
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_nobody_registers_without_a_credential(registrar: RunningServer, identity: Identity) -> None:
    """No token, an unknown or ended one, a certificate of another trust domain."""
    answer = register(registrar, METADATA)
    assert refused(registrar, answer, 401, "invalid_token", Refusal.REGISTRATION_CREDENTIAL_MISSING)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert refused(
        registrar,
        register(registrar, METADATA, token="x" * 43),
        401,
        "invalid_token",
        Refusal.REGISTRATION_TOKEN_INVALID,
    )
    ended = initial_token(registrar, seconds=-1)
    answer = register(registrar, METADATA, token=ended)
    assert refused(registrar, answer, 401, "invalid_token", Refusal.REGISTRATION_TOKEN_INVALID)
    answer = register(registrar, METADATA, identity=identity)
    assert refused(registrar, answer, 401, "invalid_token", Refusal.UNTRUSTED_ISSUER)


def test_a_certificate_of_the_named_trust_domain_registers(registrar: RunningServer, onboarding: Authority) -> None:
    """Within what the configuration allows."""
    registrant = onboarding.issue()
    assert register(registrar, METADATA, identity=registrant).json()["trust"] == "partner-a"
    assert registrar.last_event.trust == "onboarding"
    answer = register(registrar, METADATA, identity=registrant, token="x" * 43)
    assert refused(registrar, answer, 401, "invalid_token", Refusal.REGISTRATION_TOKEN_INVALID)


@pytest.mark.parametrize(
    "members",
    [
        METADATA | {"trust": "onboarding"},
        METADATA | {"scope": "reports:read reports:write"},
        METADATA | {"grant_types": ["urn:ietf:params:oauth:grant-type:token-exchange"]},
        METADATA | {"grant_types": ["authorization_code"]},
        METADATA | {"tls_client_certificate_bound_access_tokens": False},
        METADATA | {"token_endpoint_auth_method": "client_secret_post"},
        METADATA | {"token_endpoint_auth_method": ["tls_client_auth"]},
        METADATA | {"authorization_details_types": ["payment"]},
        METADATA | {"tls_client_auth_san_uri": "https://a1.example"},
        METADATA | {"scope": ["reports:read"]},
        METADATA | {"client_name": 7},
        METADATA | {"software_statement": 7},
        {"token_endpoint_auth_method": "none"},
        {"token_endpoint_auth_method": "spiffe_x509", "spiffe_id": "spiffe://a.example/x"},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://keys.partner.example.evil.example/k"},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://keys.partner.example/../k"},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://keys.partner.example@evil.example/k"},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://169.254.169.254/"},
        {},
        [],
    ],
    ids=str,
)
def test_a_registrant_gets_no_more_than_its_credential_allows(registrar: RunningServer, members: Any) -> None:
    """RFC 7591 §3.2.2 and §5."""
    answer = register(registrar, members, token=initial_token(registrar))
    assert refused(registrar, answer, 400, "invalid_client_metadata", Refusal.CLIENT_METADATA_INVALID)


@pytest.mark.parametrize("body", [b"", b"{", b'{"scope":"a","scope":"b"}', b"\xff", b"null"])
def test_a_body_that_is_no_object_is_refused(registrar: RunningServer, body: bytes) -> None:
    """Bounded, and with one meaning for every reader."""
    headers = {"Authorization": f"Bearer {initial_token(registrar)}", "Content-Type": "application/json"}
    with registrar.client() as client:
        answer = client.post("/register", content=body, headers=headers)
    assert refused(registrar, answer, 400, "invalid_client_metadata", Refusal.CLIENT_METADATA_INVALID)


def test_a_form_is_no_registration(registrar: RunningServer) -> None:
    with registrar.client() as client:
        answer = client.post("/register", data=METADATA)
    assert refused(registrar, answer, 400, "invalid_request", Refusal.UNSUPPORTED_MEDIA_TYPE)


def test_keys_below_an_allowed_prefix_are_accepted(registrar: RunningServer) -> None:
    """And are not fetched before the client comes."""
    members = {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://keys.partner.example/a/jwks"}
    assert register(registrar, members, token=initial_token(registrar)).status_code == 201


def test_a_client_may_bring_its_certificate(registrar: RunningServer) -> None:
    """RFC 8705 §2.2: known by exactly this certificate."""
    mine = self_signed()
    x5c = base64.b64encode(mine.der).decode()
    jwk = {**public_jwk(mine.private_key.public_key(), kid="k", algorithm="ES256"), "x5c": [x5c]}
    members = {"token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks": {"keys": [jwk]}}
    made = register(registrar, members, token=initial_token(registrar)).json()
    assert registrar.token(mine, made["client_id"]).status_code == 200


def test_the_server_makes_the_secret(registrar: RunningServer, identity: Identity) -> None:
    """It is shown once (RFC 7591 §3.2.1), and good at the token endpoint; nobody else may choose it."""
    members = {"token_endpoint_auth_method": "client_secret_basic"}
    made = register(registrar, members | {"client_secret": "mine"}, token=initial_token(registrar)).json()
    assert len(made["client_secret"]) == 43
    assert made["client_secret_expires_at"] == 0
    with registrar.client(identity) as client:
        credentials = (made["client_id"], made["client_secret"])
        assert client.post("/token", data={"grant_type": "client_credentials"}, auth=credentials).status_code == 200
    read = manage(registrar, "GET", made, None).json()
    assert "client_secret" not in read
    update = {"client_id": made["client_id"], **members}
    assert manage(registrar, "PUT", made, None, json=update | {"client_secret": "mine"}).status_code == 400
    assert manage(registrar, "PUT", made, None, json=update | {"client_secret": made["client_secret"]}).is_success


class TestManagement:
    """RFC 7592."""

    @pytest.fixture
    def made(self, registrar: RunningServer) -> dict[str, Any]:
        answer: dict[str, Any] = register(registrar, METADATA, token=initial_token(registrar)).json()
        return answer

    def test_read(self, registrar: RunningServer, made: dict[str, Any], identity: Identity) -> None:
        """§2.1 and §3: as it was told at the beginning."""
        assert manage(registrar, "GET", made, identity).json() == made

    def test_update(
        self, registrar: RunningServer, made: dict[str, Any], identity: Identity, partner: Authority
    ) -> None:
        """§2.2: what is not sent is gone; the client is known by its new subject at once."""
        update = {"client_id": made["client_id"], "tls_client_auth_san_dns": "a2.example", "client_name": None}
        answer = manage(registrar, "PUT", made, identity, json=update)
        assert answer.status_code == 200
        assert answer.json() == made | {"tls_client_auth_san_dns": "a2.example"}
        assert registrar.token(identity, made["client_id"]).status_code == 401
        assert registrar.token(partner.issue(san=[dns("a2.example")]), made["client_id"]).status_code == 200

    @pytest.mark.parametrize(
        "members",
        [
            {"scope": "reports:write"},
            {"trust": "onboarding"},
            {"client_id": "another"},
            {"client_id": None},
            {"registration_access_token": "x"},
            {"client_id_issued_at": 1},
            {"client_secret": "x"},
            {"token_endpoint_auth_method": "client_secret_basic", "tls_client_auth_san_dns": None, "trust": None},
        ],
        ids=str,
    )
    def test_an_update_gets_no_more_either(
        self, registrar: RunningServer, made: dict[str, Any], identity: Identity, members: dict[str, Any]
    ) -> None:
        """Within the policy of the credential that registered the client."""
        update = {"client_id": made["client_id"], **METADATA} | members
        answer = manage(registrar, "PUT", made, identity, json=update)
        assert refused(registrar, answer, 400, "invalid_client_metadata", Refusal.CLIENT_METADATA_INVALID)
        assert manage(registrar, "GET", made, identity).json() == made

    def test_delete(self, registrar: RunningServer, made: dict[str, Any], identity: Identity) -> None:
        """§2.3: the client is gone, with its token and its access tokens."""
        assert registrar.token(identity, made["client_id"]).status_code == 200
        answer = manage(registrar, "DELETE", made, identity)
        assert (answer.status_code, answer.content) == (204, b"")
        assert registrar.token(identity, made["client_id"]).status_code == 401
        again = manage(registrar, "GET", made, identity)
        assert refused(registrar, again, 401, "invalid_token", Refusal.REGISTRATION_TOKEN_INVALID)

    def test_a_wrong_token_tells_nothing(
        self, registrar: RunningServer, made: dict[str, Any], identity: Identity
    ) -> None:
        """§2.1: the same for a client that exists, one that does not, and another client's token."""
        other = register(registrar, METADATA, token=initial_token(registrar)).json()
        answers = [
            manage(registrar, "GET", made, identity, token="x" * 43),
            manage(registrar, "GET", made, identity, token=other["registration_access_token"]),
            manage(registrar, "GET", made | {"client_id": "unknown"}, identity),
        ]
        assert {(answer.status_code, answer.content) for answer in answers} == {(401, answers[0].content)}

    def test_the_token_alone_is_not_enough(
        self, registrar: RunningServer, made: dict[str, Any], identity: Identity, partner: Authority
    ) -> None:
        """A client that is known by a certificate is managed with it: a stolen token needs the key, too."""
        for wrong in (None, partner.issue(san=[dns("a9.example")]), Authority.create("x").issue()):
            for method in ("GET", "DELETE"):
                answer = manage(registrar, method, made, wrong)
                assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
        assert manage(registrar, "GET", made, identity).is_success

    def test_the_registrants_certificate_manages_too(self, registrar: RunningServer, onboarding: Authority) -> None:
        """So that a client registered with a wrong subject can be put right."""
        registrant = onboarding.issue()
        made = register(registrar, METADATA, identity=registrant).json()
        assert manage(registrar, "GET", made, registrant).is_success
        assert manage(registrar, "GET", made, onboarding.issue()).status_code == 401

    def test_but_not_once_it_has_expired(self, registrar: RunningServer, onboarding: Authority) -> None:
        """Whoever has a certificate that nobody vouches for any longer has the token alone."""
        registrant = onboarding.issue()
        made = register(registrar, METADATA, identity=registrant).json()
        registrar.move_clock(2 * 86_400)
        try:
            answer = manage(registrar, "GET", made, registrant)
        finally:
            registrar.move_clock(-2 * 86_400)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
        assert manage(registrar, "GET", made, registrant).is_success

    def test_a_certificate_that_nobody_vouches_for_manages_nothing(self, registrar: RunningServer) -> None:
        """An initial access token asks for no certificate, so the one beside it may be anybody's."""
        stranger = self_signed()
        made = register(registrar, METADATA, token=initial_token(registrar), identity=stranger).json()
        answer = manage(registrar, "GET", made, stranger)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")

    def test_nor_does_a_revoked_one(
        self, registrar: RunningServer, partner: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The path is verified for each request, as for any other certificate."""
        registrant = partner.issue(san=[dns("admin.example")])
        made = register(registrar, METADATA, token=initial_token(registrar), identity=registrant).json()
        assert manage(registrar, "GET", made, registrant).is_success

        async def refuse(*_: object, **__: object) -> None:
            raise CertificateRefused(Refusal.CERTIFICATE_REVOKED, "revoked")

        monkeypatch.setattr(TrustDomains, "verify_online", refuse)
        answer = manage(registrar, "GET", made, registrant)
        assert refused(registrar, answer, 401, "invalid_token", Refusal.CERTIFICATE_REVOKED)

    def test_a_disabled_client_is_not_managed(
        self, registrar: RunningServer, made: dict[str, Any], identity: Identity
    ) -> None:
        """What the operator decided stays."""
        registrar.call(registrar.node.storage.clients.set_enabled(made["client_id"], False))
        answer = manage(registrar, "GET", made, identity)
        assert refused(registrar, answer, 401, "invalid_token", Refusal.DISABLED_CLIENT)


class TestSoftwareStatements:
    """RFC 7591 §2.3."""

    def statement(self, key: Any = STATEMENT_KEY, kid: str = "s1", typ: str = "JWT", **claims: Any) -> str:
        claims = {"iss": "https://software.example", "client_name": "By statement"} | claims
        return sign(claims, type=typ, kid=kid, algorithm="ES256", private_key=key)

    def test_its_claims_win(self, registrar: RunningServer, identity: Identity) -> None:
        """And it comes back as it was."""
        statement = self.statement(aud="https://localhost:8443", exp=int(time.time()) + 60)
        members = METADATA | {"client_name": "By me", "software_statement": statement}
        made = register(registrar, members, token=initial_token(registrar)).json()
        assert (made["client_name"], made["software_statement"]) == ("By statement", statement)
        update = {"client_id": made["client_id"], **METADATA, "client_name": "By me"}
        answer = manage(registrar, "PUT", made, identity, json=update)
        assert refused(registrar, answer, 400, "invalid_software_statement", Refusal.SOFTWARE_STATEMENT_INVALID)

    def test_it_does_not_widen_what_the_credential_allows(self, registrar: RunningServer) -> None:
        members = METADATA | {"software_statement": self.statement(scope="reports:write")}
        answer = register(registrar, members, token=initial_token(registrar))
        assert refused(registrar, answer, 400, "invalid_client_metadata", Refusal.CLIENT_METADATA_INVALID)

    def test_another_issuer_is_not_approved(self, registrar: RunningServer) -> None:
        members = METADATA | {"software_statement": self.statement(iss="https://other.example")}
        answer = register(registrar, members, token=initial_token(registrar))
        assert refused(registrar, answer, 400, "unapproved_software_statement", Refusal.SOFTWARE_STATEMENT_UNAPPROVED)

    @pytest.mark.parametrize(
        "statement",
        [
            {"key": new_key()},
            {"kid": "s2"},
            {"typ": "at+jwt"},
            {"exp": 1},
            {"nbf": 99_999_999_999},
            {"aud": "https://elsewhere.example"},
            {"exp": "never"},
        ],
        ids=lambda statement: str(statement).partition(" object at ")[0],
    )
    def test_a_bad_one_is_refused(self, registrar: RunningServer, statement: dict[str, Any]) -> None:
        """Of another key, of another kind, past its end, or for another server."""
        members = METADATA | {"software_statement": self.statement(**statement)}
        answer = register(registrar, members, token=initial_token(registrar))
        assert refused(registrar, answer, 400, "invalid_software_statement", Refusal.SOFTWARE_STATEMENT_INVALID)

    def test_what_is_no_jwt_is_refused(self, registrar: RunningServer) -> None:
        answer = register(registrar, METADATA | {"software_statement": "x"}, token=initial_token(registrar))
        assert refused(registrar, answer, 400, "invalid_software_statement", Refusal.SOFTWARE_STATEMENT_INVALID)


def test_the_certificate_of_a_registration_is_remembered(registrar: RunningServer, onboarding: Authority) -> None:
    """By its thumbprint."""
    registrant = onboarding.issue()
    made = register(registrar, METADATA, identity=registrant).json()
    found = registrar.call(registrar.node.storage.registrations.find(made["client_id"]))
    assert found.certificate_thumbprint == x5t_s256(registrant.der)
