"""The disk of a SQLite database is full: what must be written is refused, what need not be goes on, nothing is torn."""

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.site import Site
from tests.faults.test_outage import NEEDS_THE_DATABASE, status
from tests.faults.traffic import WORK, Ledger, Users, find_forgotten
from tests.faults.zygote import Zygote

pytestmark = pytest.mark.slow

DISK_BYTES = 3 * 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "mtls-as-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        if os.environ.get("CI") == "true":
            pytest.fail("needs to mount a small file system, as root can")
        pytest.skip("needs to mount a small file system, as root can")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all the room that is left."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(folder).free == 0
    return ballast


async def test_a_full_disk_stops_what_must_be_written(small_disk: Path, tmp_path: Path, zygote: Zygote) -> None:
    """With 503 and nothing half done; tokens of known clients and introspection go on, and all else does with room."""
    url = f"sqlite:///{small_disk}/test.db"
    site = await asyncio.to_thread(lambda: Site(tmp_path, storage_url=url))
    place, ledger = site.node(0), Ledger()
    with place.running(zygote):
        async with Users(site, place.url, ledger) as users:
            for each in WORK:
                await each(users)
            token = await users.fetch()
            for _ in range(3):
                ballast = fill(small_disk)
                refused = [await status(each(users)) for _ in range(20) for each in NEEDS_THE_DATABASE]
                assert set(refused) <= {200, 503}
                assert set(refused[-len(NEEDS_THE_DATABASE) :]) == {503}
                assert await users.fetch("c1")
                assert await users.is_active(token)
                assert not await users.is_active(ledger.revoked[0])
                ballast.unlink()
                assert {await status(each(users)) for each in WORK} == {200}
                assert await find_forgotten(users) == []
    with place.running(zygote):
        async with Users(site, place.url, ledger) as users:
            assert await find_forgotten(users) == []
    assert ledger.faults == []
