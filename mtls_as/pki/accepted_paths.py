"""What requests leave behind in a trust domain whose tokens end with their certificates: notes, for who ends tokens.

Requests only note; a task takes the notes away. In memory alone, bounded, and for one thread.
"""

import functools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from mtls_as.pki.revocation_policy import Issued, issued_certificates
from mtls_as.rfc import x690_der as der
from mtls_as.rfc.rfc5280_certificate import Certificate, parse_certificate

MAX_NOTES: Final = 20_000
"""Of each kind; beyond that the oldest is dropped."""
NOTE_AGAIN: Final = timedelta(hours=1)
"""How long one note of a path speaks for all uses of it."""
MAX_READ: Final = 10_000
"""Stored paths that are kept in memory as they were read, some 50 MB."""
MAX_PATH: Final = 32


@dataclass(frozen=True, slots=True)
class AcceptedPath:
    """A path that was good when a request came with it."""

    path: Sequence[Issued]
    at: datetime

    @property
    def encoding(self) -> bytes:
        """The certificates, DER, leaf first, anchor last."""
        return b"".join(issued.certificate.der for issued in self.path) + self.path[-1].issuer.der


@dataclass(slots=True)
class AcceptedPaths:
    """The notes of one trust domain, by the SHA-256 of the leaf."""

    max_notes: int = MAX_NOTES
    lost: int = 0
    """Accepted paths that were dropped before anybody took them."""
    _accepted: dict[bytes, AcceptedPath] = field(default_factory=dict)
    _revoked: dict[bytes, datetime] = field(default_factory=dict)
    _noted: OrderedDict[bytes, datetime] = field(default_factory=OrderedDict)

    def accept(self, path: Sequence[Issued], *, at: datetime) -> None:
        """Note a path that a request came with and that is good, once an hour."""
        sha256 = path[0].certificate.sha256
        noted = self._noted.get(sha256)
        if noted is not None and noted <= at < noted + NOTE_AGAIN:
            return
        self._noted[sha256] = at
        self._noted.move_to_end(sha256)
        if len(self._noted) > self.max_notes:
            self._noted.popitem(last=False)
        self._accepted[sha256] = AcceptedPath(path, at)
        if len(self._accepted) > self.max_notes:
            del self._accepted[next(iter(self._accepted))]
            self.lost += 1

    def refuse(self, path: Sequence[Issued], *, at: datetime) -> None:
        """Note a path that a request came with and that is revoked."""
        sha256 = path[0].certificate.sha256
        self._revoked[sha256] = at
        if len(self._revoked) > self.max_notes:
            del self._revoked[next(iter(self._revoked))]

    def forget(self, sha256: bytes) -> None:
        """Note the next use of this leaf whenever it comes: its tokens have ended, and that use would be a new one."""
        self._noted.pop(sha256, None)

    def take_accepted(self) -> Mapping[bytes, AcceptedPath]:
        """The paths since the last time."""
        taken, self._accepted = self._accepted, {}
        return taken

    def put_back(self, accepted: Mapping[bytes, AcceptedPath]) -> None:
        """What could not be stored: to be taken again, unless there is something newer."""
        self._accepted = {**accepted, **self._accepted}
        while len(self._accepted) > self.max_notes:
            del self._accepted[next(iter(self._accepted))]
            self.lost += 1

    def take_revoked(self) -> Mapping[bytes, datetime]:
        """The revoked leaves since the last time, and when they were shown."""
        taken, self._revoked = self._revoked, {}
        return taken

    def put_back_revoked(self, revoked: Mapping[bytes, datetime]) -> None:
        """What could not be acted on: to be taken again."""
        self._revoked = {**revoked, **self._revoked}
        while len(self._revoked) > self.max_notes:
            del self._revoked[next(iter(self._revoked))]


@functools.lru_cache(maxsize=MAX_READ)
def read_path(encoding: bytes) -> tuple[Issued, ...]:
    """What `AcceptedPath.encoding` said, most recent ones from memory. Raises `CertificateError` or `DERError`."""
    elements = der.read_elements(encoding, limit=MAX_PATH)
    leaf = parse_certificate(elements[0].encoding) if elements else None
    above = [_read_authority(element.encoding) for element in elements[1:]]
    return issued_certificates([leaf, *above]) if leaf else ()


@functools.lru_cache(maxsize=MAX_READ)
def _read_authority(encoding: bytes) -> Certificate:
    """One object for all the paths that it stands in."""
    return parse_certificate(encoding)
