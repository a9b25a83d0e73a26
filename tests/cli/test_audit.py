"""`mtls-as audit`: what commands and servers did, whether that is whole, and checkpoints."""

import json
import sqlite3
import ssl
from typing import Any

import httpx
import pytest

from tests.cli.workplace import Workplace

CHANGES = [
    ("client", "add", "--client-id", "partner", "--trust", "default", "--san-dns", "p.example"),
    ("client", "disable", "partner"),
    ("client", "enable", "partner"),
    ("client", "delete", "partner"),
    ("keys", "rotate"),
    ("revoke", "client", "reports"),
    ("revoke", "certificate", "--thumbprint", "A" * 43),
    ("registration", "token", "create", "--trust", "default", "--scope", "reports:read"),
]  # fmt: skip


def listed(workplace: Workplace, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(workplace.succeed("audit", "list", "--json", *options))
    return found


def alter(workplace: Workplace, statement: str) -> None:
    """What somebody does who has the database alone."""
    connection = sqlite3.connect(workplace.path("mtls-as.db"))
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_each_command_that_changes_something_is_recorded(workplace: Workplace) -> None:
    """With who ran it and on what; commands that only look are not."""
    workplace.edit("[server]\n", "[registration]\n\n[server]\n")
    made = listed(workplace)
    assert [record["command"] for record in made] == ["init"]
    for number, command in enumerate(CHANGES, start=len(made) + 1):
        workplace.succeed(*command)
        *_, last = listed(workplace)
        assert (last["sequence"], last["kind"]) == (number, "command")
        assert last["command"].split() == [part for part in command[:3] if part in last["command"].split()]
        assert last["user"]
    workplace.succeed("client", "list")
    workplace.succeed("keys", "list")
    assert len(listed(workplace)) == len(made) + len(CHANGES)
    of_client = listed(workplace, "--client", "partner")
    assert [record["command"] for record in of_client] == [
        "client add", "client disable", "client enable", "client delete",
    ]  # fmt: skip
    assert "are as they were written" in workplace.succeed("audit", "verify")


def test_nothing_is_recorded_where_it_is_switched_off(workplace: Workplace) -> None:
    before = len(listed(workplace))
    workplace.edit("enabled = true\n# The requests that", "enabled = false\n# The requests that")
    workplace.succeed("client", "add", "--client-id", "p", "--trust", "default", "--san-dns", "p.example")
    assert len(listed(workplace)) == before


def test_no_secret_is_recorded(workplace: Workplace) -> None:
    """Neither a secret that a command prints, nor a token that it is given."""
    workplace.edit("[server]\n", "[registration]\n\n[server]\n")
    made = workplace.succeed("registration", "token", "create", "--trust", "default", "--scope", "reports:read")
    secret = max(made.split(), key=len)
    assert len(secret) >= 40
    assert secret not in json.dumps(listed(workplace))


def test_a_server_records_what_it_does(workplace: Workplace) -> None:
    """From its start to its stop, in the order in which it happened; each token request with its client."""
    context = ssl.create_default_context(cafile=workplace.path("certs/ca.pem"))
    context.load_cert_chain(workplace.path("certs/reports.pem"), workplace.path("certs/reports-key.pem"))
    url = f"https://localhost:{workplace.port}/token"
    form = {"grant_type": "client_credentials", "client_id": "reports"}
    with workplace.serving() as server:
        for client_id in ("reports", "billing"):
            httpx.post(url, data=form | {"client_id": client_id}, verify=context, trust_env=False, timeout=20)
    made = listed(workplace)
    assert [record["kind"] for record in made] == ["command", "start", "token", "token", "handshakes", "stop"]
    _, _, issued, refused, handshakes, stop = made
    assert handshakes["refused"] == {"peer_closed": 1}, "of the look whether somebody listens"
    assert (issued["client_id"], issued["outcome"], stop["lost"]) == ("reports", "answered", 0)
    assert (refused["unverified_client_id"], refused["outcome"]) == ("billing", "refused")
    assert issued["token_id"] in workplace.succeed("audit", "list")
    assert "6 records, 1 to 6, are as they were written." in workplace.succeed("audit", "verify")
    assert json.loads(server.output.splitlines()[0])["token_id"] == issued["token_id"]


@pytest.mark.parametrize(
    ("statement", "sequence"),
    [
        ("""UPDATE audit_records SET record = replace(record, 'client add', 'client off') WHERE sequence = 2""", 2),
        ("""DELETE FROM audit_records WHERE sequence = 3""", 3),
        ("""DELETE FROM audit_records WHERE sequence > 3""", 4),
        ("""UPDATE audit_records SET sequence = -sequence WHERE sequence > 3""", 4),
    ],
    ids=["changed", "removed", "cut off", "renumbered"],
)
def test_damage_is_found(workplace: Workplace, statement: str, sequence: int) -> None:
    """Exit status 1, and which record is the first."""
    for command in CHANGES[:4]:
        workplace.succeed(*command)
    alter(workplace, statement)
    assert f"damaged at record {sequence}: " in workplace.fail("audit", "verify")
    result = workplace.run("audit", "verify", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["damage"]["sequence"] == sequence


def test_a_checkpoint_shows_an_older_database(workplace: Workplace) -> None:
    """What the database itself cannot show: it was put back as a whole."""
    database = workplace.folder / "mtls-as.db"
    workplace.succeed(*CHANGES[0])
    alter(workplace, "PRAGMA wal_checkpoint(TRUNCATE)")
    before = database.read_bytes()
    workplace.succeed(*CHANGES[1])
    checkpoint = workplace.succeed("audit", "head").strip()
    assert "There are no records to verify." in workplace.succeed("audit", "verify", "--from", checkpoint)
    workplace.succeed(*CHANGES[2])
    assert "1 records, 4 to 4," in workplace.succeed("audit", "verify", "--from", checkpoint)
    for file in workplace.folder.glob("mtls-as.db*"):
        if file.is_file():
            file.unlink()
    database.write_bytes(before)
    database.chmod(0o600)
    assert "are as they were written" in workplace.succeed("audit", "verify")
    assert "the end is cut off" in workplace.fail("audit", "verify", "--from", checkpoint)
    assert "no checkpoint" in workplace.fail("audit", "verify", "--from", "x", status=2)


def test_damaged_records_are_listed_all_the_same(workplace: Workplace) -> None:
    """What is no JSON any longer neither ends the listing nor steers the terminal."""
    alter(workplace, "UPDATE audit_records SET record = 'no json' || char(27) || '[31m'")
    assert "no json\\x1b[31m" in workplace.succeed("audit", "list")
