"""Clients at work while something breaks, and what was acknowledged to them: none of that may ever be forgotten.

Whatever happens to a node, a client sees one of three things: the right answer, a clean OAuth error, or no answer at
all. Everything else is noted as a fault, and so is an answer that takes too long.
"""

import asyncio
import bisect
import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from mtls_as.rfc.rfc6749_framework import ErrorCode
from tests.authority import Identity
from tests.faults.site import Site
from tests.http.introspecting import OPAQUE
from tests.running import RESOURCE

NOTICE_SECONDS = 1.3
PATIENCE = 30.0
"""Seconds that a client waits for an answer, far longer than any should take."""


@dataclass
class Ledger:
    """What was acknowledged, with what is needed to ask for it again."""

    revoked: list[str] = field(default_factory=list)
    """Tokens whose revocation was answered with 200."""
    revoked_at: list[float] = field(default_factory=list)
    used: list[dict[str, str]] = field(default_factory=list)
    """Token requests with an assertion that got a token."""
    opaque: list[str] = field(default_factory=list)
    """Opaque tokens that were issued."""
    registered: list[tuple[str, str]] = field(default_factory=list)
    """Clients that registered themselves, with their registration access tokens."""
    kids: list[str] = field(default_factory=list)
    """Keys whose rotation was acknowledged."""
    statuses: Counter[str] = field(default_factory=Counter)
    """How many answers of each kind there were."""
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)

    def facts(self) -> int:
        """How many there are to forget."""
        return sum(map(len, (self.revoked, self.used, self.opaque, self.registered, self.kids)))


class Users:
    """A client, a resource server and a batch job, with connections to one address that they keep."""

    def __init__(self, site: Site, url: str, ledger: Ledger) -> None:
        self.site = site
        self.ledger = ledger
        self._url = url
        self._clients: dict[int, httpx.AsyncClient] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients.values():
            await client.aclose()

    # What they do; each raises `NoAnswer` where the connection broke, and `Refused` where they got an error

    async def fetch(self, client_id: str = "c1", **form: str) -> str:
        """An access token."""
        form = {"grant_type": "client_credentials", "client_id": client_id, "resource": RESOURCE} | form
        return str((await self._ask("POST", "/token", self.site.parties.c1, data=form)).json()["access_token"])

    async def fetch_opaque(self) -> None:
        self.ledger.opaque.append(await self.fetch(resource=OPAQUE, scope="files:read"))

    async def fetch_with_assertion(self) -> None:
        form = {"grant_type": "client_credentials", "resource": RESOURCE} | self.site.batch.form()
        await self._ask("POST", "/token", self.site.parties.c1, data=form)
        self.ledger.used.append(form)

    async def revoke(self) -> None:
        token = await self.fetch()
        await self._ask("POST", "/revoke", self.site.parties.c1, data={"client_id": "c1", "token": token})
        self.ledger.revoked.append(token)
        self.ledger.revoked_at.append(time.monotonic())

    async def register(self) -> None:
        headers = {"Authorization": f"Bearer {self.site.initial_access_token}"}
        members = {"tls_client_auth_san_dns": "c1.example"}
        answer = await self._ask("POST", "/register", self.site.parties.c1, json=members, headers=headers)
        made = answer.json()
        self.ledger.registered.append((made["client_id"], made["registration_access_token"]))

    async def introspect_revoked(self) -> None:
        """The wrong yes, if there is any: of a token whose revocation every node must have heard of by now."""
        heard = bisect.bisect(self.ledger.revoked_at, time.monotonic() - NOTICE_SECONDS)
        if heard and await self.is_active(random.choice(self.ledger.revoked[:heard])):
            self.ledger.faults.append("a revoked token is active")

    async def is_active(self, token: str) -> bool:
        """What the resource server that it is for is told."""
        parties = self.site.parties
        name, identity = ("rs1", parties.rs1) if "." in token else ("rs2", parties.rs2)
        answer = await self._ask("POST", "/introspect", identity, data={"client_id": name, "token": token})
        return bool(answer.json()["active"])

    async def replay(self, form: dict[str, str]) -> int:
        """The status of the answer to an assertion that was used."""
        with contextlib.suppress(Refused):
            await self._ask("POST", "/token", self.site.parties.c1, data=form)
            return 200
        return 401

    def is_revoked(self, token: str) -> Callable[[], Awaitable[bool]]:
        """Asks whether it is not active."""

        async def ask() -> bool:
            return not await self.is_active(token)

        return ask

    def has_key(self, kid: str) -> Callable[[], Awaitable[bool]]:
        """Asks whether it is published."""

        async def ask() -> bool:
            answer = await self._ask("GET", "/jwks", self.site.parties.c1)
            return kid in {key["kid"] for key in answer.json()["keys"]}

        return ask

    async def read_registration(self, client_id: str, token: str) -> None:
        """RFC 7592 §2.1."""
        headers = {"Authorization": f"Bearer {token}"}
        await self._ask("GET", f"/register/{client_id}", self.site.parties.c1, headers=headers)

    async def _ask(self, method: str, path: str, identity: Identity, **request: Any) -> httpx.Response:
        started = time.monotonic()
        try:
            answer = await self._client(identity).request(method, self._url + path, **request)
        except httpx.TransportError as error:
            self.ledger.statuses[f"{type(error).__name__}: {error}"] += 1
            if isinstance(error, httpx.TimeoutException):
                self.ledger.faults.append(f"{path}: no answer within {PATIENCE} s")
            raise NoAnswer from error
        self.ledger.slowest = max(self.ledger.slowest, time.monotonic() - started)
        self.ledger.statuses[f"{path.split('/')[1]} {answer.status_code}"] += 1
        if fault := find_fault(answer):
            self.ledger.faults.append(f"{method} {path}: {fault}")
        if answer.status_code >= 400:
            raise Refused(answer)
        return answer

    def _client(self, identity: Identity) -> httpx.AsyncClient:
        if id(identity) not in self._clients:
            context = self.site.context(identity)
            self._clients[id(identity)] = httpx.AsyncClient(verify=context, trust_env=False, timeout=PATIENCE)
        return self._clients[id(identity)]


class NoAnswer(Exception):  # noqa: N818 # it says what is the case
    """The connection broke before there was a whole answer."""


class Refused(Exception):  # noqa: N818 # it says what is the case
    """An OAuth error."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(f"{answer.status_code} {answer.text}")
        self.status = answer.status_code


def find_fault(answer: httpx.Response) -> str | None:
    """What is wrong with the form of an answer, if anything: RFC 6749 §5, RFC 9110 §10.2.3."""
    said = f"{answer.status_code} {answer.text[:200]}"
    if answer.status_code < 400:
        return None if answer.status_code in {200, 201, 204} else said
    try:
        code = ErrorCode(json.loads(answer.content)["error"])
    except (ValueError, KeyError, TypeError):
        return f"no OAuth error: {said}"
    is_unavailable = code is ErrorCode.TEMPORARILY_UNAVAILABLE
    if (answer.status_code == 503) != is_unavailable or answer.status_code == 500:
        return f"the wrong status: {said}"
    if is_unavailable and not answer.headers.get("Retry-After", "").isdecimal():
        return f"no Retry-After: {said}"
    return None


WORK: tuple[Callable[[Users], Awaitable[Any]], ...] = (
    Users.fetch,
    Users.fetch_opaque,
    Users.fetch_with_assertion,
    Users.revoke,
    Users.register,
    Users.introspect_revoked,
)


async def work(
    users: Users, randomness: random.Random, until: asyncio.Event, *, work: tuple[Callable[..., Any], ...] = WORK
) -> None:
    """Ask for one thing after the other until told to stop; what gets no answer is not tried again."""
    while not until.is_set():
        try:
            await randomness.choice(work)(users)
        except (NoAnswer, Refused):
            await asyncio.sleep(0.01)


async def find_forgotten(users: Users) -> list[str]:
    """What a node does not know of all that was acknowledged. It has a second to hear of it from the storage."""
    ledger, until = users.ledger, time.monotonic() + NOTICE_SECONDS
    forgotten = ["an opaque token" for token in ledger.opaque if not await users.is_active(token)]
    forgotten += ["the use of a jti" for form in ledger.used if await users.replay(form) == 200]
    for client_id, token in ledger.registered:
        try:
            await users.read_registration(client_id, token)
        except Refused as error:
            forgotten.append(f"the registration of {client_id}: {error.status}")
    forgotten += [f"the key {kid}" for kid in ledger.kids if not await _comes(until, users.has_key(kid))]
    forgotten += ["a revocation" for token in ledger.revoked if not await _comes(until, users.is_revoked(token))]
    return forgotten


async def _comes(until: float, ask: Callable[[], Awaitable[bool]]) -> bool:
    """Whether something is so, by a time at the latest."""
    while not await ask():
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.02)
    return True
