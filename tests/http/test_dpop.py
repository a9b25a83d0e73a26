"""Tokens bound to DPoP keys, over real TLS: every way of authenticating, and every worthless proof."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.server.dpop_nonces import PERIOD
from mtls_as.storage import DatabaseUnavailable
from tests.assertions import AssertingClient
from tests.authority import Authority, Identity, dns, self_signed
from tests.dpop import DPoPKey, private_members
from tests.running import Deployment, RunningServer, running, token_form
from tests.verifier.issuer import OMIT

URL = "https://localhost:8443/token"
"""As the configuration has it; the server listens on another port."""

KEY = DPoPKey()
ASSERTING, LOOSE = AssertingClient("jwt"), AssertingClient("loose")
STRANGER = self_signed("stranger")


@pytest.fixture(scope="module")
def c1(authority: Authority) -> Identity:
    return authority.issue("c1", san=[dns("c1.example")])


def deployed(deployment: Deployment, authority: Authority) -> Deployment:
    """A client of each mode, bound by DPoP; one that is bound to its certificate, and two that are not bound."""
    bearer = {"tls_client_certificate_bound_access_tokens": False}
    by_jwt = {"token_endpoint_auth_method": "private_key_jwt"}
    deployment.trust("default", authority)
    deployment.client("mtls", tls_client_auth_san_dns="c1.example", dpop_bound_access_tokens=True)
    deployment.client("jwt", jwks=ASSERTING.jwks, dpop_bound_access_tokens=True, **by_jwt)
    deployment.client("certificate", tls_client_auth_san_dns="c1.example")
    deployment.client("bearer", tls_client_auth_san_dns="c1.example", **bearer)
    deployment.client("loose", jwks=LOOSE.jwks, **by_jwt, **bearer)
    return deployment


@pytest.fixture(scope="module", params=[True, False], ids=["fast-lane", "framework"])
def server(
    request: pytest.FixtureRequest, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    deployment = Deployment(tmp_path_factory.mktemp("dpop"), fast_lane=request.param)
    with running(deployed(deployment, authority)) as server:
        yield server


def ask(
    server: RunningServer,
    certificate: Identity | None,
    *proofs: str,
    client_id: str = "mtls",
    headers: dict[str, str] | None = None,
    **form: Any,
) -> httpx.Response:
    """One token request with these DPoP headers."""
    lines = [*(headers or {}).items(), *(("DPoP", proof) for proof in proofs)]
    with server.client(certificate) as client:
        return client.post("/token", data=token_form(client_id, **form), headers=lines)


def proof(**options: Any) -> str:
    return KEY.proof("POST", URL, **options)


def bound_to(response: httpx.Response) -> tuple[str, object]:
    """The type of a token, and its `cnf`."""
    assert response.status_code == 200, response.text
    answer = response.json()
    return answer["token_type"], jwt.decode(answer["access_token"], options={"verify_signature": False}).get("cnf")


def refused(
    server: RunningServer, response: httpx.Response, refusal: Refusal, error: str = "invalid_dpop_proof"
) -> None:
    """RFC 9449 §5: 400 with the error for the client, and the reason in the log alone."""
    assert server.last_event.refusal is refusal, server.last_event
    assert (response.status_code, response.json()["error"]) == (400, error)
    assert server.last_event.detail
    assert server.last_event.detail not in response.text
    assert response.headers["Cache-Control"] == "no-store"


def test_a_certificate_authenticates_and_a_proof_binds(server: RunningServer, c1: Identity) -> None:
    """FAPI 2.0: mutual TLS with DPoP; RFC 9449 §5: `token_type` is DPoP. The certificate binds nothing then."""
    assert bound_to(ask(server, c1, proof())) == ("DPoP", {"jkt": KEY.thumbprint})
    event = server.last_event
    assert (event.client_id, event.dpop_key, event.authentication_method) == ("mtls", KEY.thumbprint, "tls_client_auth")


@pytest.mark.parametrize("certificate", [None, STRANGER], ids=["no certificate", "any certificate"])
def test_an_assertion_authenticates_and_a_proof_binds(server: RunningServer, certificate: Identity | None) -> None:
    """`private_key_jwt` with DPoP needs no certificate; one that is there is no second binding."""
    response = ask(server, certificate, proof(), client_id="jwt", **ASSERTING.form())
    assert bound_to(response) == ("DPoP", {"jkt": KEY.thumbprint})


@pytest.mark.parametrize("algorithm", ["PS256", "EdDSA"])
def test_other_algorithms(server: RunningServer, c1: Identity, algorithm: str) -> None:
    key = DPoPKey(algorithm)
    assert bound_to(ask(server, c1, key.proof("POST", URL))) == ("DPoP", {"jkt": key.thumbprint})


def test_a_client_registered_for_dpop_never_gets_another_token(server: RunningServer, c1: Identity) -> None:
    """RFC 9449 §5.2: without a proof there is no token, whatever the certificate."""
    refused(server, ask(server, c1), Refusal.DPOP_PROOF_MISSING)
    response = ask(server, STRANGER, client_id="jwt", **ASSERTING.form())
    refused(server, response, Refusal.DPOP_PROOF_MISSING)


def test_a_token_is_never_bound_twice(server: RunningServer, c1: Identity) -> None:
    """A client whose tokens are bound to its certificate is refused with a proof, and served without."""
    refused(server, ask(server, c1, proof(), client_id="certificate"), Refusal.DPOP_NOT_REGISTERED, "invalid_request")
    assert bound_to(ask(server, c1, client_id="certificate")) == ("Bearer", {"x5t#S256": x5t_s256(c1.der)})
    response = ask(server, STRANGER, proof(), client_id="loose", **LOOSE.form())
    refused(server, response, Refusal.DPOP_NOT_REGISTERED, "invalid_request")


def test_a_client_that_nothing_binds_may_use_dpop(server: RunningServer, c1: Identity) -> None:
    """RFC 9449 §5: a proof binds the token, asked for in the registration or not."""
    assert bound_to(ask(server, c1, proof(), client_id="bearer")) == ("DPoP", {"jkt": KEY.thumbprint})
    assert bound_to(ask(server, c1, client_id="bearer")) == ("Bearer", None)
    response = ask(server, None, proof(), client_id="loose", **LOOSE.form())
    assert bound_to(response) == ("DPoP", {"jkt": KEY.thumbprint})


def test_a_proof_is_good_for_once(server: RunningServer, c1: Identity) -> None:
    """RFC 9449 §11.1: by whichever client; the same `jti` of another key is another proof."""
    used = proof(jti="once")
    assert ask(server, c1, used).status_code == 200
    refused(server, ask(server, c1, used), Refusal.DPOP_PROOF_REPLAYED)
    refused(server, ask(server, c1, proof(jti="once")), Refusal.DPOP_PROOF_REPLAYED)
    refused(server, ask(server, None, used, client_id="jwt", **ASSERTING.form()), Refusal.DPOP_PROOF_REPLAYED)
    assert ask(server, c1, DPoPKey().proof("POST", URL, jti="once")).status_code == 200


def test_what_gets_no_token_uses_nothing_up(server: RunningServer, c1: Identity) -> None:
    """Neither an unknown client nor a refused scope takes a proof, nor does a bad proof take an assertion."""
    kept, form = proof(), ASSERTING.form()
    assert ask(server, c1, kept, client_id="nobody").json()["error"] == "invalid_client"
    assert ask(server, c1, kept, scope="admin").json()["error"] == "invalid_scope"
    refused(server, ask(server, None, proof(iat=0), client_id="jwt", **form), Refusal.DPOP_PROOF_EXPIRED)
    assert ask(server, None, kept, client_id="jwt", **form).status_code == 200


def test_two_headers(server: RunningServer, c1: Identity) -> None:
    """RFC 9449 §4.3, item 1: on two lines, and joined to one as a proxy may."""
    refused(server, ask(server, c1, proof(), proof()), Refusal.DPOP_PROOF_MALFORMED)
    refused(server, ask(server, c1, f"{proof()}, {proof()}"), Refusal.DPOP_PROOF_MALFORMED)
    refused(server, ask(server, c1, ""), Refusal.DPOP_PROOF_MALFORMED)


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "EdDSA"])
def test_a_key_with_private_members(server: RunningServer, c1: Identity, algorithm: str) -> None:
    """RFC 9449 §4.3, item 7."""
    key = DPoPKey(algorithm)
    forged = key.proof("POST", URL, header={"jwk": key.jwk | private_members(key.private_key)})
    refused(server, ask(server, c1, forged), Refusal.DPOP_PROOF_MALFORMED)


def test_the_key_of_somebody_else(server: RunningServer, c1: Identity) -> None:
    forged = proof(header={"jwk": DPoPKey().jwk})
    refused(server, ask(server, c1, forged), Refusal.DPOP_PROOF_UNTRUSTED)


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/token",
        "https://localhost/token",
        "https://localhost:8444/token",
        "https://localhost:8443/TOKEN",
        "https://localhost:8443/token/",
        "https://localhost:8443/introspect",
        "http://localhost:8443/token",
    ],
)
def test_another_url(server: RunningServer, c1: Identity, url: str) -> None:
    """RFC 9449 §4.3, item 9: another host, port, path or scheme."""
    refused(server, ask(server, c1, KEY.proof("POST", url)), Refusal.DPOP_PROOF_OF_ANOTHER_REQUEST)


@pytest.mark.parametrize("url", ["HTTPS://LocalHost:8443/token", "https://localhost:8443/token?a=b#c"])
def test_other_spellings(server: RunningServer, c1: Identity, url: str) -> None:
    """RFC 9449 §4.3, item 9: schemes and hosts have no case, and query and fragment do not count."""
    assert ask(server, c1, KEY.proof("POST", url)).status_code == 200


def test_the_request_has_no_say_in_the_url(server: RunningServer, c1: Identity) -> None:
    """A proof for another server stays one, whatever `Host` and the headers of proxies say; nor do these harm."""
    elsewhere = KEY.proof("POST", "https://evil.example/token")
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example;proto=https"}
    refused(server, ask(server, c1, elsewhere, headers=headers), Refusal.DPOP_PROOF_OF_ANOTHER_REQUEST)
    assert ask(server, c1, proof(), headers=headers).status_code == 200
    real = KEY.proof("POST", f"{server.url}/token")
    refused(server, ask(server, c1, real), Refusal.DPOP_PROOF_OF_ANOTHER_REQUEST)


def test_another_method(server: RunningServer, c1: Identity) -> None:
    refused(server, ask(server, c1, KEY.proof("GET", URL)), Refusal.DPOP_PROOF_OF_ANOTHER_REQUEST)


@pytest.mark.parametrize("offset", [-9, 0, 9])
def test_times_that_are_near(server: RunningServer, c1: Identity, offset: int) -> None:
    """FAPI 2.0: `iat` and `nbf` may be off by ten seconds."""
    at = int(time.time()) + offset
    assert ask(server, c1, proof(iat=at)).status_code == 200
    assert ask(server, c1, proof(nbf=at, exp=at + 60)).status_code == 200


@pytest.mark.parametrize(
    ("claim", "offset", "refusal"),
    [
        ("iat", -3600, Refusal.DPOP_PROOF_EXPIRED),
        ("iat", -65, Refusal.DPOP_PROOF_EXPIRED),
        ("iat", 65, Refusal.DPOP_PROOF_NOT_YET_VALID),
        ("iat", 3600, Refusal.DPOP_PROOF_NOT_YET_VALID),
        ("nbf", 3600, Refusal.DPOP_PROOF_NOT_YET_VALID),
        ("exp", -5, Refusal.DPOP_PROOF_EXPIRED),
    ],
)
def test_times_that_are_far_off(server: RunningServer, c1: Identity, claim: str, offset: int, refusal: Refusal) -> None:
    refused(server, ask(server, c1, proof(**{claim: int(time.time()) + offset})), refusal)


@pytest.mark.parametrize("member", ["jti", "iat", "htm", "htu"])
def test_claims_that_are_missing(server: RunningServer, c1: Identity, member: str) -> None:
    """RFC 9449 §4.3, item 3."""
    response = ask(server, c1, proof(**{member: OMIT}))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_dpop_proof")


def test_where_nobody_can_tell_no_proof_is_let_in(
    server: RunningServer, c1: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, and the same proof works afterwards."""

    async def fail(*_: object) -> bool:
        raise DatabaseUnavailable("locked")

    kept = proof()
    with monkeypatch.context() as patch:
        patch.setattr(type(server.node.storage.used_once), "use", fail)
        response = ask(server, c1, kept)
        assert (response.status_code, response.json()["error"]) == (503, "temporarily_unavailable")
    assert ask(server, c1, kept).status_code == 200


def test_no_nonces_unless_they_are_wanted(server: RunningServer, c1: Identity) -> None:
    """Without `dpop.nonces` none is given out, and one that a client sends does not matter."""
    response = ask(server, c1, proof(nonce="whatever"))
    assert response.status_code == 200
    assert "DPoP-Nonce" not in response.headers


@pytest.fixture(scope="module", params=[True, False], ids=["fast-lane", "framework"])
def nonce_server(
    request: pytest.FixtureRequest, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server that demands nonces."""
    deployment = deployed(Deployment(tmp_path_factory.mktemp("nonces"), fast_lane=request.param), authority)
    deployment.sections.append("[dpop]\nnonces = true")
    with running(deployment) as server:
        yield server


def test_a_client_learns_the_nonce(nonce_server: RunningServer, c1: Identity) -> None:
    """RFC 9449 §8: `use_dpop_nonce` brings the nonce for the next proof, and so does every other answer."""
    response = ask(nonce_server, c1, proof())
    refused(nonce_server, response, Refusal.DPOP_NONCE_NEEDED, "use_dpop_nonce")
    response = ask(nonce_server, c1, proof(nonce=response.headers["DPoP-Nonce"]))
    assert bound_to(response) == ("DPoP", {"jkt": KEY.thumbprint})
    assert ask(nonce_server, c1, proof(nonce=response.headers["DPoP-Nonce"])).status_code == 200


def test_an_assertion_is_not_used_up(nonce_server: RunningServer) -> None:
    """The client repeats its request with nothing but another proof."""
    form = ASSERTING.form()
    response = ask(nonce_server, None, proof(), client_id="jwt", **form)
    refused(nonce_server, response, Refusal.DPOP_NONCE_NEEDED, "use_dpop_nonce")
    nonce = response.headers["DPoP-Nonce"]
    assert ask(nonce_server, None, proof(nonce=nonce), client_id="jwt", **form).status_code == 200


@pytest.mark.parametrize("nonce", ["", "x", "é", "A" * 24, 1])
def test_other_nonces(nonce_server: RunningServer, c1: Identity, nonce: Any) -> None:
    response = ask(nonce_server, c1, proof(nonce=nonce))
    assert response.status_code == 400
    assert response.headers["DPoP-Nonce"]
    assert response.json()["error"] == ("invalid_dpop_proof" if nonce == 1 else "use_dpop_nonce")


def test_a_nonce_ends(nonce_server: RunningServer, c1: Identity) -> None:
    nonce = ask(nonce_server, c1, proof()).headers["DPoP-Nonce"]
    nonce_server.move_clock(2 * PERIOD)
    try:
        later = int(time.time() + 2 * PERIOD)
        response = ask(nonce_server, c1, proof(nonce=nonce, iat=later))
        refused(nonce_server, response, Refusal.DPOP_NONCE_NEEDED, "use_dpop_nonce")
    finally:
        nonce_server.move_clock(-2 * PERIOD)


def test_a_nonce_makes_no_proof_good_twice(nonce_server: RunningServer, c1: Identity) -> None:
    used = proof(nonce=ask(nonce_server, c1, proof()).headers["DPoP-Nonce"])
    assert ask(nonce_server, c1, used).status_code == 200
    refused(nonce_server, ask(nonce_server, c1, used), Refusal.DPOP_PROOF_REPLAYED)
