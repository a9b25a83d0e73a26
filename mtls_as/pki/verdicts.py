"""A bounded memory of paths that were verified, so that a returning certificate is not verified again at once."""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from mtls_as.pki.revocation_policy import Issued, issued_certificates
from mtls_as.rfc.rfc5280_certificate import Certificate

MAX_VERDICTS: Final = 2048
MAX_AGE: Final = timedelta(seconds=300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A path that was found valid, and the time in which it is."""

    path: tuple[bytes, ...] = field(repr=False)
    """DER, leaf first, anchor last."""
    valid_from: datetime
    """The latest notBefore of the path."""
    valid_until: datetime
    """The earliest notAfter of the path."""
    verified_at: datetime
    issued: tuple[Issued, ...] = field(default=(), repr=False)
    """Whose revocation is to be checked; not decided here, since lists change while the path stays valid."""

    def holds(self, at: datetime) -> bool:
        """Whether it still speaks for that time: within every validity of the path, and not too old."""
        is_valid = self.valid_from <= at <= self.valid_until
        return is_valid and self.verified_at <= at < self.verified_at + MAX_AGE


def make_verdict(path: tuple[Certificate, ...], *, at: datetime) -> Verdict:
    """The verdict on a path that was verified at that time."""
    return Verdict(
        path=tuple(certificate.der for certificate in path),
        valid_from=max(certificate.not_before for certificate in path),
        valid_until=min(certificate.not_after for certificate in path),
        verified_at=at,
        issued=issued_certificates(path),
    )


class VerdictCache:
    """Verdicts by the SHA-256 of the leaf and the trust domain, the least recently used dropped first.

    Each generation of trust domains has its own, so no verdict outlives the anchors it stands on. Only acceptances are
    kept: a refusal may end with the next second, or with a chain that is sent along the next time. For one thread.
    """

    def __init__(self, size: int = MAX_VERDICTS) -> None:
        self._size = size
        self._verdicts: OrderedDict[tuple[bytes, str], Verdict] = OrderedDict()
        self.hits = self.misses = 0

    def find(self, leaf: Certificate, domain: str, *, at: datetime) -> Verdict | None:
        """The verdict that holds at that time, or None."""
        key = (leaf.sha256, domain)
        verdict = self._verdicts.get(key)
        if verdict is None or not verdict.holds(at):
            self.misses += 1
            return None
        self.hits += 1
        self._verdicts.move_to_end(key)
        return verdict

    def keep(self, leaf: Certificate, domain: str, verdict: Verdict) -> None:
        """Remember a verdict, in place of an older one."""
        self._verdicts[leaf.sha256, domain] = verdict
        self._verdicts.move_to_end((leaf.sha256, domain))
        if len(self._verdicts) > self._size:
            self._verdicts.popitem(last=False)

    def __len__(self) -> int:
        return len(self._verdicts)
