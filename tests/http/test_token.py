"""The token endpoint over real TLS: what a client gets, and how it is refused."""

import json
from datetime import UTC, datetime, timedelta

import httpx
import jwt
import pytest

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from tests.authority import Authority, Identity, dns
from tests.running import RESOURCE, Deployment, RunningServer, running, token_form


@pytest.fixture(scope="module")
def c1(authority: Authority) -> Identity:
    return authority.issue("c1", san=[dns("c1.example")])


def claims_of(server: RunningServer, response: httpx.Response, audience: str = RESOURCE) -> dict[str, object]:
    """The claims of an answer's token, verified by PyJWT with the published key."""
    assert response.status_code == 200, response.text
    with server.client() as client:
        keys = jwt.PyJWKSet.from_dict(client.get("/jwks").json())
    token = response.json()["access_token"]
    header = jwt.get_unverified_header(token)
    assert header["typ"] == "at+jwt"
    claims: dict[str, object] = jwt.decode(
        token, keys[header["kid"]], algorithms=[header["alg"]], audience=audience, issuer=server.deployment.issuer
    )
    return claims


def test_a_client_with_its_certificate_gets_a_bound_token(server: RunningServer, c1: Identity) -> None:
    """RFC 8705 §3.1: the token carries the thumbprint of the certificate; RFC 6749 §5.1: the answer's members."""
    response = server.token(c1, scope="reports:read")
    answer = response.json()
    assert (answer["token_type"], answer["expires_in"], answer["scope"]) == ("Bearer", 300, "reports:read")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Type"] == "application/json"
    claims = claims_of(server, response)
    assert claims["cnf"] == {"x5t#S256": x5t_s256(c1.der)}


def test_claims_are_those_of_rfc_9068(server: RunningServer, c1: Identity) -> None:
    """RFC 9068 §2.2: every required claim, and `sub` is the client itself in this grant."""
    claims = claims_of(server, server.token(c1))
    assert claims["sub"] == claims["client_id"] == "c1"
    assert claims["aud"] == RESOURCE
    assert claims["exp"] == claims["iat"] + 300  # type: ignore[operator] # both are numbers
    assert len(str(claims["jti"])) >= 20
    assert set(claims) == {"iss", "sub", "client_id", "aud", "exp", "iat", "jti", "scope", "cnf"}


def test_each_token_has_its_own_id(server: RunningServer, c1: Identity) -> None:
    """RFC 9068 §2.2: `jti` is unique."""
    first, second = (claims_of(server, server.token(c1))["jti"] for _ in range(2))
    assert first != second


@pytest.mark.parametrize("algorithm", ["PS256", "EdDSA"])
def test_other_algorithms(
    algorithm: str, authority: Authority, c1: Identity, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A configuration may choose PS256 or EdDSA instead of ES256."""
    deployment = Deployment(tmp_path_factory.mktemp(algorithm), algorithm=algorithm)
    deployment.trust("default", authority).client("c1", tls_client_auth_san_dns="c1.example")
    with running(deployment) as server:
        response = server.token(c1)
        assert jwt.get_unverified_header(response.json()["access_token"])["alg"] == algorithm
        claims_of(server, response)


def test_a_new_certificate_with_the_same_subject_works_at_once(server: RunningServer, authority: Authority) -> None:
    """RFC 8705 §2.1: no new registration for a renewed certificate."""
    for _ in range(2):
        assert server.token(authority.issue("another name", san=[dns("c1.example")])).status_code == 200


def test_a_token_ends_with_the_certificate(server: RunningServer, authority: Authority) -> None:
    """A token's life never passes notAfter."""
    soon = authority.issue(san=[dns("c1.example")], not_after=datetime.now(UTC) + timedelta(seconds=100))
    response = server.token(soon)
    assert 90 <= response.json()["expires_in"] <= 100
    claims = claims_of(server, response)
    assert claims["exp"] == int(soon.certificate.not_valid_after_utc.timestamp())


def test_a_client_may_have_a_lifetime_of_its_own(server: RunningServer, c1: Identity) -> None:
    assert server.token(c1, "brief").json()["expires_in"] == 60


def test_bearer_tokens_only_for_clients_that_asked(server: RunningServer, c1: Identity) -> None:
    """RFC 8705 §3.4: only a registration that says so gets a token without `cnf`."""
    assert "cnf" not in claims_of(server, server.token(c1, "bearer"))


class TestScopeAndResource:
    """RFC 6749 §3.3 and RFC 8707."""

    def test_without_scope_a_client_gets_all_it_holds(self, server: RunningServer, authority: Authority) -> None:
        c2 = authority.issue(san=[dns("c2.example")])
        assert server.token(c2, "c2").json()["scope"] == "reports:read reports:write"

    def test_scope_narrows(self, server: RunningServer, authority: Authority) -> None:
        c2 = authority.issue(san=[dns("c2.example")])
        assert server.token(c2, "c2", scope="reports:write").json()["scope"] == "reports:write"

    @pytest.mark.parametrize(
        "scope", ["reports:write", "nothing:known", 'reports:read "', "reports:read  reports:read"]
    )
    def test_scope_that_is_not_held_or_malformed(self, server: RunningServer, c1: Identity, scope: str) -> None:
        response = server.token(c1, scope=scope)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")
        assert server.last_event.refusal is Refusal.SCOPE_NOT_ALLOWED

    def test_the_resource_is_the_audience(self, server: RunningServer, c1: Identity) -> None:
        response = server.token(c1, "both", resource="https://files.example")
        assert response.json()["scope"] == "files:read"
        assert claims_of(server, response, "https://files.example")["aud"] == "https://files.example"

    def test_the_scope_finds_its_resource(self, server: RunningServer, c1: Identity) -> None:
        response = server.token(c1, "both", scope="files:read")
        assert claims_of(server, response, "https://files.example")["aud"] == "https://files.example"

    @pytest.mark.parametrize(
        "form",
        [
            {"client_id": "both"},
            {"client_id": "both", "scope": "files:read reports:read"},
            {"client_id": "both", "resource": [RESOURCE, "https://files.example"]},
            {"client_id": "both", "resource": "https://files.example/"},
            {"client_id": "both", "resource": "https://unknown.example"},
            {"client_id": "c1", "resource": "https://files.example"},
        ],
    )
    def test_a_token_is_for_exactly_one_resource(
        self, server: RunningServer, c1: Identity, form: dict[str, object]
    ) -> None:
        """Several, unknown, near-miss or foreign resources are `invalid_target` (RFC 8707 §2)."""
        response = server.token(c1, **form)  # type: ignore[arg-type] # the forms name client_id themselves
        assert (response.status_code, response.json()["error"]) == (400, "invalid_target")

    def test_scope_of_another_resource(self, server: RunningServer, c1: Identity) -> None:
        response = server.token(c1, "both", resource="https://files.example", scope="reports:read")
        assert response.json()["error"] == "invalid_scope"


class TestMalformedRequests:
    """RFC 6749 §3.2 and §5.2: one clear error, JSON, never cached."""

    def post(self, server: RunningServer, identity: Identity, body: bytes | str, **arguments: object) -> httpx.Response:
        headers = {"Content-Type": "application/x-www-form-urlencoded"} | dict(arguments.pop("headers", {}))  # type: ignore[call-overload] # a dict
        with server.client(identity) as client:
            return client.post(str(arguments.pop("path", "/token")), content=body, headers=headers)

    def assert_refused(self, server: RunningServer, response: httpx.Response, status: int = 400) -> None:
        assert (response.status_code, response.json()["error"]) == (status, "invalid_request"), response.text
        assert response.headers["Cache-Control"] == "no-store"
        assert set(response.json()) == {"error", "error_description"}

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"client_id=c1",
            b"grant_type=client_credentials",
            b"grant_type=&client_id=c1",
            b"grant_type=client_credentials&client_id=c1&client_id=c1",
            b"grant_type=client_credentials&client_id=c1&client_id=",
            b"grant_type=client_credentials&client_id=c1&client_id=c2",
            b"grant_type=client_credentials&client_id=c1&scope=a&scope=b",
            b"grant_type=client_credentials&client_id=c1&x=%ff",
            b"grant_type=client_credentials&client_id=c1\xff",
            b"grant_type=client_credentials&client_id=c1%00",
            b"grant_type=client_credentials&client_id=c1\0",
        ],
    )
    def test_forms(self, server: RunningServer, c1: Identity, body: bytes) -> None:
        self.assert_refused(server, self.post(server, c1, body))

    def test_parameters_in_the_query(self, server: RunningServer, c1: Identity) -> None:
        """A client_id in the query and one in the body never compete."""
        body = "grant_type=client_credentials&client_id=c1"
        self.assert_refused(server, self.post(server, c1, body, path="/token?client_id=c2"))

    def test_ten_thousand_parameters(self, server: RunningServer, c1: Identity) -> None:
        body = "grant_type=client_credentials&client_id=c1" + "".join(f"&p{i}=1" for i in range(5_000))
        self.assert_refused(server, self.post(server, c1, body), status=413)

    def test_a_body_of_ten_megabytes(self, server: RunningServer, c1: Identity) -> None:
        try:
            response = self.post(server, c1, b"a" * 10_000_000)
        except httpx.TransportError:
            return  # closing before all is read is an answer too
        assert response.status_code == 413

    @pytest.mark.parametrize(
        "content_type",
        [
            "application/json",
            "text/plain",
            "multipart/form-data; boundary=x",
            "application/x-www-form-urlencoded; charset=utf-16",
            "application/x-www-form-urlencoded; charset=utf-7",
            "application/x-www-form-urlencoded, application/json",
        ],
    )
    def test_content_types(self, server: RunningServer, c1: Identity, content_type: str) -> None:
        body = "grant_type=client_credentials&client_id=c1"
        self.assert_refused(server, self.post(server, c1, body, headers={"Content-Type": content_type}))

    def test_utf_8_may_be_named(self, server: RunningServer, c1: Identity) -> None:
        headers = {"Content-Type": 'application/x-www-form-urlencoded; charset="UTF-8"'}
        assert self.post(server, c1, "grant_type=client_credentials&client_id=c1", headers=headers).status_code == 200

    def test_unknown_parameters_are_ignored(self, server: RunningServer, c1: Identity) -> None:
        """RFC 6749 §3.2: the server MUST ignore unrecognised request parameters."""
        assert server.token(c1, foo="bar").status_code == 200

    def test_other_methods_and_paths(self, server: RunningServer, c1: Identity) -> None:
        with server.client(c1) as client:
            assert (client.get("/token").status_code, client.get("/token").headers["Allow"]) == (405, "POST")
            assert client.post("/nothing").status_code == 404
            assert client.get("/nothing").json()["error"] == "invalid_request"


class TestClientAuthentication:
    """RFC 6749 §2.3 and RFC 8705 §2."""

    def test_no_certificate(self, server: RunningServer) -> None:
        """RFC 8705 §2: a missing certificate is `invalid_client`."""
        assert_invalid_client(server, server.token(None), Refusal.NO_CERTIFICATE)

    def test_the_certificate_of_another_client(self, server: RunningServer, c1: Identity) -> None:
        """RFC 8705 §2: certificate and client belong together."""
        assert_invalid_client(server, server.token(c1, "c2"), Refusal.SUBJECT_MISMATCH)

    def test_unknown_and_disabled_clients_get_the_same_answer(self, server: RunningServer, c1: Identity) -> None:
        unknown = server.token(c1, "nobody")
        assert_invalid_client(server, unknown, Refusal.UNKNOWN_CLIENT)
        disabled = server.token(c1, "disabled")
        assert_invalid_client(server, disabled, Refusal.DISABLED_CLIENT)
        mismatch = server.token(c1, "c2")
        assert unknown.content == disabled.content == mismatch.content

    @pytest.mark.parametrize(
        ("form", "headers", "status"),
        [
            ({"client_secret": "x"}, {}, 401),
            ({"client_assertion": "x"}, {}, 401),
            ({}, {"Authorization": "Basic YzE6eA=="}, 401),
            ({"client_secret": "x", "client_assertion": "y"}, {}, 400),
            ({"client_secret": "x"}, {"Authorization": "Basic YzE6eA=="}, 400),
        ],
    )
    def test_another_credential_beside_the_certificate(
        self, server: RunningServer, c1: Identity, form: dict[str, str], headers: dict[str, str], status: int
    ) -> None:
        """RFC 6749 §2.3: a client uses one method; what is presented but not supported is refused, not ignored."""
        with server.client(c1) as client:
            response = client.post("/token", data=token_form(**form), headers=headers)
        assert response.status_code == status
        assert response.json()["error"] == ("invalid_client" if status == 401 else "invalid_request")
        assert ("WWW-Authenticate" in response.headers) == (status == 401 and "Authorization" in headers)

    def test_grant_types(self, server: RunningServer, c1: Identity) -> None:
        response = server.token(c1, grant_type="password")
        assert (response.status_code, response.json()["error"]) == (400, "unsupported_grant_type")

    def test_a_grant_is_judged_after_the_client(self, server: RunningServer, c1: Identity) -> None:
        assert server.token(c1, "nobody", grant_type="password").json()["error"] == "invalid_client"

    def test_a_very_long_client_id(self, server: RunningServer, c1: Identity) -> None:
        assert_invalid_client(server, server.token(c1, "c" * 60_000), Refusal.UNKNOWN_CLIENT)


def assert_invalid_client(server: RunningServer, response: httpx.Response, refusal: Refusal) -> None:
    """The fixed public answer, and the reason in the log only."""
    assert (response.status_code, response.json()) == (
        401,
        {"error": "invalid_client", "error_description": "Client authentication failed."},
    )
    event = server.last_event
    assert (event.error, event.refusal) == ("invalid_client", refusal), event
    assert event.detail
    assert event.detail not in response.text


def test_every_request_leaves_one_event(server: RunningServer, c1: Identity) -> None:
    """The event tells who, how and what; and never the token."""
    before = len(server.events)
    response = server.token(c1, scope="reports:read")
    assert len(server.events) == before + 1
    event = server.last_event
    assert (event.client_id, event.authentication_method, event.grant_type) == (
        "c1",
        "tls_client_auth",
        "client_credentials",
    )
    assert (event.scope, event.resource, event.error) == ("reports:read", RESOURCE, None)
    assert event.certificate_thumbprint == x5t_s256(c1.der)
    assert response.json()["access_token"] not in json.dumps(repr(event))
    assert event.latency_seconds is not None
    assert event.latency_seconds > 0
