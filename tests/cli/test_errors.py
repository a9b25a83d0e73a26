"""Foreseeable errors are lines that name what is wrong, never tracebacks."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mtls_as.cli.application import Application, application
from mtls_as.cli.errors import explain
from tests.authority import Authority
from tests.cli.workplace import Workplace, running

COMMANDS_WITH_CONFIGURATION = [
    ("init",),
    ("serve",),
    ("check-config",),
    ("client", "list"),
    ("client", "show", "reports"),
    ("keys", "list"),
    ("cert", "explain", "certs/reports.pem", "--config", "config.toml"),
]


@pytest.mark.parametrize("command", COMMANDS_WITH_CONFIGURATION, ids=" ".join)
def test_a_misspelt_key_is_named_with_the_nearest_one(workplace: Workplace, command: tuple[str, ...]) -> None:
    workplace.edit("\nlifetime = 300\n", "\nlifetme = 300\n")
    assert workplace.fail(*command) == 'config.toml: tokens.lifetme: unknown key; did you mean "lifetime"?'


def test_every_problem_of_a_file_is_a_line(workplace: Workplace) -> None:
    workplace.edit('algorithm = "ES256"', 'algorithm = "HS256"')
    workplace.edit('tls_client_auth_san_dns = "reports.example"', "")
    result = workplace.run("check-config")
    lines = result.stderr.splitlines()
    assert (result.exit_code, len(lines)) == (1, 2)
    assert "tokens.algorithm" in lines[0]
    assert "clients[0]" in lines[1]


def test_a_client_with_two_subjects_is_named(workplace: Workplace) -> None:
    line = 'tls_client_auth_san_dns = "reports.example"'
    workplace.edit(line, f'{line}\ntls_client_auth_san_uri = "https://reports.example/"')
    assert "clients[0].tls_client_auth_san_uri: a client has exactly one subject" in workplace.fail("check-config")


@pytest.mark.parametrize("command", ["serve", "check-config"])
@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("certs/server.pem", None, "no such file"),
        ("certs/server.pem", b"", "no certificate"),
        ("certs/server-key.pem", None, "no such file"),
        ("certs/server-key.pem", b"junk", "no private key"),
        ("certs/ca.pem", None, ""),
        ("certs/ca.pem", b"junk", ""),
        ("mtls-as.key", None, "mtls-as init"),
        ("mtls-as.db", None, "mtls-as init"),
        ("mtls-as.db", b"junk" * 1000, "database"),
    ],
)
def test_an_unusable_file_is_named(
    workplace: Workplace, command: str, file: str, content: bytes | None, message: str
) -> None:
    (workplace.folder / file).unlink()
    if content is not None:
        path = workplace.folder / file
        path.touch(mode=0o600)
        path.write_bytes(content)
    answer = workplace.fail(command)
    assert file in answer
    assert message in answer


def test_a_key_of_another_certificate_is_named(workplace: Workplace) -> None:
    (workplace.folder / "certs" / "server-key.pem").write_text(Authority.create("other").key_pem)
    assert "server-key.pem: the key of another certificate" in workplace.fail("check-config")


def test_an_expired_server_certificate_is_named(workplace: Workplace) -> None:
    past = datetime.now(UTC) - timedelta(days=2)
    identity = Authority.create("CA").issue(not_before=past, not_after=past + timedelta(days=1))
    identity.write(workplace.folder / "certs", "server")
    assert "server.pem: the certificate expired" in workplace.fail("check-config")


def test_an_expired_anchor_is_a_warning(workplace: Workplace) -> None:
    """A partner's domain must not keep the server from starting; its operator should know all the same."""
    past = datetime.now(UTC) - timedelta(days=2)
    expired = Authority.create("Old CA", not_before=past, not_after=past + timedelta(days=1))
    (workplace.folder / "certs" / "ca.pem").write_text(expired.pem)
    result = workplace.run("check-config")
    assert (result.exit_code, result.stdout) == (0, "config.toml is good.\n")
    assert result.stderr.startswith("mtls-as: warning: trust domain 'default'")
    assert "Old CA" in result.stderr


def test_a_storage_key_that_others_may_read_is_refused(workplace: Workplace) -> None:
    (workplace.folder / "mtls-as.key").chmod(0o640)
    assert "chmod 600" in workplace.fail("client", "list")


def test_a_client_in_both_places_is_named(workplace: Workplace) -> None:
    """Declared in the file after it was stored: which of the two is meant cannot be known."""
    workplace.succeed("client", "add", "--client-id", "both", "--certificate", "certs/partner.pem")
    shown = workplace.succeed("client", "show", "both")
    workplace.config.write_text(f"{workplace.config.read_text()}\n[[clients]]\n{shown}")
    assert "both" in workplace.fail("check-config")


def test_a_locked_database_is_named(workplace: Workplace) -> None:
    connection = sqlite3.connect(workplace.folder / "mtls-as.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        answer = workplace.fail("client", "add", "--client-id", "new", "--certificate", "certs/partner.pem")
    finally:
        connection.close()
    assert "mtls-as.db" in answer
    assert "lock" in answer


def test_a_busy_port_is_named_and_nothing_is_started(workplace: Workplace) -> None:
    with workplace.serving(), running("serve", cwd=workplace.folder) as second:
        assert second.wait() == 1
        assert f"127.0.0.1:{workplace.port}" in second.errors
        assert second.errors.count("\n") == 1


def test_an_issuer_that_does_not_answer_is_named_once(workplace: Workplace) -> None:
    """In a process of its own, where nothing but the command decides what becomes of the log."""
    token = workplace.write("token", "e30.e30.AAAA")
    arguments = ("--issuer", workplace.issuer, "--audience", "https://api.example", "--token", token)
    with running("verify", *arguments, cwd=workplace.folder) as verifying:
        assert verifying.wait() == 1
        assert verifying.errors.startswith(f"mtls-as: {workplace.issuer}/")
        assert verifying.errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("clint",), "'client', 'init'?) (see mtls-as --help)"),
        (("client", "lst"), "Did you mean 'list'? (see mtls-as client --help)"),
        (("client", "show"), "Missing argument 'ID'. (see mtls-as client show --help)"),
        (("token", "--isuer", "x"), "'--issuer'?) (see mtls-as token --help)"),
        (("verify", "--issuer", "https://as.example"), "Missing option '--audience'"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(shared: Workplace, arguments: tuple[str, ...], hint: str) -> None:
    assert hint in shared.fail(*arguments, status=2)


@pytest.mark.parametrize("group", [(), ("client",), ("keys",), ("registration", "token")], ids=" ".join)
def test_a_group_alone_prints_its_help_as_it_is(shared: Workplace, group: tuple[str, ...]) -> None:
    result = shared.run(*group)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", shared.succeed(*group, "--help"))


def test_an_unforeseen_error_is_not_hidden() -> None:
    """A mistake in the program must be seen as one."""
    assert explain(ValueError("a mistake")) is None
    broken = Application("mtls-as")

    @broken.command()
    def fail() -> None:
        raise ValueError("a mistake")

    assert isinstance(CliRunner().invoke(broken, ["fail"]).exception, ValueError)


def test_an_interruption_is_status_130() -> None:
    interrupted = Application("mtls-as")

    @interrupted.command()
    def wait() -> None:
        raise KeyboardInterrupt

    result = CliRunner().invoke(interrupted, ["wait"])
    # The empty line ends the one on which a terminal shows ^C.
    assert (result.exit_code, result.stderr) == (130, "\nmtls-as: interrupted\n")


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    """`mtls-as … | head -1` must not complain."""
    piped = Application("mtls-as")

    @piped.command()
    def write() -> None:
        raise BrokenPipeError

    assert CliRunner().invoke(piped, ["write"]).exit_code == 1


def commands(group: click.Group, *path: str) -> list[tuple[tuple[str, ...], click.Command]]:
    found = []
    for name, command in group.commands.items():
        inner = commands(command, *path, name) if isinstance(command, click.Group) else [((*path, name), command)]
        found += inner
    return found


@pytest.mark.parametrize(("path", "command"), commands(application), ids=str)
def test_every_command_has_help_with_an_example(path: tuple[str, ...], command: click.Command) -> None:
    result = CliRunner().invoke(application, [*path, "--help"], prog_name="mtls-as")
    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert f"mtls-as {' '.join(path)}" in result.stdout.partition("Example")[2]
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_every_listing_has_json() -> None:
    for path, command in commands(application):
        if path[-1] in {"list", "show", "explain"}:
            assert "as_json" in {parameter.name for parameter in command.params}, path
