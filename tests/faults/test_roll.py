"""Two nodes behind a TCP balancer are restarted one after the other under load, and no request is lost.

In between the signing keys are rotated and the schema is upgraded by a newer program, which the nodes become in turn.
"""

import asyncio
import contextlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import h2.exceptions
import pytest

from mtls_as.config import load_settings
from mtls_as.storage import current, migrate, upgrade
from tests.cli.workplace import free_ports
from tests.faults.site import Place, Site, events
from tests.faults.traffic import WORK, Ledger, NoAnswer, Refused, Users, find_forgotten, work
from tests.faults.zygote import Zygote
from tests.postgresql import PostgreSQL
from tests.programs import require_program
from tests.running import RESOURCE
from tests.storage.test_migrations import HEAD, NEXT, NEXT_VERSION
from tests.tls.peers import Client, HTTP2Client

pytestmark = pytest.mark.slow

DRAIN = 2.0
CONNECTING_WORKERS = 2
KEEPING_WORKERS = 3
HTTP_2_WORKERS = 2


@contextlib.contextmanager
def balanced(folder: Path, places: list[Place], *, checks_readiness: bool) -> Iterator[str]:
    """HAProxy in TCP mode: it knows nothing of TLS, and finds out by itself which node to send connections to."""
    [port] = free_ports(1)
    check = "check inter 1s fastinter 300ms fall 2 rise 1"
    if checks_readiness:
        check += " check-ssl verify none port {admin}"
    servers = [
        f"  server node{place.number} 127.0.0.1:{place.port} {check.format(admin=place.admin_port)}" for place in places
    ]
    lines = [
        "global",
        "  stats timeout 1s",
        "defaults",
        "  mode tcp",
        "  timeout connect 2s",
        "  timeout check 2s",
        "  timeout client 60s",
        "  timeout server 60s",
        "  retries 5",
        "  option redispatch 1",
        f"listen token\n  bind 127.0.0.1:{port}\n  balance roundrobin",
        "  option httpchk GET /health/ready" if checks_readiness else "  option tcp-check",
        *servers,
    ]
    file = folder / "haproxy.cfg"
    file.write_text("\n".join(lines) + "\n")
    with (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen([require_program("haproxy"), "-db", "-f", file], stdout=log, stderr=log)
    try:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            assert process.poll() is None, (folder / "haproxy.log").read_text()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.02)
        yield f"https://localhost:{port}"
    finally:
        process.kill()
        process.wait()


def newer_migrations(folder: Path) -> Path:
    """Those of a newer program: a column more, which the program of today can live with."""
    folder = folder / "migrations"
    shutil.copytree(migrate._MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = NEXT_VERSION.replace("NEXT", NEXT).replace("HEAD", HEAD).replace("FAIL", "")
    (folder / "versions" / f"v{NEXT}_note.py").write_text(f'{text}\noldest_program = "{HEAD}"\n')
    return folder


async def connect_each_time(
    site: Site, url: str, ledger: Ledger, randomness: random.Random, end: asyncio.Event
) -> None:
    """A client that keeps no connection."""
    while not end.is_set():
        async with Users(site, url, ledger) as users:
            with contextlib.suppress(NoAnswer, Refused):
                await randomness.choice(WORK)(users)


async def keep_connections(site: Site, url: str, ledger: Ledger, randomness: random.Random, end: asyncio.Event) -> None:
    """A client and a resource server that keep their connections, and use them within the time to drain.

    One that nobody uses for so long may end just when somebody does: HTTP/1.1 cannot rule that out.
    """

    async def fetch_and_ask(users: Users) -> None:
        token = await users.fetch()
        if not await users.is_active(token):
            ledger.faults.append("a new token is not active")
        await randomness.choice(WORK)(users)

    async with Users(site, url, ledger) as users:
        await work(users, randomness, end, work=(fetch_and_ask,))


async def speak_http_2(site: Site, url: str, ledger: Ledger, end: asyncio.Event) -> None:
    """A client that keeps to RFC 9113 §6.8: what a GOAWAY says was not begun is asked for on another connection."""
    context = ssl.create_default_context(cadata=site.deployment.server_authority.pem)
    context.load_cert_chain(*site.parties.c1.write(site.folder, "h2"))
    context.set_alpn_protocols(["h2"])
    port = int(url.rpartition(":")[2])
    body = urlencode({"grant_type": "client_credentials", "client_id": "c1", "resource": RESOURCE}).encode()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    while not end.is_set():
        reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
        client = HTTP2Client(Client(reader, writer), reads=False)
        client.connection.initiate_connection()
        client.connection.increment_flow_control_window(2**24)
        while not end.is_set() and client.terminated is None:
            stream = None
            try:
                stream = await client.start("/token", method="POST", end=False, **headers)
                await client.send_body(stream, body)
                ledger.statuses[f"h2 {(await client.answer(stream)).status}"] += 1
            except (OSError, h2.exceptions.ProtocolError) as error:
                with contextlib.suppress(OSError, h2.exceptions.ProtocolError):
                    while await client.receive():
                        pass
                gone = client.terminated
                was_begun = gone is None or (stream is not None and stream <= (gone.last_stream_id or 0))
                if was_begun:
                    ledger.statuses[f"h2 lost: {error!r}"] += 1
                break
            await asyncio.sleep(0.01)
        await client.client.close()


@pytest.mark.parametrize(
    ("kind", "checks_readiness"),
    [("sqlite", False), ("sqlite", True), ("postgresql", False), ("postgresql", True)],
    ids=["sqlite-connect", "sqlite-readiness", "postgresql-connect", "postgresql-readiness"],
)
async def test_a_rolling_restart_loses_no_request(
    kind: str,
    checks_readiness: bool,
    tmp_path: Path,
    zygote: Zygote,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """Neither of those who keep their connections, nor of those who connect each time, nor of HTTP/2."""
    with contextlib.ExitStack() as stack:
        url = "sqlite:///test.db"
        if kind == "postgresql":
            server: PostgreSQL = request.getfixturevalue("postgresql")
            url = stack.enter_context(server.database())
        # Two nodes that write to one SQLite file on a slow machine wait for each other longer than by default.
        options = "lock_timeout = 30"
        site = await asyncio.to_thread(lambda: Site(tmp_path, storage_url=url, storage_options=options, drain=DRAIN))
        places = [site.node(number) for number in range(2)]
        children = [place.start(zygote) for place in places]
        for place, child in zip(places, children, strict=True):
            stack.callback(child.send, signal.SIGKILL)
            await asyncio.to_thread(place.wait_until_ready, child)
        balancer = stack.enter_context(balanced(tmp_path, places, checks_readiness=checks_readiness))
        ledger, end = Ledger(), asyncio.Event()
        async with Users(site, balancer, ledger) as keeping:
            one = random.Random
            tasks = [
                asyncio.create_task(keep_connections(site, balancer, ledger, one(n), end))
                for n in range(KEEPING_WORKERS)
            ]
            tasks += [asyncio.create_task(speak_http_2(site, balancer, ledger, end)) for _ in range(HTTP_2_WORKERS)]
            tasks += [
                asyncio.create_task(connect_each_time(site, balancer, ledger, one(n + 20), end))
                for n in range(CONNECTING_WORKERS)
            ]
            await asyncio.sleep(1)
            migrations = newer_migrations(tmp_path)
            storage_url = load_settings(site.deployment.path).storage.url
            with monkeypatch.context() as newer:
                newer.setattr(migrate, "_MIGRATIONS", migrations)
                await asyncio.to_thread(upgrade, storage_url)
                assert await asyncio.to_thread(current, storage_url) == NEXT
            await asyncio.sleep(1)
            for number, place in enumerate(places):
                async with site.storage() as storage:
                    made = await storage.signing_keys.rotate("ES256", at=time.time(), publish_ahead=2, overlap=3_600)
                    ledger.kids.append(made.kid)
                children[number].send(signal.SIGTERM)
                assert await asyncio.to_thread(children[number].wait_at_most, 20) == 0
                children[number] = place.start(zygote, migrations=migrations)
                stack.callback(children[number].send, signal.SIGKILL)
                await asyncio.to_thread(place.wait_until_ready, children[number])
                await asyncio.sleep(1)
            end.set()
            await asyncio.gather(*tasks)
            print(f"{kind}: {dict(ledger.statuses)}, slowest {ledger.slowest:.2f} s")  # noqa: T201 # seen with -s
            assert ledger.faults == []
            answers = [f"{path} {status}" for path in ("token", "introspect", "revoke") for status in (200,)]
            assert set(ledger.statuses) == {*answers, "register 201", "h2 200"}
            assert sum(ledger.statuses.values()) > 100
            assert await find_forgotten(keeping) == []
        for log in sorted(site.folder.glob("log-*")):
            assert [event for event in events(log) if event.get("outcome") == "failed"] == []
