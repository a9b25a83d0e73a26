"""Client registrations: the standards' members and this server's own."""

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc7591_client_metadata import ClientMetadataError
from mtls_as.server.clients import CLIENT_MEMBERS, ClientSource, format_client, is_client_id, parse_client

PKI = {
    "client_id": "reports",
    "trust": "default",
    "token_endpoint_auth_method": "tls_client_auth",
    "tls_client_auth_san_dns": "reports.example",
}
SELF_SIGNED = {
    "client_id": "partner",
    "token_endpoint_auth_method": "self_signed_tls_client_auth",
    "jwks_uri": "https://partner.example/jwks",
}


def problems(members: dict[str, Any]) -> dict[str, str]:
    """What is wrong with a registration, by member."""
    with pytest.raises(ClientMetadataError) as caught:
        parse_client(members, ClientSource.CONFIGURATION)
    return dict(caught.value.problems)


@pytest.mark.parametrize("members", [PKI, SELF_SIGNED, {**PKI, "access_token_lifetime": 60, "enabled": False}])
def test_a_registration_round_trips(members: dict[str, Any]) -> None:
    """What is written down is read back the same."""
    client = parse_client(members, ClientSource.STORAGE)
    assert parse_client(format_client(client), ClientSource.STORAGE) == client
    assert members.items() <= format_client(client).items()


def test_a_client_of_a_ca_needs_a_trust_domain() -> None:
    """Nobody's CA speaks for it by default."""
    assert set(problems({k: v for k, v in PKI.items() if k != "trust"})) == {"trust"}


def test_a_self_signed_client_has_no_trust_domain() -> None:
    """RFC 8705 §2.2: its chain is not validated, so a domain there would promise too much."""
    assert set(problems({**SELF_SIGNED, "trust": "default"})) == {"trust"}


def test_a_client_without_certificates_of_its_own_has_no_trust_domain() -> None:
    """A domain that vouches for nothing would be read as if it did."""
    secret = {"client_id": "old", "token_endpoint_auth_method": "client_secret_basic"}
    assert parse_client(secret, ClientSource.STORAGE).trust is None
    assert set(problems(secret | {"trust": "default"})) == {"trust"}


def test_an_unsafe_client_cannot_be_constructed() -> None:
    """Not by parsing, and not by hand."""
    client = parse_client(PKI, ClientSource.STORAGE)
    for change in ({"trust": None}, {"trust": ""}, {"client_id": ""}, {"client_id": "a b"}):
        with pytest.raises(ClientMetadataError):
            replace(client, **change)
    with pytest.raises(ClientMetadataError):
        replace(parse_client(SELF_SIGNED, ClientSource.STORAGE), trust="default")


@pytest.mark.parametrize("client_id", ["", "a b", "a\n", "ä", "a" * 257, "\x7f", 7, None])
def test_a_client_id_is_short_printable_ascii(client_id: object) -> None:
    """RFC 6749 appendix A.1, without spaces; logs and URLs then need no escapes."""
    assert set(problems({**PKI, "client_id": client_id})) == {"client_id"}


@pytest.mark.parametrize("client_id", ["a", "spiffe://example/a?b#c", "~" * 256])
def test_other_client_ids_are_fine(client_id: str) -> None:
    """Any other printable character may occur."""
    assert is_client_id(client_id)
    assert parse_client({**PKI, "client_id": client_id}, ClientSource.STORAGE).client_id == client_id


@pytest.mark.parametrize("lifetime", [9, 86_401, -1, 60.0, "60", True, None])
def test_a_lifetime_is_10_to_86400_whole_seconds(lifetime: object) -> None:
    """Neither a token that never ends nor one that is over before it arrives."""
    assert set(problems({**PKI, "access_token_lifetime": lifetime})) == {"access_token_lifetime"}


def test_problems_of_both_kinds_of_member_are_reported_together() -> None:
    """One run of a check shows all there is to mend."""
    found = problems({**PKI, "client_id": "a b", "trust": 5, "scope": "", "enabeld": True})
    assert set(found) == {"client_id", "trust", "scope", "enabeld"}
    assert found["enabeld"].endswith('did you mean "enabled"?')


@given(st.dictionaries(st.sampled_from(CLIENT_MEMBERS), st.none() | st.booleans() | st.integers() | st.text()))
def test_no_members_raise_anything_else(members: dict[str, object]) -> None:
    """A parser of hostile input raises its own error alone."""
    with contextlib.suppress(ClientMetadataError):
        parse_client(members, ClientSource.STORAGE)
