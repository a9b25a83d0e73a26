"""`[[issuers]]`, `[authorization_details]`, and what clients and resources name of them."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from mtls_as.config import ConfigurationError
from mtls_as.rfc.rfc7517_jwk import public_jwk
from mtls_as.rfc.rfc7591_client_metadata import JWKSUri
from tests.config.test_load_settings import MINIMAL, load, problems

IDP = '[[issuers]]\nissuer = "https://idp.example"\nscope = "reports:read"\n'
EXCHANGE = 'grant_types = ["urn:ietf:params:oauth:grant-type:token-exchange"]\n'
BEARER = 'grant_types = ["urn:ietf:params:oauth:grant-type:jwt-bearer"]\n'
BY_URL = IDP + 'jwks_uri = "https://idp.example/jwks"\n'


def test_defaults_of_an_issuer(tmp_path: Path) -> None:
    (issuer,) = load(tmp_path, MINIMAL + BY_URL).issuers
    assert (issuer.issuer, issuer.scope) == ("https://idp.example", ("reports:read",))
    assert issuer.keys == JWKSUri(url="https://idp.example/jwks")
    assert issuer.algorithms == ("ES256", "PS256", "EdDSA")
    assert (issuer.subject_prefix, issuer.max_lifetime) == ("https://idp.example|", 3600)


def test_keys_in_the_file(tmp_path: Path) -> None:
    key = public_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), kid="1", algorithm="ES256")
    members = ", ".join(f'{name} = "{value}"' for name, value in key.items())
    (issuer,) = load(tmp_path, f"{MINIMAL}{IDP}jwks = {{ keys = [{{ {members} }}] }}\n").issuers
    assert not isinstance(issuer.keys, JWKSUri)
    assert [each.kid for each in issuer.keys.keys] == ["1"]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (IDP, {"issuers[0]"}),
        (BY_URL + "jwks = { keys = [] }\n", {"issuers[0]"}),
        (IDP + "jwks = { keys = [] }\n", {"issuers[0].jwks"}),
        (IDP + 'jwks = { keys = [{ kty = "oct", k = "AAAA" }] }\n', {"issuers[0].jwks"}),
        (BY_URL + BY_URL, {"issuers[1].issuer"}),
        (BY_URL.replace("https://idp.example", "https://as.example", 1), {"issuers[0].issuer"}),
        (BY_URL.replace("https://idp.example", "http://idp.example", 1), {"issuers[0].issuer"}),
        (BY_URL.replace('scope = "reports:read"', 'scope = ""'), {"issuers[0].scope"}),
        (BY_URL.replace('scope = "reports:read"\n', ""), {"issuers[0].scope"}),
        (BY_URL + 'subject_prefix = ""\n', {"issuers[0].subject_prefix"}),
        (BY_URL + 'algorithms = ["RS256"]\n', {"issuers[0].algorithms[0]"}),
        (BY_URL + 'algorithms = ["none"]\n', {"issuers[0].algorithms[0]"}),
        (BY_URL + "algorithms = []\n", {"issuers[0].algorithms"}),
        (BY_URL + "max_lifetime = 90000\n", {"issuers[0].max_lifetime"}),
        ("[authorization_details.payment]\n", {"authorization_details.payment.schema"}),
        ('[authorization_details.payment]\nschema = ""\n', {"authorization_details.payment.schema"}),
        ('[authorization_details.""]\nschema = "a.json"\n', {'authorization_details.""'}),
        ('resources = ["https://elsewhere.example"]\n', {"clients[0].resources"}),
        ('authorization_details_types = ["payment"]\n', {"clients[0].authorization_details_types"}),
        (
            EXCHANGE + 'exchange = { audiences = ["https://x.example"], issuers = ["https://y.example"] }\n',
            {"clients[0].exchange.audiences", "clients[0].exchange.issuers"},
        ),
        (
            BEARER + 'jwt_bearer = { issuers = ["https://idp.exampel"] }\n' + BY_URL,
            {"clients[0].jwt_bearer.issuers"},
        ),
        ("claims = { when = 2020-01-01 }\n", {"clients[0].claims"}),
    ],
)
def test_what_does_not_load(tmp_path: Path, text: str, places: set[str]) -> None:
    """Keys from one place, names that exist, algorithms that are known; a prefix, since subjects must not collide."""
    assert set(problems(tmp_path, MINIMAL + text)) == places


def test_a_near_miss_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r'did you mean "https://api\.example"'):
        load(tmp_path, MINIMAL + 'resources = ["https://api.exampel"]\n')


def test_types_of_a_resource_are_declared(tmp_path: Path) -> None:
    text = MINIMAL.replace(
        'scopes = ["reports:read"]', 'scopes = ["reports:read"]\nauthorization_details_types = ["pay"]'
    )
    assert set(problems(tmp_path, text)) == {"resources[0].authorization_details_types"}
