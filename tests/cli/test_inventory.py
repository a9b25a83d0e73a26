"""`mtls-as cert inventory`: what it lists, and what it tells cron."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from mtls_as.cli.inventory import EXIT_SOME_END
from mtls_as.config import load_settings
from mtls_as.rfc.rfc5280_certificate import parse_certificate
from mtls_as.server.certificate_use import CertificateUse
from mtls_as.storage import open_storage, read_encryption_key
from tests.authority import Authority
from tests.cli.workplace import Workplace

AUTHORITY = Authority.create("Partner CA")


def see(workplace: Workplace, client_id: str, *, days: float, at: float) -> None:
    """Let a client have come with a certificate that ends in so many days."""
    identity = AUTHORITY.issue(client_id, not_after=datetime.now(UTC) + timedelta(days=days))
    use = CertificateUse.of(
        parse_certificate(identity.der),
        client_id=client_id,
        authentication_method="tls_client_auth",
        trust="default",
        first_used_at=at,
        last_used_at=at,
        count=1,
    )

    async def record() -> None:
        settings = load_settings(workplace.config)
        key = read_encryption_key(settings.storage.encryption_key_file)
        storage = open_storage(settings.storage.url, encryption_key=key, clock=time.time)
        await storage.seen_certificates.record([use])
        await storage.close()

    asyncio.run(record())


def test_everything_is_listed(workplace: Workplace) -> None:
    """The server's certificate, the anchors, registered and seen ones; the soonest to end first."""
    workplace.succeed("client", "add", "--client-id", "partner", "--certificate", workplace.path("certs/partner.pem"))
    see(workplace, "reports", days=5.5, at=1_000.0)
    rows = json.loads(workplace.succeed("cert", "inventory", "--json"))
    assert rows[0] == {
        "role": "seen",
        "client_id": "reports",
        "trust": "default",
        "subject": "CN=reports",
        "issuer": "CN=Partner CA",
        "serial_number": rows[0]["serial_number"],
        "x5t#S256": rows[0]["x5t#S256"],
        "not_after": rows[0]["not_after"],
        "days_left": 5,
        "last_used": "1970-01-01T00:16:40Z",
        "uses": 1,
        "note": None,
    }
    assert sorted(row["role"] for row in rows) == ["anchor", "registered", "seen", "server"]
    assert [row["not_after"] for row in rows] == sorted(row["not_after"] for row in rows)


def test_without_a_terminal_it_is_tab_separated(workplace: Workplace) -> None:
    """For scripts and logs."""
    see(workplace, "reports", days=5.5, at=1_000.0)
    header, first, *_ = workplace.succeed("cert", "inventory").splitlines()
    assert header.split("\t") == [
        "days_left",
        "role",
        "client_id",
        "trust",
        "subject",
        "not_after",
        "last_used",
        "note",
    ]
    assert first.split("\t")[:5] == ["5", "seen", "reports", "default", "CN=reports"]
    assert first.endswith("\t1970-01-01T00:16:40Z\t-")


def test_cron_is_told_by_the_exit_status(workplace: Workplace) -> None:
    """3 and a list when something ends, 0 and silence when nothing does."""
    see(workplace, "reports", days=5.5, at=1_000.0)
    some = workplace.run("cert", "inventory", "--within", "6d")
    assert some.exit_code == EXIT_SOME_END == 3
    assert [line.split("\t")[2] for line in some.stdout.splitlines()] == ["client_id", "reports"]
    assert workplace.succeed("cert", "inventory", "--within", "5d") == ""
    assert workplace.succeed("cert", "inventory", "--within", "72h") == ""
    assert workplace.succeed("cert", "inventory", "--within", "0w", "--json") == "[]\n"
    assert workplace.run("cert", "inventory", "--within", "1w").exit_code == 3


def test_what_has_ended_counts(workplace: Workplace) -> None:
    """Until its client has replaced it."""
    see(workplace, "reports", days=-0.01, at=1_000.0)
    ended = workplace.run("cert", "inventory", "--within", "0h")
    assert (ended.exit_code, ended.stdout.splitlines()[1].split("\t")[0]) == (3, "-1")
    see(workplace, "reports", days=20, at=2_000.0)
    assert workplace.succeed("cert", "inventory", "--within", "0h") == ""


def test_certificates_of_nobody_in_particular_are_listed_and_do_not_count(workplace: Workplace) -> None:
    """A client that is gone needs no new certificate."""
    see(workplace, "gone", days=1, at=1_000.0)
    assert workplace.succeed("cert", "inventory", "--within", "2d") == ""
    assert workplace.succeed("cert", "inventory").splitlines()[1].endswith("\tnot registered")


def test_an_ended_server_certificate_is_listed(workplace: Workplace) -> None:
    """The server would not start with it; the inventory says so all the same."""
    past = datetime.now(UTC) - timedelta(days=2)
    expired = AUTHORITY.issue("localhost", not_before=past, not_after=past + timedelta(days=1))
    workplace.write("certs/server.pem", expired.pem)
    found = workplace.run("cert", "inventory", "--within", "0h")
    assert (found.exit_code, found.stdout.splitlines()[1].split("\t")[:2]) == (3, ["-2", "server"])


@pytest.mark.parametrize("duration", ["30", "d", "30y", "-1d", "1.5d", "30 d", "99999d", ""])
def test_a_duration_has_a_unit(workplace: Workplace, duration: str) -> None:
    """Wrong usage is status 2, and says what would be right."""
    assert "is not a duration such as 30m, 12h, 30d or 2w" in workplace.fail(
        "cert", "inventory", "--within", duration, status=2
    )


def test_an_error_is_status_1(workplace: Workplace) -> None:
    """So that cron can tell it from certificates that end."""
    workplace.write("certs/ca.pem", "")
    assert "trust domain 'default'" in workplace.fail("cert", "inventory", "--within", "30d")
