"""RFC 5280 §5.3, the entries of a revocation list, as an index from serial numbers: two numbers for each entry."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from cryptography import x509

MAX_ENTRIES: Final = 1_000_000

_REASONS: Final = tuple(x509.ReasonFlags)
_UNSPECIFIED: Final = _REASONS.index(x509.ReasonFlags.unspecified)
_REMOVED: Final = _REASONS.index(x509.ReasonFlags.remove_from_crl)
_REASON_BITS: Final = 4
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)


class CRLError(Exception):
    """The bytes are not a revocation list that is used here. The message says why and quotes no raw input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """What a list says of one certificate."""

    at: datetime
    reason: str
    """As in RFC 5280 §5.3.1: `keyCompromise`, `certificateHold`, …; `removeFromCRL`, in delta lists, takes it back."""

    @property
    def is_removal(self) -> bool:
        return self.reason == x509.ReasonFlags.remove_from_crl.value


def index_entries(library: x509.CertificateRevocationList, *, is_delta: bool) -> Mapping[int, int]:
    """Index the entries by serial number. Raises `CRLError`, and what the library raises on hostile bytes."""
    count = len(library)
    if count > MAX_ENTRIES:
        raise CRLError(f"it has more than {MAX_ENTRIES} entries")
    index: dict[int, int] = {}
    for entry in library if count else ():
        reason = _read_reason(entry.extensions)
        if reason == _REMOVED and not is_delta:
            raise CRLError("it takes a revocation back, which only a delta list may")
        serial_number = entry.serial_number
        if reason == _REMOVED and serial_number in index:
            continue  # of two entries for one certificate, the one that revokes counts
        seconds = (entry.revocation_date_utc - _EPOCH) // _SECOND
        index[serial_number] = seconds << _REASON_BITS | reason
    return MappingProxyType(index)


def revocation_of(packed: int) -> Revocation:
    """The entry that the index holds as one number."""
    seconds, reason = packed >> _REASON_BITS, packed & ((1 << _REASON_BITS) - 1)
    return Revocation(at=_EPOCH + timedelta(seconds=seconds), reason=_REASONS[reason].value)


def _read_reason(extensions: x509.Extensions) -> int:
    reason = _UNSPECIFIED
    for extension in extensions:
        if isinstance(extension.value, x509.CRLReason):
            reason = _REASONS.index(extension.value.reason)
        elif isinstance(extension.value, x509.CertificateIssuer):
            raise CRLError("an entry names another CA, as in an indirect list")
        elif extension.critical:
            raise CRLError(f"an entry has the critical extension {extension.oid.dotted_string}, which is not known")
    return reason
