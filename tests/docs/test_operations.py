"""docs/operations.md is true: its commands do what it shows, and what they are for."""

import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import httpx
import pytest

from mtls_as.cli.application import application
from tests.authority import Authority, dns, name, self_signed
from tests.cli.workplace import ROOT, Workplace
from tests.deploy.documented import shell_blocks
from tests.docs.test_readme import Block, commands
from tests.postgresql import PASSWORD, ROLE, PostgreSQL
from tests.programs import require_program

DOCUMENT = "operations.md"
TEXT = (ROOT / "docs" / DOCUMENT).read_text()
SECONDS = 30.0


def run(place: Workplace, block: str, **environment: str) -> None:
    """Run the commands of a console block in one shell, as a reader would, and compare what they print."""
    listed = list(commands(Block("console", block)))
    script = "\n".join(f"{{ {command.line}\n}} 2>&1; printf '\\x1e%s\\x1e' $?" for command in listed)
    path = f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-s"], input=script, cwd=place.folder, env={"PATH": path} | environment, capture_output=True, text=True
    )
    results = done.stdout.split("\x1e")[:-1]
    assert len(results) == 2 * len(listed) > 0, done.stderr
    for command, output, status in zip(listed, results[::2], results[1::2], strict=True):
        assert status == "0", f"$ {command.line}\n{output}"
        assert command.shows(output), f"$ {command.line}\n{output}"


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    """A deployment with the clients and files that the document speaks of."""
    for program in ("bash", "install"):
        require_program(program)
    place = Workplace.make(tmp_path)
    partner = ("--client-id", "partner", "--certificate", "certs/partner.pem", "--scope", "reports:read")
    place.succeed("client", "add", *partner)
    place.succeed(
        "client", "add", "--client-id", "legacy", "--method", "client_secret_basic", "--scope", "reports:read"
    )
    self_signed("partner").write(place.folder / "certs", "partner-2")
    return place


def token(place: Workplace, client_id: str, stem: str) -> httpx.Response:
    """A token request of a client with one of the certificates in `certs`."""
    context = ssl.create_default_context(
        cadata="".join(f.read_text() for f in place.folder.glob("certs/trusted-*.pem"))
    )
    context.load_cert_chain(place.path(f"certs/{stem}.pem"), place.path(f"certs/{stem}-key.pem"))
    with httpx.Client(verify=context, trust_env=False) as client:
        form = {"grant_type": "client_credentials", "client_id": client_id}
        return client.post(f"{place.issuer}/token", data=form)


def wait_until(condition: Callable[[], bool]) -> None:
    """A running server takes over within seconds what others change."""
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def trust(place: Workplace) -> None:
    """The CA of the server's certificate as it is now, for the requests of these tests."""
    shutil.copy(place.path("certs/ca.pem"), place.path("certs/trusted-first.pem"))


def test_every_mtls_as_command_in_the_text_is_one() -> None:
    """Also those within sentences: the command is known, and so is each of its options."""
    lines = {*re.findall(r"`(mtls-as [^`]+)`", TEXT), *re.findall(r"^(?:\$ )?(mtls-as .*)$", TEXT, re.MULTILINE)}
    assert len(lines) > 20
    for line in lines:
        words = shlex.split(line.partition(" < ")[0])[1:]
        found: click.Command = application
        while words and isinstance(found, click.Group):
            assert words[0] in found.commands, line
            found = found.commands[words.pop(0)]
        known = {option for parameter in found.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known, line


def test_links_lead_somewhere() -> None:
    """To files that are there, and to headings of this one."""
    headings = re.findall(r"^##+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", TEXT):
        path, _, fragment = target.partition("#")
        assert (ROOT / "docs" / path).exists(), target
        assert path or fragment in anchors, target


@pytest.mark.slow
def test_a_backup_of_sqlite_is_restored(place: Workplace) -> None:
    """By the commands as they stand: what was there then is there again, and serves."""
    backup, restore, further = shell_blocks(DOCUMENT, "Backup and restore", containing="$ ")
    with place.serving():
        run(place, backup)
        place.succeed("client", "delete", "partner")
    run(place, restore)
    run(place, further)
    assert "partner" in place.succeed("client", "list")
    with place.serving():
        trust(place)
        assert token(place, "partner", "partner").status_code == 200


@pytest.mark.slow
def test_a_backup_of_postgresql_is_restored(tmp_path: Path, postgresql: PostgreSQL) -> None:
    """The same, with the names that the commands have."""
    for program in ("bash", "createdb", "pg_restore", "pg_dump"):
        require_program(program)
    backup, restore, further = (
        shell_blocks(DOCUMENT, "Backup and restore", containing=part)[0]
        for part in ("db backup", "createdb", "db upgrade")
    )
    with postgresql.database() as url:
        place = Workplace.make(tmp_path, storage=url)
        keys = place.succeed("keys", "list", "--json")
        run(place, backup)
        address = {"PGHOST": "127.0.0.1", "PGPORT": str(postgresql.port), "PGUSER": ROLE, "PGPASSWORD": PASSWORD}
        done = subprocess.run(
            ["bash", "-ec", restore], cwd=tmp_path, env=os.environ | address, capture_output=True, text=True
        )
        try:
            assert done.returncode == 0, done.stderr
            place.edit(url, postgresql.url("mtls_as_restored"))
            run(place, further)
            assert place.succeed("keys", "list", "--json") == keys
        finally:
            postgresql.execute("DROP DATABASE IF EXISTS mtls_as_restored")


@pytest.mark.slow
def test_each_incident_is_ended_by_its_commands(place: Workplace) -> None:
    """In their order, on a running server, which takes each over without a restart."""
    trust(place)
    new_ca, stranger = Authority.create("New CA"), Authority.create("Server CA")
    new_ca.write(place.folder / "certs", "new-ca")
    new_ca.issue(name("reports"), san=[dns("reports.example")]).write(place.folder / "certs", "reports-2")
    new_server = stranger.issue_server("localhost")
    new_server.write(place.folder / "certs", "new-server")
    stranger.write(place.folder / "certs", "trusted-second")
    with place.serving():
        place.write("stolen.token", token(place, "reports", "reports").json()["access_token"])
        run(place, *incident("A stolen token"))

        assert token(place, "partner", "partner").status_code == 200
        keep_out, let_in_again, certificate = incident("A stolen client key")
        run(place, keep_out)
        wait_until(lambda: token(place, "partner", "partner").status_code == 401)
        run(place, let_in_again)
        wait_until(lambda: token(place, "partner", "partner-2").status_code == 200)
        assert token(place, "partner", "partner").status_code == 401
        run(place, certificate)

        run(place, *incident("A stolen client secret"))

        before = key_ids(place)
        run(place, *incident("A stolen signing key"))
        wait_until(lambda: len(key_ids(place)) == 1 and not key_ids(place) & before)

        run(place, *incident("A compromised CA"))
        wait_until(lambda: token(place, "reports", "reports").status_code == 401)
        assert token(place, "reports", "reports-2").status_code == 200

        run(place, *incident("A stolen key of the server's certificate"))
        wait_until(lambda: presented(place) == new_server.der)
        assert token(place, "reports", "reports-2").status_code == 200


def incident(heading: str) -> list[str]:
    found = shell_blocks(DOCUMENT, heading)
    assert found, heading
    return found


def key_ids(place: Workplace) -> set[str]:
    context = ssl.create_default_context(cafile=place.path("certs/trusted-first.pem"))
    keys = httpx.get(f"{place.issuer}/jwks", verify=context, trust_env=False).json()["keys"]
    return {key["kid"] for key in keys}


def presented(place: Workplace) -> bytes:
    """The server's certificate on a new connection."""
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("localhost", place.port)))
