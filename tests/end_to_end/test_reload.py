"""Reloads of real processes: by SIGHUP in every worker, and under load."""

import asyncio
import json
import os
import signal
import ssl
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.authority import Authority, Identity, dns
from tests.cli.workplace import Process, free_ports
from tests.cli.workplace import running as running_process
from tests.running import Deployment, token_form

LOAD_SECONDS = 30
REQUESTS_PER_SECOND = 200
RELOADS = 30
BROKEN = {2, 8, 14, 20, 26}
"""Which of the reloads meet a broken file."""
NEW_CONNECTION_EVERY = 5
"""One request of so many comes over a new connection."""
WAIT_SECONDS = 20.0

PARTNER = Authority.create("Partner CA")
GUEST = Authority.create("Guest CA")
STRANGER = Authority.create("Partner CA")
"""A namesake of the partner's, which no configuration ever names."""


@dataclass
class Site:
    """A server in processes of its own, its files, and three who want tokens."""

    deployment: Deployment
    process: Process
    partner: Identity = field(default_factory=lambda: PARTNER.issue("partner", san=[dns("client.example")]))
    guest: Identity = field(default_factory=lambda: GUEST.issue("guest", san=[dns("client.example")]))
    stranger: Identity = field(default_factory=lambda: STRANGER.issue("stranger", san=[dns("client.example")]))

    @property
    def url(self) -> str:
        return f"https://localhost:{self.deployment.port}/token"

    def context(self, identity: Identity) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.deployment.server_authority.pem)
        folder = self.deployment.folder / "clients"
        context.load_cert_chain(*identity.write(folder, str(identity.certificate.serial_number)))
        return context

    def statuses(self, identity: Identity, count: int = 8) -> set[int]:
        """Of token requests over new connections, which the workers share."""
        context = self.context(identity)
        return {
            httpx.post(self.url, data=token_form(), verify=context, trust_env=False).status_code for _ in range(count)
        }

    def reloads(self) -> list[dict[str, object]]:
        """The events of reloads, of all workers."""
        lines = self.process.output.splitlines()
        events = [json.loads(line) for line in lines if line.endswith("}")]
        return [event for event in events if event.get("event") == "reload"]

    def write_anchor(self, content: str) -> None:
        """Replace the second anchor file at once."""
        new = self.deployment.folder / "new"
        new.write_text(content)
        new.rename(self.deployment.folder / "anchor-default-1.pem")

    def hang_up(self) -> list[dict[str, object]]:
        """Send SIGHUP; returns the events, one of each worker."""
        before = len(self.reloads())
        self.process.child.send_signal(signal.SIGHUP)
        eventually(lambda: len(self.reloads()) >= before + self.deployment.workers)
        return self.reloads()[before:]


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "not noticed"
        threading.Event().wait(0.05)


@contextmanager
def serving(folder: Path, *, workers: int) -> Iterator[Site]:
    """`mtls-as serve`, which must end well on SIGTERM."""
    deployment = Deployment(folder, port=free_ports(1)[0], workers=workers).trust("default", PARTNER, GUEST)
    deployment.sections.append("[limits]\nfailure_burst = 1000")  # the stranger is to be judged each time
    deployment.client("c1", tls_client_auth_san_dns="client.example")
    deployment.write()
    with running_process("serve", cwd=folder) as process:
        process.wait_until_listening(deployment.port)
        site = Site(deployment, process)
        # The address is bound before the workers serve.
        eventually(lambda: process.errors.count("start: generation 1 is in force") == workers)
        assert site.statuses(site.partner) == {200}
        yield site
        assert process.end(signal.SIGTERM) == 0, process.errors


@pytest.mark.parametrize("workers", [1, 2])
def test_sighup_reloads_every_worker(tmp_path: Path, workers: int) -> None:
    """A CA is removed, a file is broken, a client is removed, the issuer changes: all workers do the same."""
    with serving(tmp_path, workers=workers) as site:
        assert site.statuses(site.guest) == {200}
        site.write_anchor(PARTNER.pem)
        assert {(e["cause"], e["outcome"], e["generation"]) for e in site.hang_up()} == {("signal", "succeeded", 2)}
        assert (site.statuses(site.guest), site.statuses(site.partner)) == ({401}, {200})
        site.write_anchor(GUEST.pem[:200])
        events = site.hang_up()
        assert {(e["outcome"], e["generation"]) for e in events} == {("failed", 2)}
        assert all("anchor-default-1.pem" in str(e["detail"]) for e in events)
        assert "reload (signal) FAILED, generation 2 stays in force: trust domain 'default'" in site.process.errors
        assert (site.statuses(site.guest), site.statuses(site.partner)) == ({401}, {200})
        site.write_anchor(GUEST.pem)
        assert {e["outcome"] for e in site.hang_up()} == {"succeeded"}
        assert (site.statuses(site.guest), site.statuses(site.partner)) == ({200}, {200})
        site.deployment.issuer = "https://other.example"
        site.deployment.configure()
        assert all("issuer: cannot change while the server runs" in str(e["detail"]) for e in site.hang_up())
        site.deployment.issuer = "https://localhost:8443"
        site.deployment.sections.pop()
        site.deployment.configure()
        assert {e["outcome"] for e in site.hang_up()} == {"succeeded"}
        assert site.statuses(site.partner) == {401}


def test_files_that_change_are_noticed_without_a_signal(tmp_path: Path) -> None:
    """Within a few seconds, in both workers."""
    with serving(tmp_path, workers=2) as site:
        site.write_anchor(PARTNER.pem)
        eventually(lambda: len(site.reloads()) == 2)
        assert {(e["cause"], e["outcome"]) for e in site.reloads()} == {("file change", "succeeded")}
        assert site.statuses(site.guest) == {401}


def test_a_worker_that_is_replaced_serves_what_is_in_force(tmp_path: Path) -> None:
    """It reads the files anew, but never what needs a restart: its fellows go by the old issuer."""
    with serving(tmp_path, workers=2) as site:
        site.deployment.issuer = "https://other.example"
        site.deployment.configure()
        eventually(lambda: len(site.reloads()) == 2)
        (pid, *_) = children(site.process.child.pid)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: "issuer: cannot change while the server runs" in site.process.errors.split("Traceback")[-1])
        assert site.statuses(site.partner) == {200}


def children(pid: int) -> list[int]:
    """The worker processes; another child tracks what they share."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text, command = status.read_text(), (status.parent / "cmdline").read_text()
        except OSError:
            continue
        if f"\nPPid:\t{pid}\n" in text and "spawn_main" in command:
            found.append(int(status.parent.name))
    return found


@dataclass
class Tally:
    """What the requests of the load came to."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    losses: list[str] = field(default_factory=list)
    slowest: float = 0.0


@asynccontextmanager
async def load(site: Site, tally: Tally) -> AsyncIterator[None]:
    """Requests at a steady rate, whether or not the earlier ones are answered; a tenth of them is the stranger's."""
    people = {"partner": site.context(site.partner), "stranger": site.context(site.stranger)}
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=20)
    kept = {
        who: httpx.AsyncClient(verify=context, trust_env=False, limits=limits, timeout=WAIT_SECONDS)
        for who, context in people.items()
    }

    async def ask(number: int) -> None:
        who = "stranger" if number % 10 == 0 else "partner"
        started = time.monotonic()
        try:
            if number % NEW_CONNECTION_EVERY == 0:
                context = people[who]
                async with httpx.AsyncClient(verify=context, trust_env=False, timeout=WAIT_SECONDS) as client:
                    answer = await client.post(site.url, data=token_form())
            else:
                answer = await kept[who].post(site.url, data=token_form())
        except httpx.HTTPError as error:
            tally.losses.append(f"{who}: {error!r}")
        else:
            tally.answers[who, answer.status_code] += 1
            tally.slowest = max(tally.slowest, time.monotonic() - started)

    async def ask_steadily() -> None:
        started = time.monotonic()
        async with asyncio.TaskGroup() as requests:
            for number in range(LOAD_SECONDS * REQUESTS_PER_SECOND):
                await asyncio.sleep(max(0.0, started + number / REQUESTS_PER_SECOND - time.monotonic()))
                requests.create_task(ask(number))

    steadily = asyncio.create_task(ask_steadily())
    try:
        yield
        await steadily
    finally:
        steadily.cancel()
        await asyncio.gather(steadily, return_exceptions=True)
        for client in kept.values():
            await client.aclose()


async def reload_steadily(site: Site) -> None:
    """One reload after the other, spread over the load; each is checked with the guest, who comes and goes."""
    guest_is_trusted, generation = True, 1
    started = time.monotonic()
    for number in range(RELOADS):
        await asyncio.sleep(max(0.0, started + number * LOAD_SECONDS / RELOADS - time.monotonic()))
        is_broken = number in BROKEN
        if is_broken:
            content = (GUEST.pem + STRANGER.pem)[: 100 + 30 * number]  # cut off within one or the other
        else:
            guest_is_trusted, generation = not guest_is_trusted, generation + 1
            content = GUEST.pem if guest_is_trusted else PARTNER.pem
        await asyncio.to_thread(site.write_anchor, content)
        events = await asyncio.to_thread(site.hang_up)
        expected = ("failed" if is_broken else "succeeded", generation)
        assert {(event["outcome"], event["generation"]) for event in events} == {expected}
        statuses = await asyncio.to_thread(site.statuses, site.guest, 2)
        assert statuses == {200 if guest_is_trusted else 401}, number


async def reload_under_load(site: Site, tally: Tally) -> None:
    async with load(site, tally):
        await reload_steadily(site)


@pytest.mark.slow
def test_reloads_under_load_lose_no_request_and_never_widen_trust(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """200 requests a second for 30 seconds, and 30 reloads meanwhile, five of which meet a broken file."""
    with serving(tmp_path, workers=2) as site:
        tally = Tally()
        asyncio.run(reload_under_load(site, tally))
        record_property("slowest_answer_seconds", round(tally.slowest, 3))
        assert tally.losses == []
        total = LOAD_SECONDS * REQUESTS_PER_SECOND
        assert tally.answers == {("partner", 200): total * 9 // 10, ("stranger", 401): total // 10}
        outcomes = Counter(event["outcome"] for event in site.reloads())
        assert outcomes == {"succeeded": 2 * (RELOADS - len(BROKEN)), "failed": 2 * len(BROKEN)}
