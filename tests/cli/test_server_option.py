"""`--server`: the commands of an operator, over the administration of a running server or on its database."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtls_as.server.endpoints.admin.routes import AdminScope
from tests.cli.workplace import Workplace, free_ports

OPERATOR = "reports"
"""The development certificates have one for this client; here it is an operator, too."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A running server with an administration, beside its database and a profile for the operator."""
    workplace = Workplace.make(tmp_path_factory.mktemp("site"))
    [admin] = free_ports(1)
    resource = f"https://localhost:{admin}"
    workplace.edit("[storage]", f'[listeners.admin]\nbind = "127.0.0.1:{admin}"\nresource = "{resource}"\n\n[storage]')
    scopes = [scope.value for scope in AdminScope]
    text = workplace.config.read_text()
    text += f"""
[[resources]]
identifier = "{resource}"
scopes = {scopes!r}

[[clients]]
client_id = "operator"
trust = "default"
token_endpoint_auth_method = "tls_client_auth"
tls_client_auth_san_dns = "reports.example"
scope = "{" ".join(scopes)}"

[[clients]]
client_id = "reader"
trust = "default"
token_endpoint_auth_method = "tls_client_auth"
tls_client_auth_san_dns = "reports.example"
scope = "{AdminScope.READ_CLIENTS}"

[registration]
"""
    workplace.config.write_text(text)
    for name in ("operator", "reader"):
        workplace.write(
            f"{name}.toml",
            f"""[admin]
server = "{resource}"
issuer = "{workplace.issuer}"
client_id = "{name}"
certificate = "certs/reports.pem"
private_key = "certs/reports-key.pem"
ca = "certs/ca.pem"
""",
        )
    with workplace.serving() as server:
        server.wait_until_listening(admin)
        yield workplace


REMOTE = ("--server", "operator.toml")

SAME = [
    ("client", "list", "--json"),
    ("client", "list"),
    ("client", "show", "billing", "--json"),
    ("client", "show", "billing"),
    ("client", "show", "nobody"),
    ("client", "add", "--client-id", "new", "--trust", "nowhere", "--san-dns", "a.example", "--scope", "reports:red"),
    ("client", "add", "--client-id", "a b", "--trust", "default", "--san-dns", "a.example"),
    ("client", "disable", "billing"),
    ("client", "delete", "nobody"),
    ("client", "rotate-secret", "nobody"),
    ("keys", "list", "--json"),
    ("keys", "list"),
    ("keys", "rotate", "--algorithm", "PS256"),
    ("cert", "inventory", "--json"),
    ("cert", "inventory"),
    ("cert", "inventory", "--within", "52w", "--json"),
    ("cert", "inventory", "--within", "1d"),
    ("registration", "token", "list", "--json"),
    ("registration", "token", "create", "--scope", "reports:read"),
    ("registration", "token", "delete", "none"),
    ("revoke", "client", "nobody"),
    ("revoke", "certificate", "--thumbprint", "x"),
    ("revoke", "token"),
]


@pytest.mark.parametrize("command", SAME, ids=" ".join)
def test_both_ways_say_the_same(site: Workplace, command: tuple[str, ...]) -> None:
    """Output, errors and exit status, to the letter."""
    local, remote = (site.run(*command, *way, input="junk") for way in ((), REMOTE))
    assert remote.output == local.output
    assert (remote.exit_code, remote.stdout, remote.stderr) == (local.exit_code, local.stdout, local.stderr)


def test_what_is_changed_one_way_is_seen_the_other(site: Workplace) -> None:
    """A client is added, replaced, switched off and deleted by a server, and each is in the database at once."""
    subject = ("--trust", "default", "--san-dns", "far.example", "--scope", "reports:read")
    assert site.succeed("client", "add", "--client-id", "far", *subject, *REMOTE) == "The client far is registered.\n"
    shown = json.loads(site.succeed("client", "show", "far", "--json"))
    assert (shown["source"], shown["enabled"]) == ("storage", True)
    site.write("far.json", json.dumps({**shown, "scope": "reports:write"}))
    site.succeed("client", "replace", "far", "--metadata", "far.json", *REMOTE)
    site.succeed("client", "disable", "far", *REMOTE)
    shown = json.loads(site.succeed("client", "show", "far", "--json"))
    assert (shown["scope"], shown["enabled"]) == ("reports:write", False)
    site.succeed("client", "delete", "far", *REMOTE)
    assert site.fail("client", "show", "far") == "there is no client far"


def test_secrets_and_tokens_are_shown_once(site: Workplace) -> None:
    added = site.succeed("client", "add", "--client-id", "old", "--method", "client_secret_basic", *REMOTE)
    assert re.fullmatch(r"The client old is registered\.\nIts secret, which nobody can show again:\n[\w-]{43}\n", added)
    rotated = site.succeed("client", "rotate-secret", "old", *REMOTE)
    assert re.search(r"^The one before is valid until .*Z\.$", rotated, re.MULTILINE)
    made = json.loads(
        site.succeed(
            "registration", "token", "create", "--scope", "reports:read", "--trust", "default", "--json", *REMOTE
        )
    )
    site.succeed("registration", "token", "delete", made["name"], *REMOTE)


def test_tokens_are_revoked_by_a_server(site: Workplace) -> None:
    """One that comes on standard input, and those of a client."""
    fetch = ("--cert", "certs/reports.pem", "--key", "certs/reports-key.pem", "--ca", "certs/ca.pem")
    token = site.succeed("token", "--issuer", site.issuer, "--client-id", "reports", *fetch)
    assert "is revoked" in site.succeed("revoke", "token", *REMOTE, input=token)
    assert "are revoked" in site.succeed("revoke", "client", "billing", *REMOTE)
    assert "are revoked" in site.succeed("revoke", "certificate", "certs/billing.pem", *REMOTE)


def test_keys_are_rotated_by_a_server(site: Workplace) -> None:
    before = site.succeed("keys", "list", "--json")
    assert re.fullmatch(
        r"The signing key [\w-]{43} \(ES256\) signs from .*Z\.\n", site.succeed("keys", "rotate", *REMOTE)
    )
    assert len(json.loads(site.succeed("keys", "list", "--json"))) == len(json.loads(before)) + 1


def test_the_trust_domains_in_force_are_listed(site: Workplace) -> None:
    """As a table and whole; only a running server has them."""
    header, row = site.succeed("trust", "list", *REMOTE).splitlines()
    shown = dict(zip(header.split("\t"), row.split("\t"), strict=True))
    [domain] = json.loads(site.succeed("trust", "list", "--json", *REMOTE))["domains"]
    [anchor] = domain["anchors"]
    assert shown == {
        "name": "default",
        "anchors": "1",
        "soonest_end": anchor["not_after"],
        "revocation": "not checked",
        "lists": "0",
        "next_update": "-",
        "problems": "0",
    }
    assert "Missing option '--server'" in site.fail("trust", "list", status=2)


def test_the_audit_trail_tells_both_ways_apart(site: Workplace) -> None:
    """By a server it was a client, on the database a user of the machine."""
    site.succeed("client", "add", "--client-id", "here", "--trust", "default", "--san-dns", "here.example")
    site.succeed("client", "disable", "here", *REMOTE)
    for _ in range(50):
        rows = json.loads(site.succeed("audit", "list", "--json", *REMOTE))
        remote = [row for row in rows if row.get("target") == "here"]
        if remote:
            break
    assert (remote[0]["client_id"], remote[0]["action"]) == ("operator", "disableClient")
    assert any(row.get("command") == "client add" and row["client_id"] == "here" for row in rows)
    assert "are as they were written" in site.succeed("audit", "verify", *REMOTE)
    checkpoint = site.succeed("audit", "head", *REMOTE).strip()
    site.succeed("audit", "verify", "--from", checkpoint)


def test_who_holds_less_is_told_so(site: Workplace) -> None:
    """With the scope that allows least a reader can read, and no more."""
    reader = ("--server", "reader.toml")
    assert site.succeed("client", "list", *reader) == site.succeed("client", "list")
    said = site.fail("client", "delete", "x", *reader)
    assert said == "the client reader does not have the scope mtls-as:admin:clients"
    said = site.fail("keys", "list", *reader)
    assert said == "the client reader does not have the scope mtls-as:admin:keys:read or mtls-as:admin:keys"


def test_a_client_of_the_administration_needs_more_than_one_scope(site: Workplace) -> None:
    """The command fetches a token with all that the operator has, when the smallest does not do."""
    subject = ("--trust", "default", "--san-dns", "x.example", "--scope", AdminScope.KEYS)
    site.succeed("client", "add", "--client-id", "keeper", *subject, *REMOTE)
    site.succeed("client", "disable", "keeper", *REMOTE)


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--server", "https://localhost:1"), 1, "with --server go --issuer, --as, --cert, --key"),
        (("--server", "http://localhost", "--server", "http://x"), 1, "with --server go"),
        (("--server", "none.toml"), 1, "none.toml: No such file"),
        (("--server", "config.toml"), 1, "has no table [admin]"),
        (("--server", "operator.toml", "--as", "nobody"), 1, "invalid_client"),
        (("--server", "operator.toml", "--cert", "certs/billing.pem"), 1, "does not go with"),
        (("--server", "operator.toml", "--ca", "certs/other-ca.pem"), 1, "certificate verify failed"),
        (("--server", "operator.toml", "--issuer", "https://localhost:1"), 1, "https://localhost:1/"),
        (("--as", "operator"), 2, "--as goes with --server"),
    ],
)
def test_what_goes_wrong_is_one_line(site: Workplace, options: tuple[str, ...], status: int, message: str) -> None:
    assert message in site.fail("client", "list", *options, status=status)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[admin]\nserver = 1", "has no table [admin] of strings"),
        ("[admin]\nservr = 'x'", "admin.servr is unknown"),
        ("[admin", "is not TOML"),
        ("[admin]\nserver = 'http://x'\nissuer = 'https://x'", "with --server go --as, --cert, --key"),
    ],
)
def test_profiles_that_cannot_be_used(site: Workplace, text: str, message: str) -> None:
    site.write("broken.toml", text)
    assert message in site.fail("client", "list", "--server", "broken.toml")


def test_a_server_that_is_not_there_or_not_one(site: Workplace, tmp_path: Path) -> None:
    """The token is fetched, and then nothing that understands it answers."""
    profile = (site.folder / "operator.toml").read_text()
    for url, message in (("https://localhost:1", "ConnectError"), (site.issuer, "404")):
        site.write("elsewhere.toml", re.sub(r'server = ".*"', f'server = "{url}"', profile))
        assert message in site.fail("client", "list", "--server", "elsewhere.toml")


def test_the_environment_says_it_for_all_commands(site: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """`MTLS_AS_SERVER` is the profile, `MTLS_AS_CONFIG` the configuration; options win over both."""
    monkeypatch.setenv("MTLS_AS_SERVER", "operator.toml")
    monkeypatch.setenv("MTLS_AS_CONFIG", "nowhere.toml")
    assert site.succeed("keys", "list", "--json") == site.succeed("keys", "list", "--json", *REMOTE)
    assert "does not have the scope" in site.fail("keys", "list", "--server", "reader.toml")
    monkeypatch.delenv("MTLS_AS_SERVER")
    assert "nowhere.toml" in site.fail("keys", "list")
    assert site.succeed("keys", "list", "--config", "config.toml")
