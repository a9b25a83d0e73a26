"""The reloader by itself: what is fixed, what is tried again, and what becomes of what it remembers."""

import asyncio
import contextlib
import gc
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mtls_as.config import ConfigurationError
from mtls_as.observability.event_log import EventLog
from mtls_as.observability.event_outputs import StreamOutput
from mtls_as.server.events import ReloadEvent, ReloadOutcome
from mtls_as.wiring import Reloader, open_node, read_settings
from mtls_as.wiring.fixed_keys import fixed_keys, refuse_changes
from mtls_as.wiring.reload import RETRY_SECONDS
from tests.authority import Authority
from tests.running import Deployment

ROOT = Authority.create("Root")


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    deployment = Deployment(tmp_path).trust("default", ROOT)
    deployment.write()
    return deployment


async def test_what_failed_is_tried_again_after_a_while(deployment: Deployment) -> None:
    """Each minute, since the cause may be elsewhere; what succeeded is not."""
    settings, looked = read_settings(deployment.path)
    now, events = [0.0], list[ReloadEvent]()
    async with open_node(settings, emit=lambda _event: None) as node:
        reloader = Reloader(node, looked=looked, asked=asyncio.Event(), note=events.append, monotonic=lambda: now[0])
        following = asyncio.create_task(reloader.follow(every=0.01))
        anchor = deployment.folder / "anchor-default-0.pem"
        anchor.write_text("")
        await wait_for(lambda: len(events) == 1)
        now[0] += RETRY_SECONDS - 1
        await asyncio.sleep(0.1)
        assert len(events) == 1
        now[0] += 1
        await wait_for(lambda: len(events) == 2)
        anchor.write_text(ROOT.pem)
        await wait_for(lambda: len(events) == 3)
        now[0] += 2 * RETRY_SECONDS
        await asyncio.sleep(0.1)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    failed, succeeded = ReloadOutcome.FAILED, ReloadOutcome.SUCCEEDED
    assert [event.outcome for event in events] == [failed, failed, succeeded]


async def wait_for(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 # what is waited for tells nobody
            await asyncio.sleep(0.01)


async def test_asking_reloads_at_once_and_only_once(deployment: Deployment) -> None:
    """As SIGHUP does; several at once are one."""
    settings, looked = read_settings(deployment.path)
    asked, events = asyncio.Event(), list[ReloadEvent]()
    async with open_node(settings, emit=lambda _event: None) as node:
        reloader = Reloader(node, looked=looked, asked=asked, note=events.append)
        following = asyncio.create_task(reloader.follow(every=60))
        asked.set()
        asked.set()
        await wait_for(lambda: len(events) == 1)
        await asyncio.sleep(0.05)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert [(event.cause, event.generation) for event in events] == [("signal", 2)]


async def test_reloads_wait_for_each_other(deployment: Deployment) -> None:
    """Each makes the next generation of the one before."""
    settings, looked = read_settings(deployment.path)
    async with open_node(settings, emit=lambda _event: None) as node:
        reloader = Reloader(node, looked=looked, asked=asyncio.Event(), note=lambda _event: None)
        events = await asyncio.gather(*(reloader.reload("test") for _ in range(5)))
    assert [event.generation for event in events] == [2, 3, 4, 5, 6]


async def test_a_flood_of_calls_costs_two_reloads(deployment: Deployment) -> None:
    """One that has begun when the others come, and one for all of these: it begins after each of them has asked."""
    settings, looked = read_settings(deployment.path)
    events = list[ReloadEvent]()
    async with open_node(settings, emit=lambda _event: None) as node:
        reloader = Reloader(node, looked=looked, asked=asyncio.Event(), note=events.append)
        first = asyncio.create_task(reloader.reload_all("first"))
        await asyncio.sleep(0.01)
        others = await asyncio.gather(*(reloader.reload_all("flood") for _ in range(50)))
        told = await first
    assert [(event.cause, event.generation) for event in events] == [("first", 2), ("flood", 3)]
    assert [each.generation for each in told] == [2]
    assert {each.generation for reloads in others for each in reloads} == {3}


async def test_what_is_remembered_of_stored_clients_and_spiffe_outlives_a_reload(deployment: Deployment) -> None:
    """The storage, the keys, and the bundles stay; declared clients and trust are new."""
    settings, looked = read_settings(deployment.path)
    async with open_node(settings, emit=lambda _event: None) as node:
        foundation, before = node.foundation, node.generation
        reloader = Reloader(node, looked=looked, asked=asyncio.Event(), note=lambda _event: None)
        await reloader.reload("test")
        assert node.foundation is foundation
        assert node.generation.federation is before.federation
        assert node.generation.trust is not before.trust
        assert (before.trust.value.generation, node.trust.generation) == (1, 2)


@contextlib.contextmanager
def frozen_memory() -> Iterator[None]:
    """As a server has it that has settled: what is there now is never collected."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def test_the_lists_of_a_removed_domain_are_followed_no_longer(deployment: Deployment) -> None:
    """Whoever else still remembers the first generation, and although the collector never looks at it."""
    sections = list(deployment.sections)
    deployment.trust("gone", ROOT, options='crl = ["gone.crl"]').configure()
    settings, looked = read_settings(deployment.path)
    async with open_node(settings, emit=lambda _event: None) as node:
        reloader = Reloader(node, looked=looked, asked=asyncio.Event(), note=lambda _event: None)
        with frozen_memory():
            assert [domain.name for domain in node.revocation.domains()] == ["gone"]
            await reloader.reload("test")
            assert [domain.name for domain in node.revocation.domains()] == ["gone"]
            deployment.sections[:] = sections
            deployment.configure()
            event = await reloader.reload("test")
            assert event.outcome is ReloadOutcome.SUCCEEDED
            assert node.revocation.domains() == []


def test_a_worker_that_starts_late_takes_no_other_fixed_keys(deployment: Deployment) -> None:
    """It is told those of its fellows; the message names each key that differs."""
    fixed = fixed_keys(read_settings(deployment.path)[0])
    refuse_changes(read_settings(deployment.path)[0], fixed)
    deployment.issuer, deployment.workers = "https://other.example", 7
    deployment.configure()
    with pytest.raises(ConfigurationError) as caught:
        refuse_changes(read_settings(deployment.path)[0], fixed)
    assert [problem.place for problem in caught.value.problems] == ["issuer", "server.workers"]


def test_a_reload_is_one_line_of_the_event_log() -> None:
    """With a stable name, and numbers as numbers."""
    stream = io.BytesIO()
    log = EventLog(StreamOutput(stream), clock=lambda: 0.0)
    with log.writing():
        log(ReloadEvent(cause="signal", outcome=ReloadOutcome.FAILED, generation=3, detail="a\nb"))
    assert json.loads(stream.getvalue()) == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "event": "reload",
        "cause": "signal",
        "outcome": "failed",
        "generation": 3,
        "detail": "a\nb",
    }
