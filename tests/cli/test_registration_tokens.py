"""`registration token`: made, listed without what they are, and deleted."""

import json

import pytest

from mtls_as.rfc.rfc4648_base64url import decode_base64url
from mtls_as.server.registrations import token_digest
from tests.cli.workplace import Workplace

CREATE = ("registration", "token", "create")


@pytest.fixture
def registrar(workplace: Workplace) -> Workplace:
    """A workplace where clients can register themselves."""
    workplace.edit("[server]\n", "[registration]\n\n[server]\n")
    return workplace


def test_a_token_is_shown_once(registrar: Workplace) -> None:
    """The list knows it by the beginning of its hash."""
    made = json.loads(
        registrar.succeed(*CREATE, "--trust", "default", "--scope", "reports:read", "--uses", "3", "--json")
    )
    token = made["initial_access_token"]
    assert len(token) == 43
    listing = registrar.succeed("registration", "token", "list", "--json")
    assert token not in listing
    (row,) = json.loads(listing)
    assert row["name"] == decode_base64url(token_digest(token)).hex()[:12]
    assert (row["uses_left"], row["trust"], row["scope"], row["methods"]) == (
        3,
        "default",
        "reports:read",
        "tls_client_auth",
    )
    registrar.succeed("registration", "token", "delete", row["name"])
    assert json.loads(registrar.succeed("registration", "token", "list", "--json")) == []


def test_what_does_not_exist_cannot_be_allowed(registrar: Workplace) -> None:
    """Scopes, trust domains, and prefixes that would match more than they seem to."""
    wrong = {
        'there is no trust domain "x"': ("--trust", "x", "--scope", "reports:read"),
        'no resource knows the scope "x"': ("--trust", "default", "--scope", "x"),
        "trust: is missing": ("--scope", "reports:read"),
        "ends with a slash": (
            "--trust",
            "default",
            "--scope",
            "reports:read",
            "--jwks-uri-prefix",
            "https://keys.example",
        ),
    }
    for message, options in wrong.items():
        assert message in registrar.fail(*CREATE, *options)


def test_without_the_table_there_are_no_tokens(workplace: Workplace) -> None:
    """A token that nobody would take is not made."""
    assert "[registration]" in workplace.fail(*CREATE, "--trust", "default", "--scope", "reports:read")


def test_an_unknown_token_cannot_be_deleted(registrar: Workplace) -> None:
    """Nor many by a short beginning."""
    for name in ("", "A", "x" * 12):
        assert "there is no initial access token" in registrar.fail("registration", "token", "delete", name)
