"""Authorization details over real TLS (RFC 9396): asked for, granted, exchanged, introspected."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc8693_token_exchange import ACCESS_TOKEN, GRANT_TYPE
from tests.authority import Authority
from tests.http.exchanging import JWT_BEARER, OtherIssuer, Party, claims_of, identity
from tests.running import Deployment, RunningServer, running

BANK, LEDGER = "https://bank.example", "https://ledger.example"
PAYMENT = {
    "type": "payment_initiation",
    "actions": ["initiate"],
    "locations": [f"{BANK}/payments"],
    "instructedAmount": {"currency": "EUR", "amount": "123"},
}
TRANSFER = {"type": "https://schemas.example/transfer", "identifier": "7"}
GetParty = Callable[[str], Party]
Types = "authorization_details_types = ['payment_initiation', 'https://schemas.example/transfer']"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bank")


@pytest.fixture(scope="module")
def bank(authority: Authority, folder: Path) -> Iterator[RunningServer]:
    amount = {"type": "object", "properties": {"currency": {"enum": ["EUR"]}}, "required": ["currency"]}
    schema = {"required": ["instructedAmount"], "properties": {"instructedAmount": amount}}
    (folder / "payment.json").write_text(json.dumps(schema))
    (folder / "transfer.json").write_text("{}")
    deployment = Deployment(folder).trust("default", authority)
    options = f"{Types}\nintrospection_clients = ['bank']"
    deployment.resource(BANK, "accounts:read", options=options).resource(LEDGER, "accounts:read", options=Types)
    types = ["payment_initiation", "https://schemas.example/transfer"]
    exchange = {"audiences": [BANK], "clients": ["payer", "poor"]}
    for client_id, scope, members in (
        ("payer", None, {"authorization_details_types": types}),
        ("poor", "accounts:read", {"authorization_details_types": types[:1]}),
        ("plain", "accounts:read", {}),
        ("bank", "accounts:read", {"authorization_details_types": types, "exchange": exchange}),
        (
            "batch",
            "accounts:read",
            {"authorization_details_types": types, "jwt_bearer": {"issuers": ["https://idp.example"]}},
        ),
    ):
        grants = ["client_credentials", *([GRANT_TYPE] if client_id == "bank" else [])]
        grants += [JWT_BEARER] if client_id == "batch" else []
        name = f"{client_id}.example"
        deployment.client(client_id, scope=scope, tls_client_auth_san_dns=name, grant_types=grants, **members)
    (key,) = IDP.jwks()["keys"]  # type: ignore[misc] # a list of one
    jwks = "{ keys = [{ " + ", ".join(f"{name} = '{value}'" for name, value in key.items()) + " }] }"
    deployment.sections.append(
        f"""[[issuers]]
issuer = "https://idp.example"
scope = "accounts:read"
jwks = {jwks}
[authorization_details.payment_initiation]
schema = "payment.json"
[authorization_details."https://schemas.example/transfer"]
schema = "transfer.json"
"""
    )
    with running(deployment) as server:
        yield server


IDP = OtherIssuer()


@pytest.fixture(scope="module")
def party(bank: RunningServer, authority: Authority) -> GetParty:
    known: dict[str, Party] = {}
    return lambda client_id: known.setdefault(client_id, Party(bank, client_id, identity(authority, client_id)))


def ask(party: Party, *details: object, **form: object) -> httpx.Response:
    form = {"authorization_details": json.dumps(details), "resource": BANK} | form
    return party.server.token(party.identity, party.client_id, **form)


def assert_refused(bank: RunningServer, response: httpx.Response, error: str = "invalid_authorization_details") -> None:
    assert (response.status_code, response.json()["error"]) == (400, error), response.text


def test_they_stand_in_token_and_answer(bank: RunningServer, party: GetParty) -> None:
    """§7, §9.1: as granted, in both; a client without scopes needs none, and the token has none."""
    response = ask(party("payer"), PAYMENT, TRANSFER)
    assert response.json()["authorization_details"] == [PAYMENT, TRANSFER]
    claims = claims_of(response)
    assert claims["authorization_details"] == [PAYMENT, TRANSFER]
    assert response.json()["scope"] == ""
    assert "scope" not in claims


def test_with_scope_beside_them(party: GetParty) -> None:
    """§3.1: both together; and without `scope` no scope, since details are exact."""
    assert ask(party("poor"), PAYMENT, scope="accounts:read").json()["scope"] == "accounts:read"
    assert ask(party("poor"), PAYMENT).json()["scope"] == ""


def test_a_type_that_two_resources_know(bank: RunningServer, party: GetParty) -> None:
    """Two resources know the type, so one must be named."""
    assert_refused(bank, ask(party("payer"), PAYMENT, resource=None), "invalid_target")


@pytest.mark.parametrize(
    "details",
    [
        [PAYMENT | {"type": "unknown"}],
        [PAYMENT | {"instructedAmount": {"currency": "USD"}}],
        [{"type": "payment_initiation"}],
        [PAYMENT, {"type": "payment_initiation"}],
        [PAYMENT | {"locations": ["https://bank.example.evil/payments"]}],
        [PAYMENT | {"locations": [LEDGER]}],
        [{}],
        [1],
        [],
        [PAYMENT] * 17,
        [PAYMENT | {"x": "a" * 9000}],
    ],
)
def test_what_is_refused(bank: RunningServer, party: GetParty, details: list[object]) -> None:
    """§5: unknown types, objects against their schema, elsewhere, or beyond the bounds."""
    assert_refused(bank, ask(party("payer"), *details))
    assert bank.last_event.refusal is Refusal.AUTHORIZATION_DETAILS_INVALID


@pytest.mark.parametrize("text", ["{", "{}", '"a"', "[" * 5000, '[{"type":"a","type":"b"}]'])
def test_what_is_no_array(bank: RunningServer, party: GetParty, text: str) -> None:
    assert_refused(bank, ask(party("payer"), authorization_details=text))


def test_a_number_that_no_double_holds(bank: RunningServer, party: GetParty) -> None:
    """Written into a token it would be null, or no JSON: nobody is to guess what the client is allowed then."""
    text = f'[{json.dumps(PAYMENT)[:-1]}, "most": 1e999}}]'
    assert_refused(bank, ask(party("payer"), authorization_details=text))


def test_types_that_the_client_is_not_registered_for(bank: RunningServer, party: GetParty) -> None:
    """§10: `authorization_details_types` of the client."""
    assert_refused(bank, ask(party("poor"), TRANSFER))
    assert_refused(bank, ask(party("plain"), PAYMENT))


def test_the_usual_resource_knows_no_type(bank: RunningServer, party: GetParty) -> None:
    assert_refused(bank, ask(party("payer"), TRANSFER, resource="https://resource.example"), "invalid_target")


def test_twice_is_not_once(bank: RunningServer, party: GetParty) -> None:
    text = json.dumps([PAYMENT])
    assert_refused(bank, ask(party("payer"), authorization_details=[text, text]), "invalid_request")


def test_introspection_tells_them(bank: RunningServer, party: GetParty) -> None:
    """§9.2: as a top-level member."""
    token = ask(party("payer"), PAYMENT).json()["access_token"]
    with bank.client(party("bank").identity) as client:
        answer = client.post("/introspect", data={"client_id": "bank", "token": token}).json()
    assert (answer["active"], answer["authorization_details"]) == (True, [PAYMENT])


def test_metadata_names_the_types(bank: RunningServer) -> None:
    with bank.client() as client:
        metadata = client.get("/.well-known/oauth-authorization-server").json()
    types = ["payment_initiation", "https://schemas.example/transfer"]
    assert metadata["authorization_details_types_supported"] == types


class TestExchange:
    """They go on as they are, or some of them; nothing is added or changed."""

    def exchange(self, party: GetParty, subject: str, **form: object) -> httpx.Response:
        parameters = {"subject_token": subject, "subject_token_type": ACCESS_TOKEN, "resource": LEDGER} | form
        bank = party("bank")
        return bank.server.token(bank.identity, "bank", grant_type=GRANT_TYPE, **parameters)

    def test_those_that_fit_the_new_resource(self, party: GetParty) -> None:
        """A payment at the bank says nothing at the ledger, a transfer without a location does."""
        subject = ask(party("payer"), PAYMENT, TRANSFER).json()["access_token"]
        assert claims_of(self.exchange(party, subject))["authorization_details"] == [TRANSFER]
        assert claims_of(self.exchange(party, subject, resource=BANK))["authorization_details"] == [PAYMENT, TRANSFER]

    def test_some_of_them(self, party: GetParty) -> None:
        subject = ask(party("payer"), PAYMENT, TRANSFER).json()["access_token"]
        response = self.exchange(party, subject, resource=BANK, authorization_details=json.dumps([PAYMENT]))
        assert claims_of(response)["authorization_details"] == [PAYMENT]

    def test_none_other(self, bank: RunningServer, party: GetParty) -> None:
        subject = ask(party("payer"), PAYMENT, scope=None).json()["access_token"]
        for other in (TRANSFER, PAYMENT | {"instructedAmount": {"currency": "EUR", "amount": "124"}}):
            response = self.exchange(party, subject, resource=BANK, authorization_details=json.dumps([other]))
            assert_refused(bank, response)

    def test_none_where_there_were_none(self, bank: RunningServer, party: GetParty) -> None:
        subject = ask(party("poor"), authorization_details=None).json()["access_token"]
        assert_refused(bank, self.exchange(party, subject, authorization_details=json.dumps([TRANSFER])))

    def test_nothing_left(self, bank: RunningServer, party: GetParty) -> None:
        """A token that allows nothing is not issued."""
        subject = ask(party("payer"), PAYMENT).json()["access_token"]
        assert_refused(bank, self.exchange(party, subject), "invalid_scope")


class TestAssertions:
    def present(self, party: GetParty, assertion: str, **form: object) -> httpx.Response:
        return party("batch").present(assertion, resource=BANK, **form)

    def test_those_that_the_issuer_granted(self, party: GetParty) -> None:
        claims = claims_of(self.present(party, IDP.sign(authorization_details=[TRANSFER])))
        assert claims["authorization_details"] == [TRANSFER]

    def test_none_that_it_did_not(self, bank: RunningServer, party: GetParty) -> None:
        response = self.present(party, IDP.sign(), authorization_details=json.dumps([TRANSFER]))
        assert_refused(bank, response)

    def test_malformed_ones(self, bank: RunningServer, party: GetParty) -> None:
        assert_refused(bank, self.present(party, IDP.sign(authorization_details="x")), "invalid_grant")


def test_a_broken_schema_changes_nothing(bank: RunningServer, party: GetParty, folder: Path) -> None:
    """A reload takes over a schema that can be used, and no other."""
    file = folder / "transfer.json"
    file.write_text('{"$ref": "https://schemas.example/"}')
    event = bank.reload()
    assert "authorization_details" in str(event.detail)
    assert ask(party("payer"), TRANSFER).status_code == 200
    file.write_text('{"required": ["identifier", "more"]}')
    assert bank.reload().detail is None
    assert_refused(bank, ask(party("payer"), TRANSFER))
    file.write_text("{}")
    assert bank.reload().detail is None
