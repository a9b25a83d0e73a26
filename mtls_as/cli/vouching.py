"""Who vouches for a certificate: the path that each trust domain finds, what is known of its revocation, or why not."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from mtls_as.cli.certificate_facts import toml_assignment
from mtls_as.pki.path import CertificateRefused, describe
from mtls_as.pki.presented import PresentedCertificate
from mtls_as.pki.revocation_policy import RevocationCheck
from mtls_as.pki.spiffe_domains import SpiffeDomains
from mtls_as.pki.trust_domains import TrustDomains, TrustDomainSettings
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import Certificate, parse_certificate
from mtls_as.rfc.spiffe_id import SpiffeID

# The setting of a trust domain that a refusal comes from; the others come from RFC 5280 itself.
_SETTINGS: Final[Mapping[Refusal, str]] = MappingProxyType(
    {
        Refusal.WRONG_EXTENDED_KEY_USAGE: "extended_key_usage",
        Refusal.WEAK_KEY: "minimum_key_strength",
        Refusal.SIGNATURE_ALGORITHM_NOT_ALLOWED: "signature_algorithms",
        Refusal.REQUIRED_ISSUER_MISSING: "required_issuer",
        Refusal.REQUIRED_POLICY_MISSING: "required_policy",
        Refusal.REVOCATION_UNKNOWN: "revocation",
    }
)
_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouching:
    """What one trust domain says of a certificate. Either there is a path, or a reason with its detail."""

    domain: str
    is_spiffe: bool = False
    path: tuple[Certificate, ...] = ()
    """Leaf first, anchor last."""
    revocation: tuple[RevocationCheck, ...] = ()
    reason: Refusal | None = None
    detail: str | None = None
    policy: str | None = None
    """The setting that refused it, as a line of the configuration."""


async def ask_trust_domains(
    presented: PresentedCertificate, trust: TrustDomains, settings: Iterable[TrustDomainSettings], *, at: datetime
) -> list[Vouching]:
    """Ask each of these domains of `trust`, as a request would."""
    return [await _ask(presented, trust, domain, at) for domain in settings]


def ask_spiffe_domain(
    presented: PresentedCertificate, spiffe: SpiffeDomains, spiffe_id: SpiffeID, *, at: datetime
) -> Vouching:
    """Ask the SPIFFE trust domain that the certificate's own ID names."""
    name = spiffe_id.trust_domain
    try:
        svid = spiffe.verify(presented, trust_domain=name, at=at)
    except CertificateRefused as error:
        return Vouching(domain=name, is_spiffe=True, reason=error.refusal, detail=error.detail)
    return Vouching(domain=name, is_spiffe=True, path=_parsed(svid.path))


async def _ask(
    presented: PresentedCertificate, trust: TrustDomains, settings: TrustDomainSettings, at: datetime
) -> Vouching:
    try:
        trusted = await trust.verify_online(presented, domain=settings.name, at=at)
    except CertificateRefused as error:
        policy = _policy(settings, error.refusal)
        return Vouching(domain=settings.name, reason=error.refusal, detail=error.detail, policy=policy)
    return Vouching(domain=settings.name, path=_parsed(trusted.path), revocation=trusted.revocation)


def vouching_members(vouching: Vouching, *, at: datetime) -> dict[str, Any]:
    """Everything, JSON types only."""
    return {
        "domain": vouching.domain,
        "spiffe": vouching.is_spiffe,
        "trusted": vouching.reason is None,
        "reason": vouching.reason,
        "detail": vouching.detail,
        "policy": vouching.policy,
        "path": [_step(certificate, at) for certificate in vouching.path],
        "anchor": _step(vouching.path[-1], at) if vouching.path else None,
        "revocation": [_check(check, at) for check in vouching.revocation],
    }


def vouching_lines(vouching: Vouching, *, at: datetime) -> list[str]:
    """The same for people, the first line naming the domain."""
    kind = "SPIFFE trust domain " if vouching.is_spiffe else ""
    if vouching.reason is not None:
        lines = [f"{kind}{vouching.domain}: refused, {vouching.reason}: {vouching.detail}"]
        return [*lines, f"  asked for by: {vouching.policy}"] if vouching.policy else lines
    lines = [f"{kind}{vouching.domain}: trusted"]
    for depth, certificate in enumerate(vouching.path):
        role = "leaf" if depth == 0 else "anchor" if depth == len(vouching.path) - 1 else "issuer"
        days = _days_left(certificate, at)
        ends = f"{days} days left" if days >= 0 else "ended"
        lines.append(f"  {role:8}{describe(certificate)} ({ends}, sha256:{certificate.sha256.hex()})")
    return lines + [f"  {'revoked?':8} {_check_line(check, at)}" for check in vouching.revocation]


def _parsed(path: Iterable[bytes]) -> tuple[Certificate, ...]:
    return tuple(parse_certificate(der) for der in path)


def _policy(settings: TrustDomainSettings, refusal: Refusal) -> str | None:
    key = _SETTINGS.get(refusal)
    if key is None:
        return None
    value = settings.revocation.fails if key == "revocation" else getattr(settings, key)
    return f"[trust.{settings.name}] {toml_assignment(key, list(value) if isinstance(value, tuple) else value)}"


def _step(certificate: Certificate, at: datetime) -> dict[str, Any]:
    return {
        "subject": str(certificate.subject),
        "issuer": str(certificate.issuer),
        "serial_number": f"{certificate.serial_number:x}",
        "not_after": _format(certificate.not_after),
        "days_left": _days_left(certificate, at),
        "sha256": certificate.sha256.hex(),
    }


def _check(check: RevocationCheck, at: datetime) -> dict[str, Any]:
    return {
        "subject": str(check.certificate.subject),
        "status": check.status.value,
        "kind": check.kind,
        "source": check.source,
        "number": check.number,
        "this_update": None if check.this_update is None else _format(check.this_update),
        "next_update": None if check.next_update is None else _format(check.next_update),
        "age_seconds": None if check.this_update is None else math.floor((at - check.this_update).total_seconds()),
        "detail": check.detail or None,
    }


def _check_line(check: RevocationCheck, at: datetime) -> str:
    name = describe(check.certificate)
    if check.source is None or check.this_update is None:
        return f"{name}: {check.status}, let through because revocation fails {check.policy}: {check.detail}"
    number = "" if check.number is None else f" number {check.number}"
    next_update = "no next update" if check.next_update is None else f"next update {_format(check.next_update)}"
    age = _duration((at - check.this_update).total_seconds())
    return f"{name}: {check.status}, by {check.kind} {check.source}{number}, {age} old, {next_update}"


def _duration(seconds: float) -> str:
    for unit, size in (("days", _DAY_SECONDS), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{math.floor(seconds / size)} {unit}"
    return f"{math.floor(seconds)} seconds"


def _days_left(certificate: Certificate, at: datetime) -> int:
    return math.floor((certificate.not_after - at).total_seconds() / _DAY_SECONDS)


def _format(time: datetime) -> str:
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")
