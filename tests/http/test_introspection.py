"""`/introspect` over real TLS: what the resource server that a token is for is told of it."""

from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from mtls_as.rfc.rfc8705_mtls import x5t_s256
from tests.http.introspecting import OPAQUE, SIGNED, Parties, fetch, introspect, revoke
from tests.http.test_admin import samples, total
from tests.running import RESOURCE, RunningServer, running


@pytest.fixture(scope="module")
def parties() -> Parties:
    return Parties.create()


@pytest.fixture(scope="module", params=[True, False], ids=["fast-lane", "framework"])
def server(
    request: pytest.FixtureRequest, parties: Parties, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    with running(parties.deployment(tmp_path_factory.mktemp("server"), fast_lane=request.param)) as server:
        yield server


def test_a_jwt_is_told_with_all_its_claims(server: RunningServer, parties: Parties) -> None:
    """RFC 7662 §2.2, and RFC 8705 §3.2: `cnf` at the top level."""
    token = fetch(server, parties.c1)
    claims = jwt.decode(token, options={"verify_signature": False})
    response = introspect(server, parties, "rs1", token)
    assert response.json() == claims | {"active": True, "token_type": "Bearer"}
    assert response.json()["cnf"] == {"x5t#S256": x5t_s256(parties.c1.der)}
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"


def test_an_opaque_token_means_the_same(server: RunningServer, parties: Parties) -> None:
    """43 characters that say nothing; the claims, the binding and the lifetime are those of a JWT."""
    issued = server.token(parties.c1, resource=OPAQUE).json()
    assert (len(issued["access_token"]), issued["token_type"], issued["expires_in"]) == (43, "Bearer", 300)
    answer = introspect(server, parties, "rs2", issued["access_token"]).json()
    assert answer["exp"] == answer.pop("iat") + 300
    assert len(answer.pop("jti")) >= 20
    del answer["exp"]
    assert answer == {
        "active": True,
        "iss": "https://localhost:8443",
        "sub": "c1",
        "client_id": "c1",
        "aud": OPAQUE,
        "scope": "files:read",
        "token_type": "Bearer",
        "cnf": {"x5t#S256": x5t_s256(parties.c1.der)},
    }


def test_each_opaque_token_is_another_and_is_stored_as_its_hash(server: RunningServer, parties: Parties) -> None:
    """Whoever copies the database has no token."""
    tokens = {fetch(server, parties.c1, resource=OPAQUE) for _ in range(3)}
    assert len(tokens) == 3
    written = b"".join(file.read_bytes() for file in server.deployment.folder.glob("test.db*"))
    assert b"files:read" in written
    assert not any(token.encode() in written for token in tokens)


@pytest.mark.parametrize("resource", [RESOURCE, OPAQUE])
def test_a_token_ends_to_the_second(parties: Parties, resource: str, tmp_path: Path) -> None:
    """RFC 7662 §4: an expired token is not active, whatever leeway others may give."""
    caller = "rs1" if resource == RESOURCE else "rs2"
    with running(parties.deployment(tmp_path)) as server:
        token = fetch(server, parties.c1, resource=resource)
        server.move_clock(297)
        assert introspect(server, parties, caller, token).json()["active"] is True
        server.move_clock(3)
        assert introspect(server, parties, caller, token).content == b'{"active":false}'


def test_a_jwt_costs_no_access_to_the_database(
    server: RunningServer, parties: Parties, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the node follows the database, introspection of a JWT is done in memory."""
    token = fetch(server, parties.c1)
    server.call(server.node.foundation.refresh())
    transactions = server.node.storage._transactions
    for name in ("read", "write", "write_quietly"):
        monkeypatch.setattr(transactions, name, None)
    for accept in (None, SIGNED):
        assert introspect(server, parties, "rs1", token, accept=accept).status_code == 200
    assert introspect(server, parties, "rs2", token).content == b'{"active":false}'


def test_the_hint_plays_no_part(server: RunningServer, parties: Parties) -> None:
    """RFC 7662 §2.1: it may help to search, and an unknown one does not matter."""
    token = fetch(server, parties.c1)
    for hint in ("access_token", "refresh_token", "no such type"):
        assert introspect(server, parties, "rs1", token, token_type_hint=hint).json()["active"] is True


def test_a_request_without_a_token(server: RunningServer, parties: Parties) -> None:
    """RFC 7662 §2.1: it is required; two are one too many."""
    with server.client(parties.rs1) as client:
        for body in ("client_id=rs1", "client_id=rs1&token=", "client_id=rs1&token=a&token=b"):
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            response = client.post("/introspect", content=body, headers=form)
            assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
        assert client.get("/introspect?token=a").status_code == 405
        assert client.post("/introspect?token=a", data={"client_id": "rs1", "token": "a"}).status_code == 400


def test_metrics_count_what_is_issued_and_why_others_learn_nothing(parties: Parties, tmp_path: Path) -> None:
    """A token that is asked about, or given back, is not issued once more."""
    with running(parties.deployment(tmp_path, admin=True)) as server:
        token = fetch(server, parties.c1)
        introspect(server, parties, "rs1", token)
        introspect(server, parties, "rs2", token)
        revoke(server, parties, "c1", token)
        found = samples(server)
    issued = {"grant_type": "client_credentials", "authentication_method": "tls_client_auth"}
    assert total(found, "mtls_as_tokens_issued_total", **issued) == 1
    assert total(found, "mtls_as_refusals_total", reason="token_not_for_caller") == 1


class TestSignedAnswers:
    """RFC 9701."""

    def test_a_signed_answer_is_for_the_caller(self, server: RunningServer, parties: Parties) -> None:
        """§5: type, issuer, audience, and the plain answer within; neither `sub` nor `exp` outside of it."""
        token = fetch(server, parties.c1)
        plain = introspect(server, parties, "rs1", token).json()
        response = introspect(server, parties, "rs1", token, accept=SIGNED)
        assert response.headers["Content-Type"] == SIGNED
        assert response.headers["Cache-Control"] == "no-store"
        with server.client() as client:
            keys = jwt.PyJWKSet.from_dict(client.get("/jwks").json())
        header = jwt.get_unverified_header(response.text)
        assert header["typ"] == "token-introspection+jwt"
        claims = jwt.decode(
            response.text,
            keys[header["kid"]],
            algorithms=[header["alg"]],
            audience="rs1",
            issuer=server.deployment.issuer,
        )
        assert set(claims) == {"iss", "aud", "iat", "token_introspection"}
        assert claims["token_introspection"] == plain

    @pytest.mark.parametrize(
        ("accept", "is_signed"),
        [
            (f"{SIGNED}, application/json;q=0.5", True),
            ("application/json, Application/Token-Introspection+JWT", True),
            ("application/json", False),
            ("*/*", False),
            ("application/*", False),
            (f"{SIGNED};q=0", False),
            (f"{SIGNED};q=0.1, application/json", False),
            ("application/jwt", False),
            (None, False),
        ],
    )
    def test_who_accepts_it_gets_it(
        self, server: RunningServer, parties: Parties, accept: str | None, is_signed: bool
    ) -> None:
        """§4."""
        response = introspect(server, parties, "rs1", fetch(server, parties.c1), accept=accept)
        assert (response.headers["Content-Type"] == SIGNED) == is_signed

    def test_an_error_is_plain(self, server: RunningServer, parties: Parties) -> None:
        with server.client(parties.c1) as client:
            form = {"client_id": "rs1", "token": "a"}
            response = client.post("/introspect", data=form, headers={"Accept": SIGNED})
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")


class TestMetadata:
    """RFC 8414 §2, RFC 8705 §5, RFC 9701 §7."""

    def test_it_names_what_is_switched_on(self, server: RunningServer) -> None:
        with server.client() as client:
            document = client.get("/.well-known/oauth-authorization-server").json()
        assert document["introspection_endpoint"] == "https://localhost:8443/introspect"
        assert document["revocation_endpoint"] == "https://localhost:8443/revoke"
        assert document["introspection_signing_alg_values_supported"] == ["ES256"]
        assert "none" not in document["introspection_endpoint_auth_methods_supported"]
        assert "tls_client_auth" in document["introspection_endpoint_auth_methods_supported"]

    def test_aliases_are_named_too(self, parties: Parties, tmp_path_factory: pytest.TempPathFactory) -> None:
        folder = tmp_path_factory.mktemp("public")
        with running(parties.deployment(folder, public="https://localhost:9444")) as server, server.client() as client:
            document = client.get("/.well-known/oauth-authorization-server").json()
            assert set(document["mtls_endpoint_aliases"]) == {
                "token_endpoint",
                "introspection_endpoint",
                "revocation_endpoint",
            }
            assert client.post(f"{server.public_url}/introspect").status_code == 404

    def test_without_callers_there_is_no_introspection(
        self, parties: Parties, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        deployment = parties.deployment(tmp_path_factory.mktemp("none"))
        deployment.resource_options = ""
        deployment.sections = [
            text.replace('token_format = "opaque"\nintrospection_clients = ["rs2"]', "") for text in deployment.sections
        ]
        with running(deployment) as server, server.client(parties.rs1) as client:
            document = client.get("/.well-known/oauth-authorization-server").json()
            assert not [name for name in document if name.startswith("introspection")]
            assert client.post("/introspect", data={"client_id": "rs1", "token": "a"}).status_code == 404

    def test_it_is_signed_with_the_active_key(self, parties: Parties, tmp_path_factory: pytest.TempPathFactory) -> None:
        """RFC 8414 §2.1: `iss`, and every member but itself; signed anew when the key changes."""
        with running(parties.deployment(tmp_path_factory.mktemp("signed"))) as server, server.client() as client:
            seen = []
            for _ in range(2):
                document = client.get("/.well-known/oauth-authorization-server").json()
                signed = document.pop("signed_metadata")
                assert client.get("/.well-known/oauth-authorization-server").json()["signed_metadata"] == signed
                keys = jwt.PyJWKSet.from_dict(client.get("/jwks").json())
                header = jwt.get_unverified_header(signed)
                claims = jwt.decode(signed, keys[header["kid"]], algorithms=["ES256"], issuer=document["issuer"])
                del claims["iss"], claims["iat"]
                assert claims == document
                seen.append(header["kid"])
                rotation = server.node.storage.signing_keys.rotate(
                    "ES256", at=server.node.foundation.clock(), publish_ahead=0, overlap=600
                )
                server.call(rotation)
                server.call(server.node.foundation.refresh())
            assert len(set(seen)) == 2
