"""Token exchange over real TLS (RFC 8693): who may exchange what, what comes of it, and how confusion is refused."""

import base64
import json
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc8693_token_exchange import ACCESS_TOKEN, GRANT_TYPE, JWT, MAX_CHAIN
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.server.revocation import Revocation
from tests.authority import Authority
from tests.http.exchanging import IDP, ISSUER, OPAQUE, ORDERS, STOCK, OtherIssuer, Party, claims_of, deploy, identity
from tests.running import RESOURCE, RunningServer, running

GetParty = Callable[[str], Party]


@pytest.fixture(scope="module")
def idp() -> OtherIssuer:
    return OtherIssuer()


@pytest.fixture(scope="module")
def shop(authority: Authority, idp: OtherIssuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(deploy(tmp_path_factory.mktemp("shop"), authority, idp)) as server:
        yield server


@pytest.fixture(scope="module")
def party(shop: RunningServer, authority: Authority) -> GetParty:
    known: dict[str, Party] = {}

    def get(client_id: str) -> Party:
        host = "orders" if client_id == "brief" else client_id
        return known.setdefault(client_id, Party(shop, client_id, identity(authority, host)))

    return get


def assert_refused(
    shop: RunningServer, response: httpx.Response, refusal: Refusal, error: str = "invalid_request"
) -> None:
    """RFC 8693 §2.2.2: a token that does not count is `invalid_request`; the reason stays in the event."""
    assert (response.status_code, response.json()["error"]) == (400, error), response.text
    assert shop.last_event.refusal is refusal, shop.last_event.detail
    assert set(response.json()) == {"error", "error_description"}


class TestWhatComesOfIt:
    def test_the_answer(self, shop: RunningServer, party: GetParty) -> None:
        """§2.2.1: the members of the answer; the token is bound to the certificate of the exchanging client."""
        subject = party("frontend").token(ORDERS)
        response = party("orders").exchange(subject)
        answer = response.json()
        assert (answer["issued_token_type"], answer["token_type"]) == (ACCESS_TOKEN, "Bearer")
        assert response.headers["Cache-Control"] == "no-store"
        claims = claims_of(response)
        assert (claims["sub"], claims["client_id"], claims["aud"]) == ("frontend", "orders", STOCK)
        assert claims["act"] == {"sub": "orders"}
        assert claims["cnf"] == {"x5t#S256": x5t_s256(party("orders").identity.der)}
        assert claims["scope"] == "reports:read reports:write"

    def test_the_event_names_both_tokens(self, shop: RunningServer, party: GetParty) -> None:
        subject = party("frontend").token(ORDERS)
        source = shop.last_event.token_id
        assert party("orders").exchange(subject).status_code == 200
        event = shop.last_event
        assert (event.subject, event.actor, event.source_token_id) == ("frontend", "orders", source)
        assert event.grant_type == GRANT_TYPE

    def test_audience_names_the_resource_too(self, shop: RunningServer, party: GetParty) -> None:
        """§2.1: `audience` is a logical name, here that of the resource; both may name the same one."""
        subject = party("frontend").token(ORDERS)
        for form in ({"resource": None, "audience": STOCK}, {"resource": STOCK, "audience": STOCK}):
            assert claims_of(party("orders").exchange(subject, **form))["aud"] == STOCK
        response = party("orders").exchange(subject, resource=STOCK, audience=ORDERS)
        assert_refused(shop, response, Refusal.RESOURCE_NOT_ALLOWED, "invalid_target")

    def test_it_ends_with_the_subject_token(self, shop: RunningServer, party: GetParty) -> None:
        subject = party("frontend").token(ORDERS)
        shop.move_clock(200)
        try:
            response = party("orders").exchange(subject)
        finally:
            shop.move_clock(-200)
        assert 90 <= response.json()["expires_in"] <= 101

    def test_or_before(self, party: GetParty) -> None:
        """The exchanging client's own lifetime holds too."""
        assert party("brief").exchange(party("frontend").token(ORDERS)).json()["expires_in"] == 10

    def test_a_jwt_was_asked_for(self, party: GetParty) -> None:
        subject = party("frontend").token(ORDERS)
        answer = party("orders").exchange(subject, requested_token_type=JWT).json()
        assert answer["issued_token_type"] == JWT

    def test_no_jwt_where_tokens_are_opaque(self, shop: RunningServer, party: GetParty) -> None:
        subject = party("frontend").token(ORDERS)
        assert "." not in party("orders").exchange(subject, resource=OPAQUE).json()["access_token"]
        response = party("orders").exchange(subject, resource=OPAQUE, requested_token_type=JWT)
        assert_refused(shop, response, Refusal.TOKEN_TYPE_UNSUPPORTED)

    def test_an_opaque_subject_token(self, party: GetParty) -> None:
        subject = party("frontend").token(OPAQUE)
        assert "." not in subject
        assert claims_of(party("orders").exchange(subject))["sub"] == "frontend"

    def test_metadata_names_the_grant(self, shop: RunningServer) -> None:
        with shop.client() as client:
            metadata = client.get("/.well-known/oauth-authorization-server").json()
        assert GRANT_TYPE in metadata["grant_types_supported"]


class TestScope:
    """Never wider than the subject token's, the client's, or the resource's."""

    def test_without_scope_it_is_all_that_is_left(self, party: GetParty) -> None:
        subject = party("frontend").token(ORDERS, "reports:read")
        assert party("orders").exchange(subject).json()["scope"] == "reports:read"

    def test_it_narrows(self, party: GetParty) -> None:
        subject = party("frontend").token(ORDERS)
        assert party("orders").exchange(subject, scope="reports:write").json()["scope"] == "reports:write"

    @pytest.mark.parametrize(
        "scope",
        [
            "reports:write",  # the client's, and not the subject token's
            "stock:read",  # the client's and the resource's, and not the subject token's
            "orders:write",  # nobody's
            "reports:read reports:write",
        ],
    )
    def test_it_does_not_widen(self, shop: RunningServer, party: GetParty, scope: str) -> None:
        subject = party("frontend").token(ORDERS, "reports:read")
        response = party("orders").exchange(subject, scope=scope)
        assert_refused(shop, response, Refusal.SCOPE_NOT_ALLOWED, "invalid_scope")

    def test_the_exchanging_client_is_a_bound_too(self, shop: RunningServer, party: GetParty) -> None:
        """A client with less gets less: its own token of more is none."""
        subject = party("narrow").token(ORDERS)
        response = party("narrow").exchange(subject, scope="reports:write")
        assert_refused(shop, response, Refusal.SCOPE_NOT_ALLOWED, "invalid_scope")

    def test_resources_of_a_client_are_those_it_lists(self, shop: RunningServer, party: GetParty) -> None:
        subject = party("narrow").token(ORDERS)
        assert claims_of(party("narrow").exchange(subject))["aud"] == STOCK
        response = party("narrow").exchange(subject, resource=RESOURCE)
        assert_refused(shop, response, Refusal.RESOURCE_NOT_ALLOWED, "invalid_target")


class TestDelegation:
    def test_a_chain(self, shop: RunningServer, party: GetParty) -> None:
        """§4.1: who acts now stands outside, who acted before within."""
        first = party("orders").exchange(party("frontend").token(ORDERS)).json()["access_token"]
        claims = claims_of(party("middle").exchange(first))
        assert (claims["sub"], claims["client_id"]) == ("frontend", "middle")
        assert claims["act"] == {"sub": "middle", "act": {"sub": "orders"}}

    def test_ones_own_token_gets_no_actor(self, party: GetParty) -> None:
        claims = claims_of(party("alone").exchange(party("alone").token(ORDERS)))
        assert claims["sub"] == "alone"
        assert "act" not in claims

    def test_exchanging_ones_own_again_and_again(self, party: GetParty) -> None:
        """A loop gains nothing: no link, no scope and no second of life."""
        token = party("orders").exchange(party("frontend").token(ORDERS)).json()["access_token"]
        ends = claims_of(party("orders").exchange(token))["exp"]
        for _ in range(MAX_CHAIN + 2):
            response = party("orders").exchange(token)
            claims = claims_of(response)
            token = response.json()["access_token"]
        assert claims["act"] == {"sub": "orders"}
        assert claims["exp"] == ends

    def test_the_depth_ends(self, shop: RunningServer, party: GetParty) -> None:
        """Two services that pass a token to and fro come to an end."""
        token = party("orders").exchange(party("frontend").token(ORDERS)).json()["access_token"]
        for number in range(MAX_CHAIN - 1):
            client = party("middle" if number % 2 == 0 else "orders")
            response = client.exchange(token, resource=ORDERS if number % 2 == 0 else STOCK)
            assert response.status_code == 200, shop.last_event.detail
            token = response.json()["access_token"]
        assert_refused(shop, party("middle").exchange(token), Refusal.ACTOR_NOT_ALLOWED)

    def test_impersonation_only_where_policy_says_so(self, party: GetParty) -> None:
        """§1.1: silent about itself, the client leaves the subject, and whoever acted before."""
        claims = claims_of(party("silent").exchange(party("frontend").token(ORDERS)))
        assert (claims["sub"], claims["client_id"]) == ("frontend", "silent")
        assert "act" not in claims
        acted = party("orders").exchange(party("frontend").token(ORDERS), resource=ORDERS).json()["access_token"]
        assert claims_of(party("silent").exchange(acted))["act"] == {"sub": "orders"}


class TestActorTokens:
    def exchange(self, party: GetParty, actor_token: str, **form: object) -> httpx.Response:
        subject = party("frontend").token(ORDERS)
        form = {"actor_token_type": ACCESS_TOKEN} | form
        return party("orders").exchange(subject, actor_token=actor_token, **form)

    def test_its_subject_acts(self, party: GetParty) -> None:
        claims = claims_of(self.exchange(party, party("agent").token(ORDERS)))
        assert (claims["sub"], claims["act"], claims["client_id"]) == ("frontend", {"sub": "agent"}, "orders")

    def test_ones_own(self, party: GetParty) -> None:
        assert claims_of(self.exchange(party, party("orders").token(STOCK)))["act"] == {"sub": "orders"}

    def test_a_client_that_is_no_actor_here(self, shop: RunningServer, party: GetParty) -> None:
        assert_refused(shop, self.exchange(party, party("frontend").token(ORDERS)), Refusal.EXCHANGE_NOT_ALLOWED)

    def test_an_actor_token_for_another_resource(self, shop: RunningServer, party: GetParty) -> None:
        assert_refused(shop, self.exchange(party, party("agent").token(RESOURCE)), Refusal.EXCHANGE_NOT_ALLOWED)

    def test_an_actor_for_whom_somebody_acts(self, shop: RunningServer, party: GetParty) -> None:
        acted = party("orders").exchange(party("frontend").token(ORDERS)).json()["access_token"]
        assert_refused(shop, self.exchange(party, acted), Refusal.ACTOR_NOT_ALLOWED)

    def test_of_another_issuer(self, shop: RunningServer, party: GetParty, idp: OtherIssuer) -> None:
        assert_refused(shop, self.exchange(party, idp.sign()), Refusal.ISSUER_UNKNOWN)

    def test_nonsense(self, shop: RunningServer, party: GetParty) -> None:
        assert_refused(shop, self.exchange(party, "nonsense"), Refusal.TOKEN_UNKNOWN)

    def test_without_its_type(self, shop: RunningServer, party: GetParty) -> None:
        response = self.exchange(party, party("agent").token(ORDERS), actor_token_type=None)
        assert_refused(shop, response, Refusal.MISSING_PARAMETER)


class TestConfusedDeputies:
    """Tokens in hands that they are not for."""

    def test_a_token_for_another_resource(self, shop: RunningServer, party: GetParty) -> None:
        """What a resource server got hold of in another's place is not its to exchange."""
        for resource in (RESOURCE, STOCK):
            assert_refused(
                shop, party("orders").exchange(party("frontend").token(resource)), Refusal.EXCHANGE_NOT_ALLOWED
            )

    def test_a_client_that_is_no_resource(self, shop: RunningServer, party: GetParty) -> None:
        assert_refused(shop, party("alone").exchange(party("frontend").token(ORDERS)), Refusal.EXCHANGE_NOT_ALLOWED)

    def test_a_token_of_a_client_that_is_no_partner(self, shop: RunningServer, party: GetParty) -> None:
        assert_refused(shop, party("orders").exchange(party("stranger").token(ORDERS)), Refusal.EXCHANGE_NOT_ALLOWED)

    def test_the_client_with_the_certificate_of_another(self, shop: RunningServer, party: GetParty) -> None:
        thief = Party(shop, "orders", party("stranger").identity)
        response = thief.exchange(party("frontend").token(ORDERS))
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")

    def test_ones_own_token_with_a_new_certificate(
        self, shop: RunningServer, party: GetParty, authority: Authority
    ) -> None:
        """RFC 8705 §6.3: a token that is bound can be shown to be one's own only with its certificate."""
        token = party("orders").token(STOCK)
        renewed = Party(shop, "orders", identity(authority, "orders"))
        assert_refused(shop, renewed.exchange(token), Refusal.TOKEN_NOT_OF_THIS_CONNECTION)
        assert party("orders").exchange(token).status_code == 200

    def test_a_client_without_the_grant(self, shop: RunningServer, party: GetParty) -> None:
        response = party("ungranted").exchange(party("frontend").token(ORDERS))
        assert_refused(shop, response, Refusal.GRANT_NOT_ALLOWED, "unauthorized_client")

    def test_a_resource_that_does_not_exist(self, shop: RunningServer, party: GetParty) -> None:
        response = party("orders").exchange(party("frontend").token(ORDERS), resource="https://evil.example")
        assert_refused(shop, response, Refusal.RESOURCE_NOT_ALLOWED, "invalid_target")


class TestTokensThatAreNone:
    def test_expired(self, shop: RunningServer, party: GetParty) -> None:
        subject = party("frontend").token(ORDERS)
        shop.move_clock(301)
        try:
            response = party("orders").exchange(subject)
        finally:
            shop.move_clock(-301)
        assert_refused(shop, response, Refusal.TOKEN_EXPIRED)

    def test_revoked(self, shop: RunningServer, party: GetParty) -> None:
        subject = party("frontend").token(ORDERS)
        event = shop.last_event
        assert event.token_id is not None
        revocation = Revocation.of_token(event.token_id, expires_at=time.time() + 300)
        shop.call(shop.node.foundation.revocations.revoke(revocation))
        assert_refused(shop, party("orders").exchange(subject), Refusal.TOKEN_REVOKED)

    def test_alg_none(self, shop: RunningServer, party: GetParty) -> None:
        claims = party("frontend").token(ORDERS).split(".")[1]
        header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "at+jwt"}).encode()).rstrip(b"=").decode()
        for signature in ("", "AAAA"):
            assert_refused(shop, party("orders").exchange(f"{header}.{claims}.{signature}"), Refusal.TOKEN_UNKNOWN)

    def test_a_changed_claim(self, shop: RunningServer, party: GetParty) -> None:
        header, claims, signature = party("frontend").token(STOCK).split(".")
        decoded = json.loads(base64.urlsafe_b64decode(claims + "=="))
        forged = base64.urlsafe_b64encode(json.dumps(decoded | {"aud": ORDERS}).encode()).rstrip(b"=").decode()
        assert_refused(shop, party("orders").exchange(f"{header}.{forged}.{signature}"), Refusal.TOKEN_UNKNOWN)

    @pytest.mark.parametrize("text", ["x", "a.b.c", "....", "é.é.é", "a" * 43, "a." * 20_000])
    def test_nonsense(self, shop: RunningServer, party: GetParty, text: str) -> None:
        response = party("orders").exchange(text)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")

    def test_another_jwt_of_this_server(self, shop: RunningServer, party: GetParty) -> None:
        """RFC 8725 §3.11: what this server signs for another purpose is no token."""
        with shop.client() as client:
            document = client.get("/.well-known/oauth-authorization-server").json()
        assert "." in document["signed_metadata"]
        response = party("orders").exchange(document["signed_metadata"])
        assert_refused(shop, response, Refusal.TOKEN_UNKNOWN)


class TestOtherIssuers:
    """Tokens of configured issuers, and of others."""

    def token(self, idp: OtherIssuer, **claims: object) -> str:
        return idp.sign(typ="at+jwt", **({"aud": ORDERS, "scope": "reports:read reports:write"} | claims))

    def test_a_token_for_the_resource_that_the_client_is(self, party: GetParty, idp: OtherIssuer) -> None:
        """Its subject stands under a prefix, and its scope within what is left to its issuer."""
        claims = claims_of(party("orders").exchange(self.token(idp)))
        assert (claims["sub"], claims["scope"]) == (f"{IDP}|alice", "reports:read")
        assert claims["act"] == {"sub": "orders"}

    def test_a_subject_that_is_called_like_a_client(self, party: GetParty, idp: OtherIssuer) -> None:
        assert claims_of(party("orders").exchange(self.token(idp, sub="frontend")))["sub"] == f"{IDP}|frontend"

    def test_without_scope_the_issuer_sets_the_bound(self, party: GetParty, idp: OtherIssuer) -> None:
        response = party("orders").exchange(self.token(idp, scope=...))
        assert set(response.json()["scope"].split()) == {"reports:read", "stock:read"}

    def test_more_than_is_left_to_the_issuer(self, shop: RunningServer, party: GetParty, idp: OtherIssuer) -> None:
        response = party("orders").exchange(self.token(idp), scope="reports:write")
        assert_refused(shop, response, Refusal.SCOPE_NOT_ALLOWED, "invalid_scope")

    def test_a_token_for_this_server(self, party: GetParty, idp: OtherIssuer) -> None:
        assert claims_of(party("orders").exchange(self.token(idp, aud=ISSUER)))["sub"] == f"{IDP}|alice"

    def test_a_bound_token_for_this_server(self, shop: RunningServer, party: GetParty, idp: OtherIssuer) -> None:
        """It was given to whoever presents it, who can show to hold what it is bound to."""
        own, other = (x5t_s256(party(name).identity.der) for name in ("orders", "frontend"))
        assert party("orders").exchange(self.token(idp, aud=ISSUER, cnf={"x5t#S256": own})).status_code == 200
        for cnf in ({"x5t#S256": other}, {"jkt": own}, {"x5t#S256": own, "kid": "1"}, "x"):
            response = party("orders").exchange(self.token(idp, aud=ISSUER, cnf=cnf))
            assert_refused(shop, response, Refusal.TOKEN_NOT_OF_THIS_CONNECTION)

    def test_a_token_for_another_resource(self, shop: RunningServer, party: GetParty, idp: OtherIssuer) -> None:
        for audience in (STOCK, "https://elsewhere.example", [STOCK, RESOURCE]):
            response = party("orders").exchange(self.token(idp, aud=audience))
            assert_refused(shop, response, Refusal.EXCHANGE_NOT_ALLOWED)

    def test_a_client_that_does_not_name_the_issuer(
        self, shop: RunningServer, party: GetParty, idp: OtherIssuer
    ) -> None:
        assert_refused(shop, party("middle").exchange(self.token(idp)), Refusal.EXCHANGE_NOT_ALLOWED)

    def test_an_issuer_that_nobody_configured(self, shop: RunningServer, party: GetParty, idp: OtherIssuer) -> None:
        unknown = OtherIssuer(name="https://unknown.example")
        assert_refused(shop, party("orders").exchange(self.token(unknown)), Refusal.ISSUER_UNKNOWN)
        assert_refused(shop, party("orders").exchange(self.token(idp, iss=IDP + "/")), Refusal.ISSUER_UNKNOWN)

    def test_another_key_under_its_name(self, shop: RunningServer, party: GetParty) -> None:
        assert_refused(shop, party("orders").exchange(self.token(OtherIssuer())), Refusal.ASSERTION_UNTRUSTED)
        response = party("orders").exchange(self.token(OtherIssuer(kid="idp-2")))
        assert_refused(shop, response, Refusal.ASSERTION_KEY_UNKNOWN)

    def test_our_name_under_its_key(self, shop: RunningServer, party: GetParty, idp: OtherIssuer) -> None:
        """Whoever signs as this server needs a key of this server."""
        assert_refused(shop, party("orders").exchange(self.token(idp, iss=ISSUER)), Refusal.TOKEN_UNKNOWN)

    @pytest.mark.parametrize(
        ("claims", "refusal"),
        [
            ({"exp": 1}, Refusal.ASSERTION_EXPIRED),
            ({"exp": ...}, Refusal.ASSERTION_MALFORMED),
            ({"exp": 4e9}, Refusal.ASSERTION_LIFETIME_TOO_LONG),
            ({"nbf": 4e9}, Refusal.ASSERTION_NOT_YET_VALID),
            ({"sub": ...}, Refusal.ASSERTION_MALFORMED),
            ({"scope": 'a"b'}, Refusal.ASSERTION_MALFORMED),
            ({"act": "somebody"}, Refusal.ACTOR_NOT_ALLOWED),
        ],
    )
    def test_claims_that_do_not_count(
        self, shop: RunningServer, party: GetParty, idp: OtherIssuer, claims: dict[str, object], refusal: Refusal
    ) -> None:
        assert_refused(shop, party("orders").exchange(self.token(idp, **claims)), refusal)

    @pytest.mark.parametrize("typ", ["client-authentication+jwt", "dpop+jwt", "token-introspection+jwt"])
    def test_a_jwt_for_another_purpose(self, shop: RunningServer, party: GetParty, idp: OtherIssuer, typ: str) -> None:
        response = party("orders").exchange(idp.sign(typ=typ, aud=ORDERS))
        assert_refused(shop, response, Refusal.ASSERTION_MALFORMED)

    def test_actors_of_other_issuers_keep_their_issuer(self, party: GetParty, idp: OtherIssuer) -> None:
        claims = claims_of(party("orders").exchange(self.token(idp, act={"sub": "orders"})))
        assert claims["act"] == {"sub": "orders", "act": {"iss": IDP, "sub": "orders"}}

    def test_actors_of_this_server_are_not_theirs_to_name(
        self, shop: RunningServer, party: GetParty, idp: OtherIssuer
    ) -> None:
        """Else our token would say, with our signature, that a client of ours acts which never did."""
        ours = {"iss": ISSUER, "sub": "frontend"}
        for act in (ours, {"sub": "a", "act": ours}):
            response = party("orders").exchange(self.token(idp, act=act))
            assert_refused(shop, response, Refusal.ACTOR_NOT_ALLOWED)

    def test_may_act(self, shop: RunningServer, party: GetParty, idp: OtherIssuer) -> None:
        """§4.4: only the party that it names acts; without `iss` it is one of the issuer's own."""
        named = self.token(idp, may_act={"iss": ISSUER, "sub": "orders"})
        assert claims_of(party("orders").exchange(named))["act"] == {"sub": "orders"}
        for may_act in (
            {"sub": "orders"},
            {"iss": ISSUER, "sub": "frontend"},
            {"sub": "orders", "iss": ISSUER, "x": 1},
        ):
            response = party("orders").exchange(self.token(idp, may_act=may_act))
            assert_refused(shop, response, Refusal.ACTOR_NOT_ALLOWED)
