"""The commands against a server in a process of its own: a token is fetched, verified, and refused."""

import contextlib
import json
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.cli.workplace import Workplace, running

NOTICE_SECONDS = 10.0
POLL_SECONDS = 0.2


def credentials(workplace: Workplace, stem: str) -> tuple[str, ...]:
    certs = workplace.folder / "certs"
    return (
        "--cert",
        str(certs / f"{stem}.pem"),
        "--key",
        str(certs / f"{stem}-key.pem"),
        "--ca",
        str(certs / "ca.pem"),
    )


def token_command(workplace: Workplace, client_id: str = "reports", stem: str = "reports") -> tuple[str, ...]:
    return ("token", "--issuer", workplace.issuer, "--client-id", client_id, *credentials(workplace, stem))


def verify_command(workplace: Workplace, stem: str | None = "reports") -> tuple[str, ...]:
    certificate = () if stem is None else ("--certificate", workplace.path(f"certs/{stem}.pem"))
    audience = f"https://localhost:{workplace.resource_port}"
    ca = workplace.path("certs/ca.pem")
    return ("verify", "--issuer", workplace.issuer, "--audience", audience, "--ca", ca, *certificate)


def test_a_token_is_printed_alone_and_verifies(served: Workplace) -> None:
    printed = served.succeed(*token_command(served))
    assert printed.count("\n") == 1
    answer = json.loads(served.succeed(*verify_command(served), "--scope", "reports:read", "--json", input=printed))
    assert answer["valid"]
    assert (answer["claims"]["client_id"], answer["claims"]["scope"]) == ("reports", "reports:read")
    explained = json.loads(served.succeed("cert", "explain", "certs/reports.pem", "--json"))
    assert answer["claims"]["x5t#S256"] == explained["x5t#S256"]


def test_the_whole_answer_is_json(served: Workplace) -> None:
    scope = ("--scope", "reports:write", "--resource", f"https://localhost:{served.resource_port}")
    answer = json.loads(served.succeed(*token_command(served, "billing", "billing"), *scope, "--json"))
    assert (answer["token_type"], answer["scope"]) == ("Bearer", "reports:write")
    assert 290 <= answer["expires_in"] <= 300


@pytest.mark.parametrize(
    ("stem", "options", "message"),
    [
        ("billing", (), "invalid_token: other_certificate: "),
        (None, (), "invalid_token: no_certificate: "),
        ("reports", ("--scope", "reports:write"), "insufficient_scope: needs reports:write"),
        ("reports", ("--audience", "https://localhost"), "invalid_token: claim_refused: aud"),
    ],
)
def test_a_token_that_is_not_good_is_status_1(
    served: Workplace, stem: str | None, options: tuple[str, ...], message: str
) -> None:
    printed = served.succeed(*token_command(served))
    assert message in served.fail(*verify_command(served, stem), *options, input=printed)
    result = served.run(*verify_command(served, stem), *options, "--json", input=printed)
    assert (result.exit_code, json.loads(result.stdout)["valid"]) == (1, False)


def test_a_token_comes_from_a_file_and_keys_too(served: Workplace, tmp_path: Path) -> None:
    file, jwks = tmp_path / "token", tmp_path / "jwks.json"
    file.write_text(served.succeed(*token_command(served)))
    context = ssl.create_default_context(cafile=served.path("certs/ca.pem"))
    jwks.write_text(httpx.get(f"{served.issuer}/jwks", verify=context, trust_env=False).text)
    said = served.succeed(*verify_command(served), "--token", str(file), "--jwks", str(jwks))
    assert said.startswith("The token is valid.\n")


def test_junk_is_malformed(served: Workplace) -> None:
    assert "invalid_token: malformed: " in served.fail(*verify_command(served), input="junk\n")


def test_a_refused_client_reads_the_oauth_error(served: Workplace) -> None:
    message = served.fail(*token_command(served, stem="other"))
    assert message == "invalid_client: Client authentication failed."


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--cert", "none.pem", "none.pem: No such file"),
        ("--key", "certs/billing-key.pem", "does not go with"),
        ("--ca", "config.toml", "config.toml: no CA certificates"),
        ("--ca", "certs/other-ca.pem", "certificate verify failed"),
        ("--issuer", "http://localhost", "issuer: "),
        ("--issuer", "https://localhost:1", "https://localhost:1/"),
    ],
)
def test_a_token_that_cannot_be_fetched_says_why(served: Workplace, option: str, value: str, message: str) -> None:
    assert message in served.fail(*token_command(served), option, value)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--certificate", "none.pem", "none.pem: No such file"),
        ("--ca", "none.pem", "none.pem: "),
        ("--ca", "config.toml", "config.toml: "),
        ("--jwks", "config.toml", "config.toml: the text is not JSON"),
        ("--issuer", "not a url", "issuer"),
    ],
)
def test_a_token_that_cannot_be_verified_says_why(served: Workplace, option: str, value: str, message: str) -> None:
    printed = served.succeed(*token_command(served))
    assert message in served.fail(*verify_command(served), option, value, input=printed)


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for another process to notice."""
    deadline = time.monotonic() + NOTICE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "not noticed"
        threading.Event().wait(POLL_SECONDS)


def test_a_running_server_notices_registrations(served: Workplace) -> None:
    """Added, disabled, enabled, deleted: the server follows each within a second or so."""
    arguments = token_command(served, "partner", "partner")
    before = served.run(*arguments)
    assert before.exit_code == 1
    served.succeed(
        "client", "add", "--client-id", "partner", "--certificate", "certs/partner.pem", "--scope", "reports:read"
    )
    eventually(lambda: served.run(*arguments).exit_code == 0)
    served.succeed("client", "disable", "partner")
    eventually(lambda: served.run(*arguments).exit_code == 1)
    served.succeed("client", "enable", "partner")
    eventually(lambda: served.run(*arguments).exit_code == 0)
    served.succeed("client", "delete", "partner")
    eventually(lambda: served.run(*arguments).exit_code == 1)


def test_a_running_server_notices_a_rotation(served: Workplace) -> None:
    """The new key is published by the running server, and then signs."""
    served.succeed("keys", "rotate", "--now")
    kids = {key["state"]: key["kid"] for key in json.loads(served.succeed("keys", "list", "--json"))}
    context = ssl.create_default_context(cafile=served.path("certs/ca.pem"))

    def published() -> bool:
        keys = httpx.get(f"{served.issuer}/jwks", verify=context, trust_env=False).json()["keys"]
        return kids["active"] in {key["kid"] for key in keys}

    eventually(published)
    assert "is valid" in served.succeed(*verify_command(served), input=served.succeed(*token_command(served)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_with_status_0(workplace: Workplace, number: signal.Signals) -> None:
    with running("serve", cwd=workplace.folder) as server:
        server.wait_until_listening(workplace.port)
        assert server.end(number) == 0, server.errors
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.1", workplace.port)):
        pass


@pytest.mark.parametrize("workers", [1, 2])
def test_signals_of_the_first_moment_wait_for_the_server(workplace: Workplace, workers: int) -> None:
    """As soon as its address is bound: SIGHUP does not end it, and SIGTERM ends it well."""
    workplace.edit("workers = 1", f"workers = {workers}")
    with running("serve", cwd=workplace.folder) as server:
        while server.child.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", workplace.port)):
                break
        server.child.send_signal(signal.SIGHUP)
        assert server.end(signal.SIGTERM) == 0, server.errors


def test_the_log_has_one_line_for_each_token_request(workplace: Workplace) -> None:
    with workplace.serving() as server:
        workplace.succeed(*token_command(workplace))
        workplace.fail(*token_command(workplace, stem="other"))
    lines = [json.loads(line) for line in server.output.splitlines()]
    token_lines = [line for line in lines if line["endpoint"] == "token"]
    assert [(line["outcome"], line.get("refusal")) for line in token_lines] == [
        ("answered", None),
        ("refused", "untrusted_issuer"),
    ]
