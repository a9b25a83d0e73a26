"""Whatever happens to the authorization server, its keys and the client's certificate: callers of services see nothing.

Clients of every kind call a resource server over and over meanwhile. No call may fail, and no client may have more than
one call refused and made once more. The authorization server, and the resource server for HTTP and gRPC, are processes.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from mtls_as.client import TokenSource
from tests.authority import dns
from tests.cli.workplace import ROOT, Process, free_ports, running
from tests.faults.callers import Load, Target, calling
from tests.interop.site import Site, started

pytestmark = pytest.mark.slow

OF_EACH = 3
LIFETIME = 20
"""Seconds of a token: clients ask for the next one 2 to 4 seconds before its end."""
OUTAGE = 1.0
"""Seconds from the end of the server to its next start; it serves a second or two later."""


@dataclass
class World:
    """The processes, and what may happen to them."""

    site: Site
    target: Target
    server: Process

    def interrupt(self, how: signal.Signals) -> None:
        """End the authorization server, and start it again a little later."""
        self.server.end(how)
        time.sleep(OUTAGE)
        self.server = start(self.site)

    def rotate(self, *options: str) -> None:
        with running("keys", "rotate", *options, cwd=self.site.folder) as command:
            assert command.wait() == 0, command.errors

    def renew(self) -> None:
        """Another certificate, with another key, in the same files."""
        identity = self.site.authority.issue("c1", san=[dns("c1.example")])
        for new, old in zip(identity.write(self.site.folder / "new", "c1"), self.site.files("c1"), strict=True):
            new.replace(old)
        self.site.parties["c1"] = identity

    def counts(self) -> dict[str, dict[str, int]]:
        """How often the resource server gave each client an answer of each status."""
        url = f"{self.target.origin}/counts"
        found: dict[str, dict[str, int]] = httpx.get(url, verify=self.site.context(), trust_env=False).json()
        return found

    def tokens(self) -> TokenSource:
        certificate, key = self.site.files("c1")
        return TokenSource(
            issuer=self.site.issuer, client_id="c1", certificate=certificate, private_key=key, ca=self.site.ca
        )


_processes = contextlib.ExitStack()


def start(site: Site) -> Process:
    """The authorization server, serving."""
    process = _processes.enter_context(running("serve", cwd=site.folder))
    process.wait_until_listening(site.mtls_port)
    return process


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    site = Site.make(tmp_path, lifetime=LIFETIME)
    (grpc_port,) = free_ports(1)
    certificate, key = site.files("server")
    environment = os.environ | {
        "ISSUER": site.issuer, "AUDIENCE": site.resource, "CA": site.ca, "CERTIFICATE": certificate, "PRIVATE_KEY": key,
        "BIND": f"127.0.0.1:{site.resource_port}", "GRPC_BIND": f"127.0.0.1:{grpc_port}", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.faults.counting_resource_server"]
    with _processes.pop_all(), started(command, environment, tmp_path / "log", r"listening on (https://\S+)"):
        try:
            yield World(site, Target(site.resource, f"localhost:{grpc_port}"), start(site))
        finally:
            _processes.close()


def let_pass(load: Load, seconds: float) -> None:
    """Time in which every client makes calls."""
    before = {caller.name: caller.calls for caller in load.callers}
    time.sleep(seconds)
    assert [caller.name for caller in load.callers if caller.calls == before[caller.name]] == []


def judge(world: World, load: Load, event: str) -> None:
    """No call failed, and nobody needed more than one retry."""
    counts = world.counts()
    refused = {name: of_each.get("401", 0) for name, of_each in counts.items()}
    retried = sum(refused.values())
    said = f"{load.calls()} calls of {len(load.callers)} clients, {retried} retries, {len(load.failures())} failures"
    print(f"{event}: {said}")  # noqa: T201 # seen with -s
    assert load.failures()[:5] == []
    assert {name: times for name, times in refused.items() if times > 1} == {}
    assert {status for of_each in counts.values() for status in of_each} <= {"200", "401"}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
def test_the_authorization_server_is_interrupted(world: World, how: signal.Signals) -> None:
    """Tokens are used to their end meanwhile, and renewed when it is there again."""
    with calling(world.target, world.tokens, of_each=OF_EACH) as load:
        let_pass(load, LIFETIME - 6)
        world.interrupt(how)
        let_pass(load, LIFETIME / 2)
    judge(world, load, how.name)


@pytest.mark.parametrize("options", [(), ("--now",), ("--leaked",)], ids=["ahead", "now", "leaked"])
def test_its_keys_are_rotated(world: World, options: tuple[str, ...]) -> None:
    """Published ahead, in use at once, or with all tokens of the old key withdrawn."""
    with calling(world.target, world.tokens, of_each=OF_EACH) as load:
        let_pass(load, 3)
        world.rotate(*options)
        let_pass(load, LIFETIME + 2)
    judge(world, load, f"rotate {' '.join(options)}")


def test_the_clients_certificate_is_renewed(world: World) -> None:
    """Twice: connections and tokens change together."""
    with calling(world.target, world.tokens, of_each=OF_EACH) as load:
        for _ in range(2):
            let_pass(load, 3)
            world.renew()
        let_pass(load, 4)
    judge(world, load, "renewal")


def test_all_of_it_at_once(world: World) -> None:
    """The certificate is renewed while the server is away, which comes back with another key."""
    with calling(world.target, world.tokens, of_each=OF_EACH) as load:
        let_pass(load, 3)
        world.server.end(signal.SIGKILL)
        world.renew()
        let_pass(load, 2)
        world.rotate("--leaked")
        world.server = start(world.site)
        let_pass(load, LIFETIME)
    judge(world, load, "all at once")
