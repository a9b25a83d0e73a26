"""Revocation in trust domains: whether the certificates of a verified path still stand, at the time of each request.

A new list counts at once, on open connections too: what lists say of a path is remembered until one comes, begins or
ends, and no longer. What a responder says is looked up anew for each request, in memory. Nothing here fetches a URL
that stands in a certificate.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from mtls_as.pki.accepted_paths import AcceptedPaths
from mtls_as.pki.kept_lists import KeptLists
from mtls_as.pki.ocsp import OCSPAnswer
from mtls_as.pki.ocsp_answers import LOOK_UP_SECONDS, OCSPAnswers
from mtls_as.pki.path import CertificateRefused, describe
from mtls_as.pki.revocation_fetching import Fetcher, NoFetcher
from mtls_as.pki.revocation_lists import Finding, HeldList, RevocationLists
from mtls_as.pki.revocation_policy import Issued, ListStatus, RevocationCheck, RevocationPolicy, RevocationStatus
from mtls_as.pki.revocation_sources import ListSources
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import Certificate

POLL_SECONDS: Final = 1.0
MAX_FETCHES: Final = 8
MAX_CHECKED: Final = 2048
"""Paths of which it is remembered what the lists of a domain say of them."""

_log = logging.getLogger(__name__)


class _Checked(NamedTuple):
    """What the lists said of a path, at what time, and while it holds."""

    path: Sequence[Issued]
    checks: tuple[RevocationCheck, ...]
    version: int
    since: datetime
    until: datetime

    def speaks_for(self, path: Sequence[Issued], version: int, at: datetime) -> bool:
        """Whether the lists, of this version, still say the same."""
        return self.path is path and self.version == version and self.since <= at < self.until


class DomainRevocation:
    """What one trust domain knows of revocation. It outlives reloads that leave its revocation settings alone."""

    def __init__(
        self,
        name: str,
        policy: RevocationPolicy,
        *,
        base: Path,
        kept: KeptLists | None,
        fetcher: Fetcher,
        clock: Callable[[], float],
        paths: AcceptedPaths | None = None,
    ) -> None:
        grace = timedelta(seconds=policy.grace)
        self.name = name
        self.policy = policy
        self.lists = RevocationLists(grace=grace)
        self.sources = ListSources(name, policy.lists, self.lists, base=base, kept=kept, fetcher=fetcher, clock=clock)
        self.answers = OCSPAnswers(policy.responder, fetcher, clock=clock, grace=grace) if policy.responder else None
        self.paths = paths
        """Notes of the paths that requests came with, where revocation is to end tokens too."""
        self._checked: dict[int, _Checked] = {}
        """By the path's identity: a path that was verified is one object as long as its verdict is remembered."""
        self.is_loaded = False
        self.was_attempted = asyncio.Event()
        """Set once every URL was tried: before that, what is not known may be on its way."""

    def check(self, path: Sequence[Issued], *, at: datetime) -> tuple[RevocationCheck, ...]:
        """Check every certificate of a verified path, from memory. Raises `CertificateRefused`.

        A revoked certificate is refused whatever the policy says; one of which nothing is known, where it is `closed`.
        """
        version = self.lists.version
        known = self._checked.get(id(path))
        if known is not None and known.speaks_for(path, version, at):
            return known.checks
        checks = self._check_all(path, at=at)
        # Beside lists nobody may have a say, and nobody may want to hear of each request.
        if self.answers is None and self.paths is None and version == self.lists.version:
            if len(self._checked) >= MAX_CHECKED:
                self._checked.clear()
            self._checked[id(path)] = _Checked(path, checks, version, at, self.lists.steady_until(at))
        return checks

    def _check_all(self, path: Sequence[Issued], *, at: datetime) -> tuple[RevocationCheck, ...]:
        """Raises `CertificateRefused`."""
        checks = tuple([self._check(issued, at=at) for issued in path])
        for check in checks:
            if check.status is RevocationStatus.REVOKED:
                if self.paths is not None:
                    self.paths.refuse(path, at=at)
                raise CertificateRefused(Refusal.CERTIFICATE_REVOKED, _place(check))
        for check in checks:
            if check.status is RevocationStatus.UNKNOWN and self.policy.fails == "closed":
                raise CertificateRefused(Refusal.REVOCATION_UNKNOWN, _place(check))
        if self.paths is not None and path:
            self.paths.accept(path, at=at)
        return checks

    @property
    def may_learn_more(self) -> bool:
        """Whether there is anything that `bring` could wait for."""
        return self.answers is not None or not self.was_attempted.is_set()

    @property
    def version(self) -> int:
        """Grows whenever a certificate may have become revoked."""
        return self.lists.version + (self.answers.revocations if self.answers else 0)

    def is_revoked(self, path: Sequence[Issued], *, at: datetime, ask: bool = True) -> bool:
        """Whether a path that was verified once is known to be revoked now, by what `check` goes by.

        With `ask`, the responder is asked beside the requests about what is not known, as if a request had come.
        """
        statuses = [self._check(issued, at=at).status for issued in path]
        if self.answers is not None and ask:
            for issued, status in zip(path, statuses, strict=True):
                if status is RevocationStatus.UNKNOWN:
                    self.answers.expect(issued)
        return RevocationStatus.REVOKED in statuses

    async def bring(self, path: Sequence[Issued], *, at: datetime) -> None:
        """Wait, two seconds at most, for what is not known of a path and may be on its way. Never raises."""
        if not self.was_attempted.is_set() and self._unknown(path, at=at):
            try:
                await asyncio.wait_for(self.was_attempted.wait(), LOOK_UP_SECONDS)
            except TimeoutError:
                _log.warning("trust domain '%s': the revocation lists have not come yet", self.name)
        if self.answers is not None and (unknown := self._unknown(path, at=at)):
            await asyncio.gather(*(self.answers.look_up(issued) for issued in unknown))

    def _unknown(self, path: Sequence[Issued], *, at: datetime) -> list[Issued]:
        return [issued for issued in path if self._check(issued, at=at).status is RevocationStatus.UNKNOWN]

    def _check(self, issued: Issued, *, at: datetime) -> RevocationCheck:
        finding = self.lists.find(issued.certificate, issued.issuer, issued.issuer_id, at=at)
        answer = self._answer(issued, at=at)
        if finding.revocation is not None and finding.held is not None:
            detail = f"revoked on {finding.revocation.at.isoformat()}, {finding.revocation.reason}"
            return self._by_list(issued, finding.held, RevocationStatus.REVOKED, detail)
        if answer is not None and answer.is_revoked:
            when = answer.revoked_at.isoformat() if answer.revoked_at else "an unknown date"
            detail = f"revoked on {when}, {answer.reason}"
            return self._by_answer(issued, answer, RevocationStatus.REVOKED, detail)
        if finding.held is not None:
            return self._by_list(issued, finding.held, RevocationStatus.GOOD)
        if answer is not None:
            return self._by_answer(issued, answer, RevocationStatus.GOOD)
        return RevocationCheck(
            certificate=issued.certificate,
            status=RevocationStatus.UNKNOWN,
            policy=self.policy.fails,
            detail=self._why_unknown(issued, finding),
        )

    def _answer(self, issued: Issued, *, at: datetime) -> OCSPAnswer | None:
        if self.answers is None:
            return None
        answer = self.answers.find(issued, at=at)
        if answer is None or answer.responder_serial_number is None:
            return answer
        # RFC 6960 §4.2.2.2.1: a responder that its CA took back speaks for it no more.
        is_revoked = self.lists.is_revoked(issued.issuer_id, answer.responder_serial_number)
        return None if is_revoked else answer

    def _why_unknown(self, issued: Issued, finding: Finding) -> str:
        reasons = [finding.shortcoming] if self.policy.lists else []
        if self.answers is not None:
            reasons.append(f"OCSP: {self.answers.failure(issued)}")
        return "; ".join(reasons)

    def _by_list(self, issued: Issued, held: HeldList, status: RevocationStatus, detail: str = "") -> RevocationCheck:
        return RevocationCheck(
            certificate=issued.certificate,
            status=status,
            policy=self.policy.fails,
            kind="crl",
            source=held.source,
            number=held.crl.number,
            this_update=held.crl.this_update,
            next_update=held.crl.next_update,
            detail=detail,
        )

    def _by_answer(
        self, issued: Issued, answer: OCSPAnswer, status: RevocationStatus, detail: str = ""
    ) -> RevocationCheck:
        return RevocationCheck(
            certificate=issued.certificate,
            status=status,
            policy=self.policy.fails,
            kind="ocsp",
            source=self.policy.responder,
            this_update=answer.this_update,
            next_update=answer.next_update,
            detail=detail,
        )


def _place(check: RevocationCheck) -> str:
    source = f" (by {check.source})" if check.source else ""
    return f"'{describe(check.certificate)}': {check.detail}{source}"


class Revocation:
    """The revocation state of a node, for all its trust domains; made once, and asked again by each load of them.

    `base` is what relative paths are relative to; `folder` is where fetched lists are kept, or None to keep none.
    """

    def __init__(
        self,
        *,
        base: Path,
        folder: Path | None = None,
        fetcher: Fetcher | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._base = base
        self._kept = None if folder is None else KeptLists(folder)
        self._fetcher = fetcher
        self._clock = clock
        # Weak: a domain that no set of trust domains in use asks about is followed no longer.
        self._domains: WeakValueDictionary[tuple[str, RevocationPolicy], DomainRevocation] = WeakValueDictionary()
        self._paths: dict[str, AcceptedPaths] = {}  # by name: no change of a domain's settings loses a note
        self._lock = threading.Lock()
        self._fetches = asyncio.Semaphore(MAX_FETCHES)

    def domain(self, name: str, policy: RevocationPolicy, anchors: Sequence[Certificate]) -> DomainRevocation | None:
        """The state of a domain, None if it asks for no checks; with the same policy it is the same as before.

        A new one reads its files, and what was kept on disk, here and now: this blocks.
        """
        if not policy.is_configured:
            return None
        with self._lock:
            domain = self._domains.get((name, policy))
            if domain is None:
                fetcher = self._fetcher or NoFetcher()
                domain = DomainRevocation(
                    name,
                    policy,
                    base=self._base,
                    kept=self._kept,
                    fetcher=fetcher,
                    clock=self._clock,
                    paths=self._paths.setdefault(name, AcceptedPaths()) if policy.revokes_tokens else None,
                )
                self._domains[name, policy] = domain
        domain.lists.know(anchors)
        if not domain.is_loaded:
            domain.sources.load()
            if self._fetcher is None or domain.sources.were_attempted:
                domain.was_attempted.set()  # there is nothing to wait for
            domain.is_loaded = True
        return domain

    def keep_only(self, domains: Collection[DomainRevocation]) -> None:
        """Follow these alone from now on, whoever still remembers others.

        The collector may never look at an older set of trust domains: that it is gone cannot be relied on.
        """
        with self._lock:
            for key, domain in list(self._domains.items()):
                if domain not in domains:
                    del self._domains[key]

    def domains(self) -> list[DomainRevocation]:
        """The domains in use."""
        with self._lock:
            return [domain for domain in self._domains.values() if domain.is_loaded]

    def accepted_paths(self) -> list[tuple[str, AcceptedPaths]]:
        """The notes of every domain that takes any, by its name; also of one that is gone, until they were taken."""
        with self._lock:
            return list(self._paths.items())

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Read files that change, fetch lists, and ask the responders again before their time, within the block."""
        following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await asyncio.gather(*(domain.answers.aclose() for domain in self.domains() if domain.answers))

    async def _follow(self) -> None:
        async with asyncio.TaskGroup() as fetches:
            while True:
                try:
                    await self._round(fetches)
                except Exception:  # noqa: BLE001 # the next round may go well, and lists must be followed
                    _log.exception("revocation lists could not be followed: an unforeseen error")
                await asyncio.sleep(POLL_SECONDS)

    def statuses(self) -> list[ListStatus]:
        """Every list of every domain, for those who watch when they end."""
        return [
            ListStatus(
                domain=domain.name,
                source=held.source,
                issuer=str(held.crl.issuer),
                number=held.crl.number,
                is_delta=held.crl.is_delta,
                entries=len(held.crl),
                this_update=held.crl.this_update,
                next_update=held.crl.next_update,
                is_proven=is_proven,
            )
            for domain in self.domains()
            for held, is_proven in domain.lists.all()
        ]

    def problems(self) -> list[tuple[str, str, str]]:
        """What is wrong with sources now: domain, file or URL, and the problem."""
        return [
            (domain.name, source, problem)
            for domain in self.domains()
            for source, problem in domain.sources.problems.items()
        ]

    async def _round(self, fetches: asyncio.TaskGroup) -> None:
        domains = self.domains()
        if not domains:
            return
        changed = await asyncio.to_thread(lambda: [domain.sources.read_changed() for domain in domains])
        for domain, readings in zip(domains, changed, strict=True):
            domain.sources.take(readings)
        for domain in domains:
            for url in domain.sources.due():
                fetches.create_task(self._fetch(domain, url))
            if domain.sources.were_attempted:
                domain.was_attempted.set()
            if domain.answers is not None:
                domain.answers.refresh()

    async def _fetch(self, domain: DomainRevocation, url: str) -> None:
        async with self._fetches:
            try:
                await domain.sources.fetch(url)
            except Exception:  # noqa: BLE001 # one source's trouble is not to stop the others
                _log.exception("trust domain '%s': %s: an unforeseen error", domain.name, url)
        if domain.sources.were_attempted:
            domain.was_attempted.set()
