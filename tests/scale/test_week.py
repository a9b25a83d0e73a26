"""A week of simulated time: certificates of an hour, a list of revoked ones each hour, a signing key each day.

The server is the real one; its clock is moved. What it does in the background by its own clock runs once in each hour,
as the background tasks would have run it, and those tasks run beside. At the end nothing has grown since the second
day: neither a table, nor memory, files, threads or tasks.
"""

import asyncio
import base64
import gc
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from mtls_as.server.pruning import prune_all
from mtls_as.server.registration_policy import RegistrationPolicy
from mtls_as.server.registrations import InitialAccessToken, make_token
from mtls_as.storage.schema import metadata
from mtls_as.storage.transactions import KEPT_CHANGES
from mtls_as.wiring.node import prunable
from mtls_as.wiring.signing_keys import key_upkeep
from tests.assertions import AssertingClient
from tests.authority import HOUR, Authority, Identity, dns
from tests.dpop import DPoPKey
from tests.http.introspecting import OPAQUE
from tests.postgresql import PostgreSQL
from tests.revocation_lists import issue_crl
from tests.running import RESOURCE, Deployment, RunningServer, running

pytestmark = pytest.mark.slow

CLIENTS = 100
HOURS, DAYS = 24, 7
BOUNDS = {"changes": KEPT_CHANGES, "status_records": 500}
"""Tables with a bound of their own: in the latter is a row for each second in which a block's tokens were issued."""
EXPECTED = (
    *("POST token 200 None", "POST revoke 200 None", "POST introspect 200 None", "POST register 201 None"),
    *("DELETE register 204 None", "POST token 401 subject_mismatch"),
)
POOL = "pool_size = 1"
"""Connections to PostgreSQL. Of each, SQLAlchemy keeps prepared statements, and forgets fifty when there are 150. The
caches of five take all week to fill, and then differ by up to 250, of several objects each; that of one by fifty."""
MORE_OBJECTS = 300
"""Of a kind, which come and go."""
MORE_BYTES = 16 * 2**20
"""Of memory, which the process takes in pieces and does not always give back."""


@pytest.fixture(params=["sqlite", "postgresql"])
def storage_url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield "sqlite:///test.db"
        return
    server: PostgreSQL = request.getfixturevalue("postgresql")
    with server.database() as url:
        yield url


@dataclass(frozen=True)
class Size:
    """How large the server is."""

    rows: dict[str, int]
    objects: Counter[str]
    resident: int
    files: int
    threads: int
    tasks: int
    disk: int
    """Bytes of the files in its folder that it writes."""


@dataclass(frozen=True)
class Caller:
    """A client with its certificate, behind the proxy."""

    proxy: httpx.Client
    name: str
    identity: Identity


@dataclass
class Week:
    """A server, and all who use it."""

    server: RunningServer
    authority: Authority
    crl: Path
    batch: AssertingClient
    initial_access_token: str
    statuses: Counter[str] = field(default_factory=Counter)
    _lost: list[tuple[float, int]] = field(default_factory=list)
    _number: int = 1

    @property
    def now(self) -> float:
        return time.time() + self.server.clock_offset[0]

    def hour(self, number: int) -> None:
        """Every client comes with a new certificate, and some do more."""
        start = datetime.fromtimestamp(self.now, UTC)
        deeds = (self._revokes, self._introspects, self._takes_opaque, self._proves_key, self._asserts)
        deeds += (self._registers_and_leaves, self._loses_certificate, self._connects, self._is_mistaken)
        with self.server.proxy_client() as proxy:
            for index in range(CLIENTS):
                one = Caller(proxy, f"w{index}", self.issue(f"w{index}", start))
                token = self._token(one)
                if (kind := (index + number) % 20) < len(deeds):
                    deeds[kind](one, token)
        self._publish()
        self.server.move_clock(3_600)
        self.server.call(self._upkeep())

    def size(self) -> Size:
        """How large it is now, with nothing under way."""
        self.server.events.clear()
        self.server.reloads.clear()
        time.sleep(2.5)
        rows = self.server.call(self._rows())
        tasks = self.server.call(_tasks())
        gc.collect()
        folder = self.server.deployment.folder
        return Size(
            rows=rows,
            objects=Counter(repr(type(each)) for each in gc.get_objects()),
            resident=int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE"),
            files=len(list(Path("/proc/self/fd").iterdir())),
            threads=threading.active_count(),
            tasks=tasks,
            disk=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and "test" in file.name),
        )

    async def _upkeep(self) -> None:
        """What comes in the hour that has just passed, if nobody sees to it that a minute has so many seconds."""
        node = self.server.node
        foundation = node.foundation
        await key_upkeep(foundation, lambda: node.settings).run()
        await node.certificate_uses.flush()
        await node.certificate_uses.prune()
        assert foundation.audit is not None
        await foundation.audit.flush()
        await foundation.audit.prune()
        await foundation.refresh()
        await prune_all(prunable(foundation), at=self.now)

    async def _rows(self) -> dict[str, int]:
        async with self.server.node.storage._transactions.read() as connection:
            return {
                table.name: int(await connection.scalar(select(func.count()).select_from(table)) or 0)
                for table in metadata.sorted_tables
            }

    def issue(self, name: str, start: datetime) -> Identity:
        return self.authority.issue(san=[dns(f"{name}.example")], not_before=start - HOUR / 4, not_after=start + HOUR)

    def _revokes(self, one: Caller, token: str) -> None:
        self._ask(one, "/revoke", client_id=one.name, token=token)

    def _introspects(self, one: Caller, token: str) -> None:
        server = Caller(one.proxy, "rs", self.issue("rs", datetime.fromtimestamp(self.now, UTC)))
        assert self._ask(server, "/introspect", client_id="rs", token=token).json()["active"]

    def _takes_opaque(self, one: Caller, _token: str) -> None:
        self._token(one, resource=OPAQUE, scope="files:read")

    def _proves_key(self, one: Caller, _token: str) -> None:
        proof = DPoPKey(clock=lambda: self.now).proof("POST", f"{self.server.deployment.issuer}/token")
        keeper = Caller(one.proxy, "dpop", self.issue("dpop", datetime.fromtimestamp(self.now, UTC)))
        self._token(keeper, headers={"DPoP": proof})

    def _asserts(self, one: Caller, _token: str) -> None:
        now = int(self.now)
        self._token(one, client_id="batch", **self.batch.form(iat=now, exp=now + 60))

    def _registers_and_leaves(self, one: Caller, _token: str) -> None:
        headers = {"Authorization": f"Bearer {self.initial_access_token}"}
        made = self._request(one, "POST", "/register", json={"tls_client_auth_san_dns": "new.example"}, headers=headers)
        headers = {"Authorization": f"Bearer {made.json()['registration_access_token']}"}
        self._request(one, "DELETE", f"/register/{made.json()['client_id']}", headers=headers)

    def _loses_certificate(self, one: Caller, _token: str) -> None:
        self._lost.append((self.now, one.identity.certificate.serial_number))

    def _connects(self, one: Caller, _token: str) -> None:
        assert self.server.token(one.identity, one.name, resource=RESOURCE).status_code == 200

    def _is_mistaken(self, one: Caller, _token: str) -> None:
        self._token(one, client_id="w0" if one.name != "w0" else "w1")

    def _token(self, one: Caller, headers: dict[str, str] | None = None, **form: str) -> str:
        fields = {"grant_type": "client_credentials", "client_id": one.name, "resource": RESOURCE} | form
        return str(self._ask(one, "/token", headers, **fields).json().get("access_token"))

    def _ask(self, one: Caller, path: str, headers: dict[str, str] | None = None, **form: str) -> httpx.Response:
        return self._request(one, "POST", path, headers=headers or {}, data=form)

    def _request(self, one: Caller, method: str, path: str, *, headers: dict[str, str], **body: Any) -> httpx.Response:
        certificate = base64.b64encode(one.identity.der).decode()
        answer = one.proxy.request(method, path, headers={"Client-Cert": f":{certificate}:", **headers}, **body)
        self.statuses[f"{method} {path.split('/')[1]} {answer.status_code} {self.server.last_event.refusal}"] += 1
        return answer

    def _publish(self) -> None:
        """The list of what is revoked and has not ended (RFC 5280 §5: ended ones leave it)."""
        now = datetime.fromtimestamp(self.now, UTC)
        self._lost = [(at, serial) for at, serial in self._lost if at > self.now - 2 * 3_600]
        self._number += 1
        serials = [serial for _, serial in self._lost]
        update = {"this_update": now - HOUR / 4, "next_update": now + 3 * HOUR, "number": self._number}
        new = self.crl.with_suffix(".new")
        new.write_bytes(issue_crl(self.authority, serials, **update))  # type: ignore[arg-type] # of several types
        new.replace(self.crl)
        until = time.monotonic() + 10
        while max(each.number or 0 for each in self.server.node.revocation.statuses()) < self._number - 1:
            assert time.monotonic() < until, self.server.node.revocation.problems()
            time.sleep(0.05)


async def _tasks() -> int:
    return len(asyncio.all_tasks())


@pytest.fixture
def week(tmp_path: Path, storage_url: str) -> Iterator[Week]:
    authority, batch = Authority.create("Workloads CA"), AssertingClient("batch")
    deployment = Deployment(
        tmp_path,
        storage_url=storage_url,
        storage_options=POOL,
        admin=True,
        proxy='bind = "127.0.0.1:0"\nproxy_addresses = ["127.0.0.1"]',
        token_options="status_list = true",
        resource_options='introspection_clients = ["rs"]',
        lifetime=900,
    )
    deployment.trust("default", authority, options='crl = ["ca.crl"]\nrevoke_tokens = true')
    (tmp_path / "ca.crl").write_bytes(issue_crl(authority))
    for index in range(CLIENTS):
        name, scope = f"w{index}", "reports:read files:read"
        deployment.client(name, tls_client_auth_san_dns=f"{name}.example", scope=scope)
    deployment.client("rs", tls_client_auth_san_dns="rs.example", scope=None)
    deployment.client("dpop", tls_client_auth_san_dns="dpop.example", dpop_bound_access_tokens=True)
    deployment.client("batch", token_endpoint_auth_method="private_key_jwt", jwks=batch.jwks)
    deployment.resource(OPAQUE, "files:read", options='token_format = "opaque"\nintrospection_clients = ["rs"]')
    deployment.sections += ["[registration]\n", '[keys]\nrotate_every = "1d"\n', "[audit]\nkeep_days = 1\n"]
    text, digest = make_token(secrets.token_bytes)
    policy = RegistrationPolicy(scope=("reports:read",), trust=("default",), methods=("tls_client_auth",))
    token = InitialAccessToken(digest=digest, policy=policy, uses_left=100_000, expires_at=time.time() + 30 * 86_400)
    with running(deployment) as server:
        server.call(server.node.storage.registrations.add_initial_access_token(token))
        yield Week(server, authority, tmp_path / "ca.crl", batch, text)


def test_a_week_leaves_nothing_behind(week: Week) -> None:
    """What two days leave is what seven days leave: all that ends is forgotten."""
    sizes: list[Size] = []
    kids: set[str] = set()
    for day in range(DAYS):
        for hour in range(HOURS):
            week.hour(day * HOURS + hour)
        assert week.server.reload().problems == ()
        sizes.append(week.size())
        kids |= {key.kid for key in week.server.node.signing_keys.value.keys}
    second, fourth, last = sizes[1], sizes[3], sizes[-1]
    assert set(week.statuses) == set(EXPECTED), week.statuses
    assert len(kids) >= DAYS - 1
    assert last.rows.keys() == second.rows.keys()
    for table, rows in last.rows.items():
        assert rows <= max(second.rows[table] * 1.1 + 10, BOUNDS.get(table, 0)), table
    assert (last.files, last.threads) <= (second.files + 5, second.threads + 2)
    assert last.tasks <= second.tasks + 2
    assert last.disk <= second.disk * 1.2 + 2**20
    # What is kept in memory of certificates has reached its bounds by now.
    assert {kind: count for kind, count in (last.objects - fourth.objects).items() if count > MORE_OBJECTS} == {}
    assert last.resident <= fourth.resident + MORE_BYTES
