"""The disk of the database is full: what must be written is refused, what need not be goes on, nothing is torn."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.site import Site
from tests.faults.test_outage import NEEDS_THE_DATABASE, status, within
from tests.faults.traffic import WORK, Ledger, Users, find_forgotten
from tests.faults.zygote import Zygote
from tests.postgresql import PostgreSQL, running_postgresql

pytestmark = pytest.mark.slow

DISK_BYTES = 3 * 2**20
SERVER_DISK_BYTES = 144 * 2**20
BACK_SECONDS = 60.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, DISK_BYTES):
        yield folder


@pytest.fixture
def server_on_small_disk() -> Iterator[PostgreSQL]:
    """A database server whose data has a file system of its own, with as little room as it starts with."""
    with tempfile.TemporaryDirectory(prefix="pg-") as name, mounted(Path(name), SERVER_DISK_BYTES):
        Path(name).chmod(0o755)  # the server runs as another user
        with running_postgresql(settings={"max_wal_size": "32MB", "min_wal_size": "32MB"}, within=Path(name)) as server:
            yield server


@contextlib.contextmanager
def mounted(folder: Path, size: int) -> Iterator[None]:
    """A file system of so many bytes there; only root may mount one."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "mtls-as-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        if os.environ.get("CI") == "true":
            pytest.fail("needs to mount a small file system, as root can")
        pytest.skip("needs to mount a small file system, as root can")
    try:
        yield
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


async def test_a_full_disk_of_a_database_server_loses_nothing(
    server_on_small_disk: PostgreSQL, tmp_path: Path, zygote: Zygote
) -> None:
    """What was acknowledged is there when there is room again; until then 503, and tokens for known clients go on.

    A server that finds no room for its log ends itself, and is started again by whoever makes room.
    """
    server = server_on_small_disk
    with server.database() as url:
        site = await asyncio.to_thread(lambda: Site(tmp_path, storage_url=url))
        place, ledger = site.node(0), Ledger()
        with place.running(zygote):
            async with Users(site, place.url, ledger) as users:
                for _ in range(2):
                    for each in WORK:
                        await each(users)
                    ballast = fill(server.folder)
                    refused: list[int] = []
                    async with asyncio.timeout(BACK_SECONDS):
                        while set(refused[-len(NEEDS_THE_DATABASE) :]) != {503}:
                            refused += [await status(each(users)) for each in NEEDS_THE_DATABASE]
                    assert set(refused) <= {200, 503}
                    assert await users.fetch("c1")
                    assert await status(users.is_active(ledger.revoked[0])) in {200, 503}
                    ballast.unlink()
                    if not server.runs:
                        server.start()
                    await within(BACK_SECONDS, lambda: all_good(users))
                    assert await find_forgotten(users) == [], ledger.statuses
        with place.running(zygote):
            async with Users(site, place.url, ledger) as users:
                assert await find_forgotten(users) == []
        assert ledger.faults == []


async def all_good(users: Users) -> bool:
    """Whether everything can be done again."""
    return {await status(each(users)) for each in WORK} == {200}
