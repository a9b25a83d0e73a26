"""SIGKILL at any moment of a node's work: whatever it has acknowledged is known to the next one.

A hundred rounds. Two nodes serve at a time, and a third one starts meanwhile: the first is killed, and what it had
acknowledged in its last moments is asked of the second; then the third takes its place.
"""

import asyncio
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.faults.site import Site, events
from tests.faults.traffic import Ledger, Users, find_forgotten, work
from tests.faults.zygote import Child, Zygote
from tests.postgresql import PostgreSQL

pytestmark = pytest.mark.slow

ROUNDS = {"sqlite": 80, "postgresql": 20}
WORKERS = 4
SEED = 20_261_121


async def rotate_keys(site: Site, ledger: Ledger, end: asyncio.Event) -> None:
    """What `mtls-as keys rotate` does; its new key was acknowledged when this process knows it."""
    async with site.storage() as storage:
        while not end.is_set():
            made = await storage.signing_keys.rotate("ES256", at=time.time(), publish_ahead=60, overlap=3_600)
            ledger.kids.append(made.kid)
            await asyncio.sleep(0.3)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_killed_node_has_acknowledged_nothing_in_vain(
    kind: str, tmp_path: Path, zygote: Zygote, request: pytest.FixtureRequest
) -> None:
    """Revocations, registrations, used assertions, opaque tokens and keys."""
    randomness = random.Random(SEED)
    if kind == "sqlite":
        await _kill_in_rounds(await asyncio.to_thread(Site, tmp_path), zygote, randomness, ROUNDS[kind])
        return
    server: PostgreSQL = request.getfixturevalue("postgresql")
    with server.database() as url:
        site = await asyncio.to_thread(lambda: Site(tmp_path, storage_url=url))
        await _kill_in_rounds(site, zygote, randomness, ROUNDS[kind])


async def _kill_in_rounds(site: Site, zygote: Zygote, randomness: random.Random, rounds: int) -> None:
    places = [site.node(number) for number in range(3)]
    children: list[Child] = [place.start(zygote) for place in places[:2]]
    everything, checked = Ledger(), 0
    try:
        for number in range(rounds):
            (victim_place, victim), (next_place, heir) = zip(places, children, strict=False)
            await asyncio.to_thread(victim_place.wait_until_serving, victim)
            children.append(places[2].start(zygote))
            ledger, end = Ledger(), asyncio.Event()
            async with Users(site, victim_place.url, ledger) as users:
                tasks = [
                    asyncio.create_task(work(users, random.Random(randomness.random()), end)) for _ in range(WORKERS)
                ]
                tasks.append(asyncio.create_task(rotate_keys(site, ledger, end)))
                async with asyncio.timeout(30):
                    while not ledger.facts() - len(ledger.kids):  # noqa: ASYNC110 # so that there is one to forget
                        await asyncio.sleep(0.01)
                await asyncio.sleep(randomness.uniform(0, 0.5))
                os.kill(victim.pid, signal.SIGKILL)
                end.set()
                await asyncio.gather(*tasks)
            assert victim.wait() == -signal.SIGKILL
            await asyncio.to_thread(next_place.wait_until_serving, heir)
            async with Users(site, next_place.url, ledger) as users:
                assert await find_forgotten(users) == [], f"in round {number}"
            assert ledger.faults == [], f"in round {number}"
            _add(everything, ledger)
            checked += ledger.facts()
            children.pop(0)
            places.append(places.pop(0))
        async with Users(site, places[0].url, everything) as users:
            everything.used.clear()  # their assertions have ended by now
            assert await find_forgotten(users) == []
        print(f"{rounds} rounds, {checked} facts, {dict(everything.statuses)}")  # noqa: T201 # seen with -s
        assert checked > rounds
        assert not any(event.get("refusal") == "internal_error" for child in children for event in events(child.log))
    finally:
        for child in children:
            child.send(signal.SIGKILL)
            child.wait()


def _add(everything: Ledger, ledger: Ledger) -> None:
    for name in ("revoked", "used", "opaque", "registered", "kids"):
        getattr(everything, name).extend(getattr(ledger, name))
    everything.statuses.update(ledger.statuses)
