"""The audit trail: what is recorded, and how records are chained so that none can be taken away or altered unnoticed.

Each record has the SHA-256 hash of itself and the hash before it, and a seal: a MAC of that hash, with a key that the
database does not hold. The head says which record is the last, the anchor which one was the last to be pruned; both are
sealed for their own purpose, so that no record's seal can be passed off as one of theirs.
"""

import hashlib
import hmac
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from mtls_as.rfc.rfc4648_base64url import Base64URLError, decode_base64url, encode_base64url

BREAK_KIND: Final = "break"
"""The kind of a record that says: before it, a server found that the trail had been altered."""
SEAL_BYTES: Final = 32
_HEADER: Final = struct.Struct(">32sQdHH")


class CheckpointError(ValueError):
    """A text that is no checkpoint."""


class AuditEntry(NamedTuple):
    """What is to be recorded: a JSON object as text, and by what it is found. `at` is in seconds since the epoch."""

    at: float
    kind: str
    """The endpoint of a request; or `reload`, `command`, `key`, `start`, `stop`, `handshakes`, `strangers`, `gap`,
    `pruned`; or the kind of a break."""
    text: str
    client_id: str | None = None


class Link(NamedTuple):
    """A place in the chain: the number of a record, and its hash."""

    sequence: int
    hash: bytes


GENESIS: Final = Link(0, bytes(32))
"""Before the first record."""


class AuditRecord(NamedTuple):
    """An entry at its place in the chain."""

    link: Link
    entry: AuditEntry
    seal: bytes


class Purpose(StrEnum):
    """What a seal says of a link."""

    RECORD = "record"
    HEAD = "head"
    ANCHOR = "anchor"
    CHECKPOINT = "checkpoint"


class Sealer:
    """Makes and checks seals with a secret of 32 bytes, the same at every node."""

    def __init__(self, secret: bytes) -> None:
        # What is the same of all seals is computed once: to go on from it costs a third of a new HMAC.
        keyed = HMAC(secret, SHA256())
        self._begun = {purpose: keyed.copy() for purpose in Purpose}
        for purpose, begun in self._begun.items():
            begun.update(b"%s " % purpose.value.encode())

    def seal(self, purpose: Purpose, link: Link) -> bytes:
        """HMAC-SHA-256 of the purpose and the link."""
        made = self._begun[purpose].copy()
        made.update(b"%d %s" % link)
        return made.finalize()

    def is_genuine(self, purpose: Purpose, link: Link, seal: bytes) -> bool:
        """Whether the seal was made by someone with the secret. The beginning needs no seal."""
        return link == GENESIS or hmac.compare_digest(self.seal(purpose, link), seal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The head at some time, to be kept where nobody who can write to the database can write."""

    link: Link
    seal: bytes

    def __str__(self) -> str:
        return f"{self.link.sequence}:{encode_base64url(self.link.hash)}:{encode_base64url(self.seal)}"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """The checkpoint of a text. Raises `CheckpointError`."""
        match = re.fullmatch(r"([0-9]{1,18}):([\w-]{43}):([\w-]{43})", text, re.ASCII)
        if match is None:
            raise CheckpointError("this is no checkpoint: give what mtls-as audit head printed")
        try:
            hashed, seal = decode_base64url(match[2]), decode_base64url(match[3])
        except Base64URLError:
            raise CheckpointError("this is no checkpoint: it was altered") from None
        return cls(link=Link(int(match[1]), hashed), seal=seal)


def next_link(before: Link, entry: AuditEntry) -> Link:
    """The link of an entry that follows `before`."""
    sequence = before.sequence + 1
    kind, client_id = entry.kind.encode(), (entry.client_id or "").encode()  # a client_id is never empty
    header = _HEADER.pack(before.hash, sequence, entry.at, len(kind), len(client_id))
    return Link(sequence, hashlib.sha256(b"".join((header, kind, client_id, entry.text.encode()))).digest())


def chained(before: Link, entries: Sequence[AuditEntry], sealer: Sealer) -> list[AuditRecord]:
    """The records of these entries, which follow `before`."""
    records = list[AuditRecord]()
    for entry in entries:
        before = next_link(before, entry)
        records.append(AuditRecord(link=before, entry=entry, seal=sealer.seal(Purpose.RECORD, before)))
    return records


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The sealed ends of a trail, and the number of the last record that there really is (0 for none)."""

    head: Link
    head_seal: bytes
    anchor: Link
    """The last record that was pruned."""
    anchor_seal: bytes
    last: int


class AuditStore(Protocol):
    """Where the trail is written. Every method raises `StorageUnavailable`."""

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """Record all of them, in their order, behind what every node has recorded so far; all, or none."""
        ...

    async def prune(self, *, ended_before: float, keep: int) -> int:
        """Forget records before a time (epoch seconds), and all but the last `keep`; returns how many."""
        ...
