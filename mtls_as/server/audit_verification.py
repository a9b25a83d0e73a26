"""Is the audit trail whole? Goes along the chain, and says which record is the first that is not as it was written."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from mtls_as.server.audit import (
    BREAK_KIND,
    GENESIS,
    AuditRecord,
    Bounds,
    Checkpoint,
    Link,
    Purpose,
    Sealer,
    next_link,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """The first thing that is wrong: at which record, and what."""

    sequence: int
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was looked at: records `first` to `last`; no record if `last` is the lesser."""

    first: int
    last: int
    damage: Damage | None

    @property
    def count(self) -> int:
        return max(0, self.last - self.first + 1)


class AuditSource(Protocol):
    """Where a trail is read. Every method raises `StorageUnavailable`."""

    async def bounds(self) -> Bounds:
        """The ends of the trail, at one moment."""
        ...

    def records(self, *, after: int, through: int) -> AsyncIterator[AuditRecord]:
        """The records in their order, from behind one number up to another."""
        ...

    async def find(self, sequence: int) -> AuditRecord | None:
        """One record."""
        ...


async def verify_trail(source: AuditSource, sealer: Sealer, *, since: Checkpoint | None = None) -> Verified:
    """Verify a trail, from its oldest record or from a checkpoint on, up to where its head is now.

    (1) The head and the anchor were written with the secret. (2) A checkpoint is genuine, and its record is there as it
    was. (3) Each record has the next number, the hash of its content and its predecessor, and a genuine seal. (4) The
    last one is what the head names.
    """
    while True:
        bounds = await source.bounds()
        verified = await _verify(source, sealer, bounds, since)
        # Pruning meanwhile takes records away under the eyes of whoever reads them.
        if verified.damage is None or (await source.bounds()).anchor == bounds.anchor:
            return verified


async def _verify(source: AuditSource, sealer: Sealer, bounds: Bounds, since: Checkpoint | None) -> Verified:
    head, start = bounds.head, bounds.anchor
    damage = _damaged_ends(bounds, sealer)  # (1)
    if since is not None:
        start = since.link
        damage = damage or await _damaged_checkpoint(source, sealer, bounds, since)  # (2)
    at = start
    if damage is None:
        async for record in source.records(after=start.sequence, through=head.sequence):  # (3)
            damage = _damaged_record(at, record, sealer)
            if damage is not None:
                break
            at = record.link
    if damage is None and at != head:  # (4)
        damage = _missing(at, head)
    return Verified(first=start.sequence + 1, last=at.sequence, damage=damage)


def _damaged_ends(bounds: Bounds, sealer: Sealer) -> Damage | None:
    head, anchor = bounds.head, bounds.anchor
    if not sealer.is_genuine(Purpose.ANCHOR, anchor, bounds.anchor_seal):
        problem = "what says where the trail begins was altered: records before this one may have been taken away"
        return Damage(sequence=anchor.sequence + 1, problem=problem)
    if not sealer.is_genuine(Purpose.HEAD, head, bounds.head_seal):
        return Damage(sequence=head.sequence, problem="the head, which says where the trail ends, was altered")
    if bounds.last > head.sequence:
        return Damage(sequence=head.sequence + 1, problem="there are records behind the head")
    return None


async def _damaged_checkpoint(source: AuditSource, sealer: Sealer, bounds: Bounds, since: Checkpoint) -> Damage | None:
    link = since.link
    if not sealer.is_genuine(Purpose.CHECKPOINT, link, since.seal):
        return Damage(sequence=link.sequence, problem="the checkpoint was not made with this server's storage key")
    if link.sequence > bounds.head.sequence:
        problem = f"records up to {link.sequence} were there when the checkpoint was made: the end is cut off"
        return Damage(sequence=bounds.head.sequence + 1, problem=problem)
    if link.sequence < bounds.anchor.sequence:
        problem = f"was pruned since, like all up to {bounds.anchor.sequence}: the checkpoint is too old to go on from"
        return Damage(sequence=link.sequence, problem=problem)
    if link in (bounds.anchor, GENESIS):
        return None
    record = await source.find(link.sequence)
    if record is None:
        return Damage(sequence=link.sequence, problem="is missing")
    if record.link != link:
        return Damage(sequence=link.sequence, problem="is not the one that was there when the checkpoint was made")
    return None


def _damaged_record(before: Link, record: AuditRecord, sealer: Sealer) -> Damage | None:
    expected, found = before.sequence + 1, record.link
    if found.sequence != expected:
        return Damage(sequence=expected, problem="is missing")
    if next_link(before, record.entry) != found:
        return Damage(sequence=expected, problem="was altered, or does not follow the one before it")
    if not sealer.is_genuine(Purpose.RECORD, found, record.seal):
        return Damage(sequence=expected, problem="was written by someone who does not have the storage key")
    if record.entry.kind == BREAK_KIND:
        return Damage(sequence=expected, problem="was written because a server found the trail before it altered")
    return None


def _missing(last: Link, head: Link) -> Damage:
    if last.sequence < head.sequence:
        return Damage(sequence=last.sequence + 1, problem="is missing, with all up to the head")
    return Damage(sequence=head.sequence, problem="is not the one that the head names")
