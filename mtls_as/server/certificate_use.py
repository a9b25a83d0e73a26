"""Certificates as they were used: which one authenticated which client, how often, and when last."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

from mtls_as.rfc.rfc5280_certificate import Certificate
from mtls_as.rfc.rfc8705_mtls import x5t_s256


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateUse:
    """One certificate that authenticated one client. Times are seconds since the epoch."""

    x5t_s256: str
    client_id: str
    authentication_method: str
    trust: str | None
    """The trust domain that vouched for it, or None where the client registered the certificate itself."""
    subject: str
    """RFC 4514."""
    issuer: str
    serial_number: str
    """Lower-case hexadecimal."""
    not_after: float
    first_used_at: float
    last_used_at: float
    count: int

    @classmethod
    def of(
        cls,
        certificate: Certificate,
        *,
        client_id: str,
        authentication_method: str,
        trust: str | None,
        first_used_at: float,
        last_used_at: float,
        count: int,
    ) -> Self:
        """The uses of a certificate in a stretch of time."""
        return cls(
            x5t_s256=x5t_s256(certificate.der),
            client_id=client_id,
            authentication_method=authentication_method,
            trust=trust,
            subject=str(certificate.subject),
            issuer=str(certificate.issuer),
            serial_number=f"{certificate.serial_number:x}",
            not_after=certificate.not_after.timestamp(),
            first_used_at=first_used_at,
            last_used_at=last_used_at,
            count=count,
        )

    def and_then(self, later: "CertificateUse") -> "CertificateUse":
        """Both as one: the same certificate and client, used before and after."""
        return replace(
            self,
            authentication_method=later.authentication_method,
            trust=later.trust,
            first_used_at=min(self.first_used_at, later.first_used_at),
            last_used_at=max(self.last_used_at, later.last_used_at),
            count=self.count + later.count,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenCertificate:
    """A remembered use, and whether it is over."""

    use: CertificateUse
    replaced: bool
    """Whether the client has since come with a certificate that ends later, and never again with this one."""


class CertificateUseStore(Protocol):
    """Remembers uses. Every method raises `StorageUnavailable`."""

    async def record(self, uses: Sequence[CertificateUse]) -> None:
        """Add what happened to what is remembered; all of it, or nothing."""
        ...

    async def prune(self, *, ended_before: float, replaced_before: float, keep: int) -> int:
        """Forget certificates that ended before a time, those that were replaced before another, and the rest.

        The rest are, beyond `keep`, the least recently used. Returns how many it forgot.
        """
        ...
