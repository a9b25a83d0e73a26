"""Who may learn what of a token, against a running server: the row of the threat table, and what belongs to it."""

import json
from collections.abc import Iterator

import jwt
import pytest

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc4648_base64url import decode_base64url, encode_base64url
from tests.http.introspecting import OPAQUE, Parties, fetch, introspect
from tests.running import RESOURCE, Deployment, RunningServer, running

INACTIVE = b'{"active":false}'


@pytest.fixture(scope="module")
def parties() -> Parties:
    return Parties.create()


@pytest.fixture(scope="module", params=[True, False], ids=["fast-lane", "framework"])
def server(
    request: pytest.FixtureRequest, parties: Parties, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    with running(parties.deployment(tmp_path_factory.mktemp("server"), fast_lane=request.param)) as server:
        yield server


@pytest.mark.parametrize("resource", [RESOURCE, OPAQUE])
def test_introspection_by_a_client_that_is_not_in_the_audience(
    server: RunningServer, parties: Parties, resource: str
) -> None:
    """Exactly the answer for garbage: not even that the token exists (CVE-2026-37979 Keycloak; RFC 7662 §4)."""
    token = fetch(server, parties.c1, resource=resource)
    entitled, other = ("rs1", "rs2") if resource == RESOURCE else ("rs2", "rs1")
    assert introspect(server, parties, entitled, token).json()["active"] is True
    garbage = introspect(server, parties, other, "garbage")
    # Another resource server, the client that the token was issued to, and a client that is no resource server at all.
    for caller in (other, "c1", "c2"):
        response = introspect(server, parties, caller, token)
        assert (response.status_code, response.content) == (200, INACTIVE)
        assert server.last_event.refusal is Refusal.TOKEN_NOT_FOR_CALLER
        assert {**response.headers, "date": ""} == {**garbage.headers, "date": ""}
    assert garbage.content == INACTIVE


def test_a_signed_answer_hides_the_same(server: RunningServer, parties: Parties) -> None:
    """RFC 9701 §5: `active` is false, and there is no other member."""
    token = fetch(server, parties.c1)
    response = introspect(server, parties, "rs2", token, accept="application/token-introspection+jwt")
    claims = jwt.decode(response.text, options={"verify_signature": False})
    assert claims["token_introspection"] == {"active": False}
    assert claims["aud"] == "rs2"


def test_only_an_authenticated_caller_gets_an_answer(server: RunningServer, parties: Parties) -> None:
    """RFC 7662 §2.1, against token scanning: no certificate, another's, no name."""
    token = fetch(server, parties.c1)
    with server.client() as client:
        response = client.post("/introspect", data={"client_id": "rs1", "token": token})
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    with server.client(parties.c1) as client:
        response = client.post("/introspect", data={"client_id": "rs1", "token": token})
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
        response = client.post("/introspect", data={"token": token}, headers={"Authorization": f"Bearer {token}"})
        assert response.status_code in {400, 401}
        assert "active" not in response.json()


def forgeries(token: str) -> dict[str, str]:
    """A good token as it is not."""
    header, payload, signature = token.split(".")
    claims = json.loads(decode_base64url(payload))

    def with_header(**members: object) -> str:
        return encode_base64url(json.dumps(json.loads(decode_base64url(header)) | members).encode())

    changed = encode_base64url(json.dumps(claims | {"scope": "reports:write"}).encode())
    return {
        "alg none": f"{with_header(alg='none')}.{payload}.",
        "alg none, signed": f"{with_header(alg='none')}.{payload}.{signature}",
        "alg HS256": f"{with_header(alg='HS256')}.{payload}.{signature}",
        "other claims": f"{header}.{changed}.{signature}",
        "other type": f"{with_header(typ='JWT')}.{payload}.{signature}",
        "critical": f"{with_header(crit=['cnf'])}.{payload}.{signature}",
        "no signature": f"{header}.{payload}.",
        "cut": token[:-4],
        "garbage": "garbage",
        "like an opaque one": "A" * 43,
        "spaces": f" {token} ",
        "very long": "a" * 40_000,
        "not ASCII": "tökén",
        "NUL-like": "\x01\x02",
    }


@pytest.mark.parametrize("kind", forgeries("e30.e30.e30"))
def test_forged_tokens_are_inactive(server: RunningServer, parties: Parties, kind: str) -> None:
    """Whatever it is, the same answer."""
    token = forgeries(fetch(server, parties.c1))[kind]
    response = introspect(server, parties, "rs1", token)
    assert (response.status_code, response.content) == (200, INACTIVE)
    assert server.last_event.refusal is Refusal.TOKEN_UNKNOWN


def test_what_the_server_signs_besides_is_no_token(server: RunningServer, parties: Parties) -> None:
    """Metadata and signed answers of the same key (RFC 8725 §3.11, RFC 9701 §8.1)."""
    token = fetch(server, parties.c1)
    answer = introspect(server, parties, "rs1", token, accept="application/token-introspection+jwt").text
    with server.client() as client:
        metadata = client.get("/.well-known/oauth-authorization-server").json()["signed_metadata"]
    for other in (answer, metadata):
        assert introspect(server, parties, "rs1", other).content == INACTIVE


def test_a_token_of_another_issuer_is_inactive(
    server: RunningServer, parties: Parties, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Same names, same clients, other keys; and same keys under another name."""
    deployment = parties.deployment(tmp_path_factory.mktemp("other"))
    with running(deployment) as other:
        assert introspect(server, parties, "rs1", fetch(other, parties.c1)).content == INACTIVE
    renamed = Deployment(deployment.folder, issuer="https://localhost:9999", sections=deployment.sections)
    token = None
    with running(renamed) as other:
        token = fetch(other, parties.c1)
    with running(deployment) as other:
        assert introspect(other, parties, "rs1", token).content == INACTIVE


def test_no_token_stands_in_any_log(server: RunningServer, parties: Parties, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in events nor in diagnostics."""
    tokens = [fetch(server, parties.c1), fetch(server, parties.c1, resource=OPAQUE)]
    for token in tokens:
        for caller in ("rs1", "rs2", "c1"):
            introspect(server, parties, caller, token)
        with server.client(parties.c1) as client:
            client.post("/revoke", data={"client_id": "c1", "token": token})
    said = repr(server.events) + caplog.text
    for token in tokens:
        assert token not in said
        assert token.rpartition(".")[2] not in said


def test_a_disabled_client_has_no_active_tokens(parties: Parties, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nor has one that was removed."""
    deployment = parties.deployment(tmp_path_factory.mktemp("disabled"))
    with running(deployment) as server:
        token = fetch(server, parties.c1)
        assert introspect(server, parties, "rs1", token).json()["active"] is True
    sections = deployment.sections
    name = next(index for index, text in enumerate(sections) if "client_id = '''c1'''" in text)
    for change in (sections[name] + "\nenabled = false", ""):
        deployment.sections = [*sections[:name], change, *sections[name + 1 :]]
        with running(deployment) as server:
            assert introspect(server, parties, "rs1", token).content == INACTIVE
            assert server.last_event.refusal is Refusal.TOKEN_REVOKED
