"""Where the lists of one trust domain come from: files, read again when they change, and URLs, fetched well in time."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mtls_as.pki.crl import CRL, MAX_CRL_BYTES, CRLError, parse_crls
from mtls_as.pki.kept_lists import KeptLists, document_name
from mtls_as.pki.revocation_fetching import Fetcher, SourceUnavailable
from mtls_as.pki.revocation_lists import ListRefused, RevocationLists

MIN_REFRESH: Final = 60.0
MAX_REFRESH: Final = 3600.0
FIRST_BACK_OFF: Final = 5.0
MAX_BACK_OFF: Final = 600.0
MAX_FILES: Final = 10_000

_GLOB: Final = frozenset("*?[")

_log = logging.getLogger(__name__)
_Stamp = tuple[int, int, int]


def is_url(source: str) -> bool:
    """Whether a configured source is a URL, and no file."""
    return "://" in source


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read from a file that changed: its lists, or what is wrong with it."""

    source: str
    lists: tuple[CRL, ...] = ()
    problem: str | None = None


@dataclass(slots=True)
class _URL:
    """The state of one URL; times in epoch seconds."""

    url: str
    due_at: float = 0.0
    failures: int = 0
    is_running: bool = False
    was_attempted: bool = False
    sha256: bytes | None = None
    documents: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    """The digests of the lists in each document that was taken in, by the document's name."""


class ListSources:
    """The configured sources of one trust domain."""

    def __init__(
        self,
        domain: str,
        sources: Sequence[str],
        lists: RevocationLists,
        *,
        base: Path,
        kept: KeptLists | None,
        fetcher: Fetcher,
        clock: Callable[[], float],
    ) -> None:
        self._domain = domain
        self._files = [source for source in sources if not is_url(source)]
        self._urls = [_URL(source) for source in sources if is_url(source)]
        self._lists = lists
        self._base = base
        self._kept = kept
        self._fetcher = fetcher
        self._clock = clock
        self._stamps: dict[Path, _Stamp | None] = {}
        self.problems: dict[str, str] = {}
        """What is wrong now, by file or URL."""

    @property
    def were_attempted(self) -> bool:
        """Whether every URL was tried once."""
        return all(url.was_attempted for url in self._urls)

    def load(self) -> None:
        """Read the files, and what was kept of the URLs. Blocks; for the beginning, before anybody asks."""
        self.take(self.read_changed())
        for url in self._urls:
            for document in self._kept.load(self._domain, url.url) if self._kept else ():
                try:
                    self._take_document(url, document, parse_crls(document))
                except CRLError as error:
                    self._report(url.url, f"the copy on disk: {error}")
            self._prune(url)

    def read_changed(self) -> list[Reading]:
        """Read the files that changed since the last time. Blocks, and touches nothing that requests use."""
        readings: list[Reading] = []
        for pattern in self._files:
            paths = self._find(pattern)
            if not paths and self._stamps.setdefault(self._base / pattern, (0, 0, 0)) is not None:
                self._stamps[self._base / pattern] = None
                readings.append(Reading(str(self._base / pattern), problem="no file matches"))
            for path in paths:
                stamp = _stamp(path)
                if path not in self._stamps or self._stamps[path] != stamp:
                    self._stamps[path] = stamp
                    readings.append(_read(path))
        return readings

    def take(self, readings: Sequence[Reading]) -> None:
        """Take in what was read."""
        for reading in readings:
            if reading.problem is not None:
                self._report(reading.source, reading.problem)
                continue
            self.problems.pop(reading.source, None)
            self._take_lists(reading.source, reading.lists)

    def due(self) -> list[str]:
        """The URLs to fetch now, each of them said once until it was fetched."""
        now = self._clock()
        due = [url for url in self._urls if not url.is_running and now >= url.due_at]
        for url in due:
            url.is_running = True
        return [url.url for url in due]

    async def fetch(self, address: str) -> None:
        """Fetch a URL that is due. Never raises; a failure is reported, and tried again later and later."""
        url = next(url for url in self._urls if url.url == address)
        asked_at = self._clock()  # parsing and writing take their time, in which the clock may also be set
        try:
            document = await self._fetcher.get_list(address)
            digest = hashlib.sha256(document).digest()
            if digest != url.sha256 or url.failures:
                self._take_document(url, document, await asyncio.to_thread(parse_crls, document))
                url.sha256 = digest
                await asyncio.to_thread(self._keep, url, document)
        except (SourceUnavailable, CRLError) as error:
            self._report(address, str(error))
            url.failures = min(url.failures + 1, 10)
            url.due_at = self._clock() + min(FIRST_BACK_OFF * 2 ** (url.failures - 1), MAX_BACK_OFF)
        else:
            self._succeed(url, asked_at)
        finally:
            url.is_running, url.was_attempted = False, True

    def _succeed(self, url: _URL, asked_at: float) -> None:
        url.failures = 0
        ends = [held.crl.next_update.timestamp() for held, _ in self._lists.all() if held.source == url.url]
        rest = min(ends, default=asked_at) - asked_at
        url.due_at = asked_at + min(max(rest / 2, MIN_REFRESH), MAX_REFRESH)

    def _take_document(self, url: _URL, document: bytes, lists: tuple[CRL, ...]) -> None:
        self.problems.pop(url.url, None)
        self._take_lists(url.url, lists)
        url.documents[document_name(document)] = tuple(crl.sha256 for crl in lists)
        url.documents = {
            name: digests for name, digests in url.documents.items() if any(map(self._lists.holds, digests))
        }

    def _keep(self, url: _URL, document: bytes) -> None:
        if self._kept is not None and document_name(document) in url.documents:
            self._kept.keep(self._domain, url.url, document)
        self._prune(url)

    def _prune(self, url: _URL) -> None:
        if self._kept is not None:
            self._kept.prune(self._domain, url.url, url.documents.keys())

    def _take_lists(self, source: str, lists: Sequence[CRL]) -> None:
        at = datetime.fromtimestamp(self._clock(), UTC)
        for crl in lists:
            try:
                is_new = self._lists.take(source, crl, at=at)
            except ListRefused as error:
                self._report(source, str(error))
                continue
            if is_new:
                _log.info(
                    "trust domain '%s': %s: list %s of '%s' with %d entries, until %s",
                    self._domain, source, crl.number, crl.issuer, len(crl), crl.next_update.isoformat(),
                )  # fmt: skip

    def _report(self, source: str, problem: str) -> None:
        self.problems[source] = problem
        _log.error("trust domain '%s': revocation list %s: %s; what is known stays", self._domain, source, problem)

    def _find(self, pattern: str) -> list[Path]:
        if not _GLOB.intersection(pattern):
            return [self._base / pattern]
        root = Path(Path(pattern).anchor or self._base)
        try:
            return sorted(path for path in root.glob(pattern.lstrip("/")) if path.is_file())[:MAX_FILES]
        except OSError:
            return []


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _read(path: Path) -> Reading:
    try:
        if path.stat().st_size > 2 * MAX_CRL_BYTES:
            return Reading(str(path), problem="the file is too large")
        return Reading(str(path), parse_crls(path.read_bytes()))
    except OSError as error:
        return Reading(str(path), problem=error.strerror or str(error))
    except CRLError as error:
        return Reading(str(path), problem=str(error))
