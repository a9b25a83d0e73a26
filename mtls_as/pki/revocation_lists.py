"""The revocation lists of one trust domain: a bad one never takes the place of a good one.

A list is *proven* once its signature was verified with a CA of the domain: an anchor, or an intermediate that stood in
a verified path. Only proven lists are used. Others wait, within bounds, since it is clients that bring intermediates.
In memory alone; for one thread.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from mtls_as.pki.authorities import AuthorityId, authority_id
from mtls_as.pki.crl import CRL, CRLScope
from mtls_as.pki.crl_entries import Revocation
from mtls_as.rfc.rfc4517_matching import canonical_name
from mtls_as.rfc.rfc5280_certificate import Certificate

MAX_WAITING_LISTS: Final = 64
MAX_WAITING_ENTRIES: Final = 1_000_000
_MAX_TRIALS: Final = 4096
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class HeldList:
    """A list, and the file or URL that it came from."""

    crl: CRL
    source: str
    issuer_name: Hashable = field(init=False)
    """The issuer, canonical."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "issuer_name", canonical_name(self.crl.issuer))


class Finding(Struct, frozen=True):  # some for each request, in a tenth of a dataclass's time
    """What the lists of a CA say of one of its certificates."""

    revocation: Revocation | None
    """Stands in a list: it is revoked, however old the list is."""
    held: HeldList | None
    """The list that says so, or the one that vouches for the certificate now; None if there is no such list."""
    shortcoming: str = ""
    """Why no list vouches for it."""


class ListRefused(Exception):  # noqa: N818 # the outcome of a decision
    """A list was not taken. The message says why."""


class RevocationLists:
    """The lists of one trust domain: at most one for each CA, scope and kind, complete or delta."""

    def __init__(self, *, grace: timedelta = timedelta(0)) -> None:
        self._grace = grace
        self.version = 0
        """Grows with every list that comes, and with every one that is proven."""
        self._known: dict[AuthorityId, Certificate] = {}
        self._proven: dict[tuple[AuthorityId, CRLScope, bool], HeldList] = {}
        self._by_authority: dict[AuthorityId, tuple[HeldList, ...]] = {}
        self._waiting: list[HeldList] = []
        self._failed: set[tuple[AuthorityId, bytes]] = set()

    def know(self, anchors: Sequence[Certificate]) -> None:
        """Let these CAs prove lists as soon as those come."""
        # Replaced, not changed: a reload in a thread of its own calls this while requests read the other one.
        self._known = self._known | {authority_id(anchor): anchor for anchor in anchors}

    def take(self, source: str, crl: CRL, *, at: datetime) -> bool:
        """Take a list in: whether it is new. Raises `ListRefused` if it may not stand in for the one at hand.

        A list by nobody known yet waits; one that is by none of the CAs of its name waits too, and is refused.
        """
        held = HeldList(crl, source)
        if self.holds(crl.sha256):
            return False
        self.version += 1
        namesakes = [
            (identity, authority) for identity, authority in self._known.items() if identity.name == held.issuer_name
        ]
        for identity, authority in namesakes:
            if crl.shortcoming_of_issuer(authority) is None:
                self._place(identity, held, at=at)
                return True
        self._wait(held)
        if namesakes:
            shortcoming = crl.shortcoming_of_issuer(namesakes[0][1])
            raise ListRefused(f"the list of '{crl.issuer}' is not used: {shortcoming}")
        return True

    def holds(self, sha256: bytes) -> bool:
        """Whether the list with this digest is here, proven or waiting."""
        return any(held.crl.sha256 == sha256 for held in (*self._proven.values(), *self._waiting))

    def all(self) -> Iterator[tuple[HeldList, bool]]:
        """Every list, and whether it is proven."""
        yield from ((held, True) for held in self._proven.values())
        yield from ((held, False) for held in self._waiting)

    def find(self, certificate: Certificate, issuer: Certificate, identity: AuthorityId, *, at: datetime) -> Finding:
        """What the lists of the issuer, a CA of a verified path, say of its certificate at a time."""
        if self._waiting:
            self._prove(identity, issuer, at=at)
        lists = [held for held in self._by_authority.get(identity, ()) if held.crl.scope.covers(certificate)]
        bases = [held for held in lists if not held.crl.is_delta]
        deltas = [held for held in lists if held.crl.is_delta and not _is_overtaken(held.crl, bases)]
        serial_number = certificate.serial_number
        for held in deltas:
            found = held.crl.find(serial_number)
            if found is not None and not found.is_removal:
                return Finding(found, held)
        for held in bases:
            found = held.crl.find(serial_number)
            if found is not None and not self._is_taken_back(serial_number, held.crl, deltas, at=at):
                return Finding(found, held)
        return self._vouching(bases, at=at)

    def steady_until(self, at: datetime) -> datetime:
        """When the next list begins or ends: what `find` says then stays as it is now, unless `version` grows."""
        points = [held.crl.turning_points(grace=self._grace) for held in self._proven.values()]
        return min((point for pair in points for point in pair if point >= at), default=_NEVER)

    def is_revoked(self, identity: AuthorityId, serial_number: int) -> bool:
        """Whether a proven list of a CA names one of its certificates."""
        found = (held.crl.find(serial_number) for held in self._by_authority.get(identity, ()))
        return any(revocation is not None and not revocation.is_removal for revocation in found)

    def _vouching(self, bases: Sequence[HeldList], *, at: datetime) -> Finding:
        shortcoming = "there is no list of its CA"
        for held in bases:
            ended = held.crl.shortcoming_at(at, grace=self._grace)
            if ended is None:
                return Finding(None, held)
            shortcoming = f"the list of its CA from {held.source} cannot be used: {ended}"
        return Finding(None, None, shortcoming)

    def _is_taken_back(self, serial_number: int, base: CRL, deltas: Sequence[HeldList], *, at: datetime) -> bool:
        for held in deltas:
            delta = held.crl
            if delta.continues(base) and delta.shortcoming_at(at, grace=self._grace) is None:
                found = delta.find(serial_number)
                if found is not None and found.is_removal:
                    return True
        return False

    def _prove(self, identity: AuthorityId, issuer: Certificate, *, at: datetime) -> None:
        """Try the lists that wait with a CA that is known now, each once."""
        for held in [held for held in self._waiting if held.issuer_name == identity.name]:
            trial = (identity, held.crl.sha256)
            if trial in self._failed:
                continue
            if held.crl.shortcoming_of_issuer(issuer) is not None:
                if len(self._failed) >= _MAX_TRIALS:
                    self._failed.clear()
                self._failed.add(trial)
                continue
            self._waiting.remove(held)
            self._known[identity] = issuer
            try:
                self._place(identity, held, at=at)
            except ListRefused:
                continue  # an older one that waited longer

    def _place(self, identity: AuthorityId, held: HeldList, *, at: datetime) -> None:
        key = (identity, held.crl.scope, held.crl.is_delta)
        current = self._proven.get(key)
        if current is not None:
            self._refuse_worse(held, current, at=at)
        self._proven[key] = held
        self.version += 1
        self._by_authority[identity] = tuple(
            other for (other_identity, *_), other in self._proven.items() if other_identity == identity
        )

    def _refuse_worse(self, held: HeldList, current: HeldList, *, at: datetime) -> None:
        place = f"the list of '{held.crl.issuer}' does not replace the one from {current.source}"
        is_current_good = current.crl.shortcoming_at(at, grace=self._grace) is None
        # Numbers may start anew once the old list has ended; dates never go back, or a replay could undo revocations.
        if held.crl.this_update < current.crl.this_update or (is_current_good and held.crl.is_older_than(current.crl)):
            raise ListRefused(f"{place}: it is older")
        shortcoming = held.crl.shortcoming_at(at, grace=self._grace)
        if is_current_good and shortcoming is not None:
            raise ListRefused(f"{place}: {shortcoming}")

    def _wait(self, held: HeldList) -> None:
        self._waiting.append(held)
        while len(self._waiting) > 1 and (
            len(self._waiting) > MAX_WAITING_LISTS
            or sum(len(other.crl) for other in self._waiting) > MAX_WAITING_ENTRIES
        ):
            del self._waiting[0]


def _is_overtaken(delta: CRL, bases: Sequence[HeldList]) -> bool:
    """Whether a complete list already says what the delta said."""
    return any(
        base.crl.scope is delta.scope
        and base.crl.number is not None
        and delta.number is not None
        and base.crl.number >= delta.number
        for base in bases
    )
