"""JWT bearer grants over real TLS (RFC 7523 §2.1): assertions of other issuers, each good for once."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from tests.authority import Authority
from tests.http.exchanging import (
    IDP,
    IDP_BY_URL,
    ISSUER,
    JWT_BEARER,
    ORDERS,
    STOCK,
    OtherIssuer,
    Party,
    claims_of,
    deploy,
    identity,
)
from tests.remote.https_server import HTTPSServer, Request, answer
from tests.running import RESOURCE, Deployment, RunningServer, running, token_form

GetParty = Callable[[str], Party]


@pytest.fixture(scope="module")
def idp() -> OtherIssuer:
    return OtherIssuer()


@pytest.fixture(scope="module")
def published() -> OtherIssuer:
    """An issuer whose keys are behind a URL."""
    return OtherIssuer(name=IDP_BY_URL)


@pytest.fixture(scope="module")
def publisher(published: OtherIssuer) -> Iterator[HTTPSServer]:
    def serve(_request: Request) -> bytes:
        return answer(published.jwks())

    with HTTPSServer(serve, Authority.create("Publisher CA")) as server:
        yield server


@pytest.fixture(scope="module")
def deployment(
    authority: Authority, idp: OtherIssuer, publisher: HTTPSServer, tmp_path_factory: pytest.TempPathFactory
) -> Deployment:
    folder = tmp_path_factory.mktemp("bearer")
    (folder / "publisher-ca.pem").write_text(publisher.authority.pem)
    return deploy(folder, authority, idp, published=f"{publisher.url}/jwks")


@pytest.fixture(scope="module")
def shop(deployment: Deployment) -> Iterator[RunningServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(deployment.folder / "publisher-ca.pem"))
        with running(deployment) as server:
            yield server


@pytest.fixture(scope="module")
def party(shop: RunningServer, authority: Authority) -> GetParty:
    known: dict[str, Party] = {}
    return lambda client_id: known.setdefault(client_id, Party(shop, client_id, identity(authority, client_id)))


def assert_refused(
    shop: RunningServer, response: httpx.Response, refusal: Refusal, error: str = "invalid_grant"
) -> None:
    """RFC 7521 §4.1.1: an assertion that does not count is `invalid_grant`; the reason stays in the event."""
    assert (response.status_code, response.json()["error"]) == (400, error), response.text
    assert shop.last_event.refusal is refusal, shop.last_event.detail


def test_a_token_for_the_subject(shop: RunningServer, party: GetParty, idp: OtherIssuer) -> None:
    """The subject stands under its issuer's prefix; the token is the client's, and bound to its certificate."""
    response = party("batch").present(idp.sign(jti="once"))
    claims = claims_of(response)
    assert (claims["sub"], claims["client_id"], claims["scope"]) == (f"{IDP}|alice", "batch", "reports:read")
    assert claims["cnf"] == {"x5t#S256": x5t_s256(party("batch").identity.der)}
    assert "act" not in claims
    assert "issued_token_type" not in response.json()
    assert (shop.last_event.subject, shop.last_event.source_token_id) == (f"{IDP}|alice", "once")


def test_it_ends_with_the_assertion(party: GetParty, idp: OtherIssuer) -> None:
    assert 20 <= party("batch").present(idp.sign(exp=time.time() + 30)).json()["expires_in"] <= 30


def test_the_scope_of_the_issuer_is_the_bound(shop: RunningServer, party: GetParty, idp: OtherIssuer) -> None:
    response = party("batch").present(idp.sign(), scope="reports:write")
    assert_refused(shop, response, Refusal.SCOPE_NOT_ALLOWED, "invalid_scope")


def test_the_scope_of_the_client_is_one_too(shop: RunningServer, party: GetParty, idp: OtherIssuer) -> None:
    response = party("batch").present(idp.sign(), resource=STOCK, scope="stock:read")
    assert_refused(shop, response, Refusal.SCOPE_NOT_ALLOWED, "invalid_scope")


def test_a_client_that_speaks_for_some(shop: RunningServer, party: GetParty, idp: OtherIssuer) -> None:
    """Its policy lists the subjects, and what they are called here."""
    assert claims_of(party("mapped").present(idp.sign()))["sub"] == "our-alice"
    assert_refused(shop, party("mapped").present(idp.sign(sub="bob")), Refusal.SUBJECT_NOT_ALLOWED)


def test_an_assertion_counts_once(shop: RunningServer, party: GetParty, idp: OtherIssuer) -> None:
    """The same, and another with its `jti`, by whichever client."""
    assertion = idp.sign(jti="same")
    assert party("batch").present(assertion).status_code == 200
    for again in (assertion, idp.sign(jti="same", sub="bob")):
        assert_refused(shop, party("batch").present(again), Refusal.ASSERTION_REPLAYED)
    assert_refused(shop, party("mapped").present(assertion), Refusal.ASSERTION_REPLAYED)


def test_many_at_the_same_time(shop: RunningServer, party: GetParty, idp: OtherIssuer) -> None:
    """Of requests that race, one wins."""
    form = token_form("batch", grant_type=JWT_BEARER, assertion=idp.sign(), resource=RESOURCE)
    with shop.client(party("batch").identity) as client, ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda _: client.post("/token", data=form), range(8))
        statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] + [400] * 7


def test_what_is_refused_is_not_used_up(shop: RunningServer, party: GetParty, idp: OtherIssuer) -> None:
    """Neither another client nor a request for too much can use up what is somebody else's."""
    assertion = idp.sign()
    assert_refused(shop, party("elsewhere").present(assertion), Refusal.ISSUER_UNKNOWN)
    assert_refused(shop, party("batch").present(assertion, scope="x"), Refusal.SCOPE_NOT_ALLOWED, "invalid_scope")
    assert party("batch").present(assertion).status_code == 200


@pytest.mark.parametrize(
    ("claims", "refusal"),
    [
        ({"aud": ORDERS}, Refusal.ASSERTION_WRONG_AUDIENCE),
        ({"aud": ISSUER + "/"}, Refusal.ASSERTION_WRONG_AUDIENCE),
        ({"aud": ISSUER + "/token"}, Refusal.ASSERTION_WRONG_AUDIENCE),
        ({"aud": [ISSUER, ORDERS]}, Refusal.ASSERTION_WRONG_AUDIENCE),
        ({"aud": ...}, Refusal.ASSERTION_MALFORMED),
        ({"iss": "https://unknown.example"}, Refusal.ISSUER_UNKNOWN),
        ({"iss": ISSUER}, Refusal.ISSUER_UNKNOWN),
        ({"iss": ["https://idp.example"]}, Refusal.ISSUER_UNKNOWN),
        ({"exp": ...}, Refusal.ASSERTION_MALFORMED),
        ({"exp": 1}, Refusal.ASSERTION_EXPIRED),
        ({"exp": 4e9}, Refusal.ASSERTION_LIFETIME_TOO_LONG),
        ({"iat": 4e9}, Refusal.ASSERTION_NOT_YET_VALID),
        ({"nbf": 4e9}, Refusal.ASSERTION_NOT_YET_VALID),
        ({"jti": ...}, Refusal.ASSERTION_MALFORMED),
        ({"sub": ...}, Refusal.ASSERTION_MALFORMED),
        ({"cnf": {"x5t#S256": "A" * 43}}, Refusal.TOKEN_NOT_OF_THIS_CONNECTION),
        ({"act": {"sub": "a"} | {"act": {"act": 1}}}, Refusal.ACTOR_NOT_ALLOWED),
        ({"act": {"iss": ISSUER, "sub": "orders"}}, Refusal.ACTOR_NOT_ALLOWED),
    ],
)
def test_claims_that_do_not_count(
    shop: RunningServer, party: GetParty, idp: OtherIssuer, claims: dict[str, object], refusal: Refusal
) -> None:
    assert_refused(shop, party("batch").present(idp.sign(**claims)), refusal)


@pytest.mark.parametrize("typ", ["at+jwt", "client-authentication+jwt", "dpop+jwt", "secevent+jwt"])
def test_a_jwt_for_another_purpose(shop: RunningServer, party: GetParty, idp: OtherIssuer, typ: str) -> None:
    """RFC 8725 §3.11: an access token is no assertion, whoever signed it."""
    assert_refused(shop, party("batch").present(idp.sign(typ=typ)), Refusal.ASSERTION_MALFORMED)


@pytest.mark.parametrize("typ", ["authorization-grant+jwt", "application/authorization-grant+jwt", "jwt"])
def test_its_types(party: GetParty, idp: OtherIssuer, typ: str) -> None:
    assert party("batch").present(idp.sign(typ=typ)).status_code == 200


def test_an_access_token_of_this_server(shop: RunningServer, party: GetParty) -> None:
    response = party("batch").present(party("frontend").token(ORDERS))
    assert_refused(shop, response, Refusal.ISSUER_UNKNOWN)


def test_signed_by_another(shop: RunningServer, party: GetParty) -> None:
    assert_refused(shop, party("batch").present(OtherIssuer().sign()), Refusal.ASSERTION_UNTRUSTED)


def test_one_trusted_issuer_under_the_name_of_another(shop: RunningServer, party: GetParty, idp: OtherIssuer) -> None:
    """Each issuer is known by its own keys alone."""
    response = party("batch").present(idp.sign(iss=IDP_BY_URL))
    assert_refused(shop, response, Refusal.ASSERTION_UNTRUSTED)


@pytest.mark.parametrize("assertion", ["", "x", "a.b.c", "é" * 10])
def test_nonsense(shop: RunningServer, party: GetParty, assertion: str) -> None:
    response = party("batch").present(assertion)
    assert response.status_code == 400
    assert response.json()["error"] == ("invalid_grant" if assertion else "invalid_request")


def test_keys_behind_a_url(shop: RunningServer, party: GetParty, published: OtherIssuer) -> None:
    """They are fetched once, not for each assertion; the configured prefix stands before the subject."""
    for _ in range(2):
        assert claims_of(party("elsewhere").present(published.sign()))["sub"] == "partner:alice"


def test_metadata_names_the_grant_where_there_are_issuers(shop: RunningServer) -> None:
    with shop.client() as client:
        metadata = client.get("/.well-known/oauth-authorization-server").json()
    assert JWT_BEARER in metadata["grant_types_supported"]


def test_a_use_survives_a_restart(deployment: Deployment, authority: Authority, idp: OtherIssuer) -> None:
    """Of the database, not of the process."""
    assertion, certificate = idp.sign(jti="kept"), identity(authority, "batch")
    for expected in (200, 400):
        with running(deployment) as server:
            response = Party(server, "batch", certificate).present(assertion)
            assert response.status_code == expected, response.text
    assert response.json()["error"] == "invalid_grant"
