"""The clock of the machine jumps under a node's process: nothing is forgotten, there is no wrong yes, and no fault.

libfaketime stands between the process and the system's clock; the clock that only ever goes on is left alone, as it is
where somebody sets a machine's time.
"""

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jwt
import pytest

from mtls_as.server.signing_keys import generate_signing_key
from tests.faults.site import Site
from tests.faults.traffic import WORK, Ledger, Users, find_forgotten, work
from tests.faults.zygote import Zygote, running_zygote
from tests.programs import require_program

pytestmark = pytest.mark.slow

JUMPS = (240, -240, 3_000, -3_000)
"""Seconds. The first two are within what clocks may differ by, the others beyond the life of an assertion."""


@dataclass
class Clock:
    """What the processes of a zygote take for the time."""

    file: Path
    zygote: Zygote

    def jump(self, seconds: int) -> None:
        """Be so much ahead of the time from now on."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(self.file)


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[Clock]:
    """One that is right at first."""
    library = require_program("libfaketimeMT.so.1", folders="usr/lib/*/faketime")
    file = tmp_path / "clock"
    file.write_text("+0\n")
    with running_zygote(
        LD_PRELOAD=library,
        FAKETIME_TIMESTAMP_FILE=str(file),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
        FAKETIME_FORCE_MONOTONIC_FIX="0",  # else it delays whoever waits for a time
    ) as zygote:
        yield Clock(file, zygote)


async def test_the_clock_jumps_ahead_and_back(tmp_path: Path, clock: Clock) -> None:
    """Under load. What was acknowledged while it was right holds at every other time, and when it is right again."""
    site = await asyncio.to_thread(Site, tmp_path)
    async with site.storage() as storage:  # a key that signs before the others are there
        yesterday = time.time() - 86_400
        await storage.signing_keys.add(generate_signing_key("ES256", created_at=yesterday, activates_at=yesterday))
    place, ledger, others = site.node(0), Ledger(), Ledger()
    with place.running(clock.zygote):
        async with Users(site, place.url, ledger) as users, Users(site, place.url, others) as crowd:
            for each in 3 * WORK:
                await each(users)
            end = asyncio.Event()
            tasks = [asyncio.create_task(work(crowd, random.Random(number), end)) for number in range(2)]
            for seconds in JUMPS:
                clock.jump(seconds)
                claims = jwt.decode(await users.fetch(), options={"verify_signature": False})
                assert abs(claims["iat"] - time.time() - seconds) < 30
                assert [await users.is_active(token) for token in ledger.revoked] == [False] * 3
                assert [await users.replay(form) for form in ledger.used] == [401] * 3
                await asyncio.sleep(1)
                clock.jump(0)
                assert await find_forgotten(users) == []
            end.set()
            await asyncio.gather(*tasks)
    assert (ledger.faults, others.faults) == ([], [])
    assert others.statuses["token 200"] > 0
