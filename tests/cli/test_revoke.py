"""`revoke` on the command line, and what running servers make of it."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.test_processes import token_command
from tests.cli.workplace import Process, Workplace, free_ports, running
from tests.end_to_end.conftest import fresh_database

NOTICE_SECONDS = 3.0
"""Polling takes a second; the rest is for a machine that is busy."""


def prepare(workplace: Workplace) -> None:
    """The resource server `billing` may introspect; tokens of a second resource are opaque."""
    workplace.edit("introspection_clients = []", 'introspection_clients = ["billing"]')
    text = workplace.config.read_text()
    resource = (
        '[[resources]]\nidentifier = "https://opaque.example"\nscopes = ["files:read"]\ntoken_format = "opaque"\n'
    )
    text = text.replace("[[clients]]", resource + 'introspection_clients = ["billing"]\n\n[[clients]]', 1)
    declared = '\nscope = "reports:read"\n'
    assert text.count(declared) == 1
    workplace.config.write_text(text.replace(declared, '\nscope = "reports:read files:read"\n'))


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def prepared(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Workplace]:
    """A workplace whose server runs, on each kind of database."""
    with fresh_database(request.param, request) as storage:
        workplace = Workplace.make(tmp_path_factory.mktemp("revoke"), storage=storage)
        prepare(workplace)
        with workplace.serving():
            yield workplace


def fetch(workplace: Workplace, resource: str | None = None) -> str:
    resource = resource or f"https://localhost:{workplace.resource_port}"
    return workplace.succeed(*token_command(workplace), "--resource", resource).strip()


def introspect(workplace: Workplace, token: str, *, issuer: str | None = None) -> dict[str, Any]:
    """The answer to `billing`."""
    context = ssl.create_default_context(cafile=workplace.path("certs/ca.pem"))
    context.load_cert_chain(workplace.path("certs/billing.pem"), workplace.path("certs/billing-key.pem"))
    with httpx.Client(verify=context, trust_env=False) as client:
        form = {"client_id": "billing", "token": token}
        response = client.post(f"{issuer or workplace.issuer}/introspect", data=form)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def soon(condition: Callable[[], bool]) -> None:
    """Wait for another process, not for long."""
    deadline = time.monotonic() + NOTICE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "not noticed"
        threading.Event().wait(0.05)


OPAQUE = "https://opaque.example"


@pytest.mark.parametrize("resource", [None, OPAQUE])
def test_a_token_on_standard_input(prepared: Workplace, resource: str | None) -> None:
    token, other = fetch(prepared, resource), fetch(prepared, resource)
    assert introspect(prepared, token)["active"]
    said = prepared.succeed("revoke", "token", input=token + "\n")
    assert "is revoked" in said
    assert token not in said
    soon(lambda: introspect(prepared, token) == {"active": False})
    assert introspect(prepared, other)["active"]


def test_a_token_by_its_id(prepared: Workplace) -> None:
    """The `token_id` of the log is enough."""
    token = fetch(prepared)
    prepared.succeed("revoke", "token", "--id", introspect(prepared, token)["jti"])
    soon(lambda: not introspect(prepared, token)["active"])


def test_the_tokens_of_a_client(prepared: Workplace) -> None:
    tokens = [fetch(prepared), fetch(prepared, OPAQUE)]
    assert "The tokens of reports issued before" in prepared.succeed("revoke", "client", "reports")
    soon(lambda: not any(introspect(prepared, token)["active"] for token in tokens))
    threading.Event().wait(1)  # times in tokens are whole seconds
    assert introspect(prepared, fetch(prepared))["active"]


@pytest.mark.parametrize("by", ["file", "thumbprint"])
def test_the_tokens_of_a_certificate(prepared: Workplace, by: str) -> None:
    threading.Event().wait(1)  # times in tokens are whole seconds
    token = fetch(prepared)
    thumbprint = introspect(prepared, token)["cnf"]["x5t#S256"]
    arguments = [prepared.path("certs/reports.pem")] if by == "file" else ["--thumbprint", thumbprint]
    assert thumbprint in prepared.succeed("revoke", "certificate", *arguments)
    soon(lambda: not introspect(prepared, token)["active"])


def test_everything_before_a_time(prepared: Workplace) -> None:
    threading.Event().wait(1)  # times in tokens are whole seconds
    token = fetch(prepared)
    prepared.succeed("revoke", "before", "2001-01-01T00:00:00Z")
    prepared.succeed("revoke", "client", "reports", "--before", "2001-01-01T00:00:00+02:00")
    assert introspect(prepared, token)["active"]
    prepared.succeed("revoke", "before", "now")
    soon(lambda: not introspect(prepared, token)["active"])


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["token"], 1, "no token of this server"),
        (["token", "--id", ""], 1, "token_id is empty"),
        (["client", "nobody"], 1, "no client nobody is registered"),
        (["certificate", "none.pem"], 1, "none.pem: No such file"),
        (["certificate", "config.toml"], 1, "config.toml: "),
        (["certificate", "--thumbprint", "a"], 1, "an x5t#S256 is the SHA-256 of a certificate"),
        (["certificate"], 2, "give the certificate's file, or its --thumbprint"),
        (["certificate", "certs/ca.pem", "--thumbprint", "a" * 43], 2, "or its --thumbprint"),
        (["before"], 2, "TIME"),
        (["before", "yesterday"], 2, "is neither now nor a time"),
        (["before", "2001-01-01T00:00:00"], 2, "is neither now nor a time"),
        (["before", "2999-01-01T00:00:00Z"], 2, "is still to come"),
    ],
)
def test_what_cannot_be_revoked_says_why(shared: Workplace, arguments: list[str], status: int, message: str) -> None:
    assert message in shared.fail("revoke", *arguments, status=status, input="junk\n")


def second_node(workplace: Workplace) -> tuple[Path, str]:
    """The configuration of another server on the same database, and its URL; the issuer is one."""
    (port,) = free_ports(1)
    text = workplace.config.read_text()
    text = text.replace(f'bind = "127.0.0.1:{workplace.port}"', f'bind = "127.0.0.1:{port}"')
    file = workplace.folder / "second.toml"
    file.write_text(text)
    return file, f"https://localhost:{port}"


def wait_until_serving(process: Process, url: str) -> None:
    process.wait_until_listening(int(url.rpartition(":")[2]))


@pytest.mark.slow
def test_two_nodes_agree_and_a_killed_one_comes_back_knowing(workplace: Workplace) -> None:
    """What one acknowledges is revoked on the other within a second or so, and after SIGKILL and a restart of both."""
    prepare(workplace)
    file, second = second_node(workplace)
    first = workplace.issuer
    kinds: list[Callable[[str], object]] = [
        lambda token: workplace.succeed("revoke", "token", input=token),
        lambda token: revoke_over_http(workplace, first, token),
        lambda token: revoke_over_http(workplace, second, token),
    ]
    revoked, kept = [], []
    with (
        running("serve", cwd=workplace.folder) as one,
        running("serve", "--config", str(file), cwd=workplace.folder) as two,
    ):
        wait_until_serving(one, first)
        wait_until_serving(two, second)
        for revoke in kinds:
            for resource in (None, OPAQUE):
                token, other = fetch(workplace, resource), fetch(workplace, resource)
                for url in (first, second):
                    assert introspect(workplace, token, issuer=url)["active"]
                revoke(token)
                for url in (first, second):
                    soon(lambda url=url, token=token: introspect(workplace, token, issuer=url) == {"active": False})  # type: ignore[misc] # defaults bind the loop's variables
                revoked.append(token)
                kept.append(other)
        token = fetch(workplace)
        revoke_over_http(workplace, first, token)
        one.child.kill()  # at once after the answer
        soon(lambda: introspect(workplace, token, issuer=second) == {"active": False})
        two.child.kill()
        revoked.append(token)
        one.wait()
        two.wait()
    with running("serve", cwd=workplace.folder) as one:
        wait_until_serving(one, first)
        assert [introspect(workplace, token) for token in revoked] == [{"active": False}] * len(revoked)
        assert all(introspect(workplace, token)["active"] for token in kept)


def revoke_over_http(workplace: Workplace, url: str, token: str) -> None:
    """The client's own request."""
    context = ssl.create_default_context(cafile=workplace.path("certs/ca.pem"))
    context.load_cert_chain(workplace.path("certs/reports.pem"), workplace.path("certs/reports-key.pem"))
    with httpx.Client(verify=context, trust_env=False) as client:
        response = client.post(f"{url}/revoke", data={"client_id": "reports", "token": token})
    assert response.status_code == 200, response.text
