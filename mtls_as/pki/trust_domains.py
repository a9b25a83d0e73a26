"""Trust domains: each a set of anchors with a policy. A client names one, and no other can vouch for its certificates.

settings → load (all or nothing) → TrustDomains → verify → TrustedCertificate
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Self

from msgspec import Struct

from mtls_as.pki.anchors import TrustConfigurationError, load_anchors
from mtls_as.pki.path import Anchors, CertificateRefused, verify_path
from mtls_as.pki.policy import ExtendedKeyUsage, PathPolicy
from mtls_as.pki.presented import PresentedCertificate
from mtls_as.pki.revocation import DomainRevocation, Revocation
from mtls_as.pki.revocation_policy import RevocationCheck, RevocationPolicy
from mtls_as.pki.verdicts import Verdict, VerdictCache, make_verdict
from mtls_as.rfc.certificate_pins import PinError, Pins
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import Certificate

__all__ = ["TrustConfigurationError", "TrustDomainSettings", "TrustDomains", "TrustedCertificate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustDomainSettings:
    """The configuration of one trust domain."""

    name: str
    anchors: tuple[str, ...]
    """Paths or globs of PEM files, or pins: `sha256:` and the digest of a certificate or of its public key, in hex."""
    extended_key_usage: ExtendedKeyUsage = "clientAuth"
    minimum_key_strength: int = 112
    """Bits of security (NIST SP 800-57 part 1): 112 is RSA 2048, 128 is P-256."""
    signature_algorithms: tuple[str, ...] = ()
    """Those of `SIGNATURE_ALGORITHMS` that may sign the certificates of a path; empty for every strong one."""
    required_issuer: tuple[str, ...] = ()
    """Pins of CAs, one of which must be on the path."""
    required_policy: tuple[str, ...] = ()
    """Dotted OIDs of certificate policies, one of which must hold along the path (RFC 5280 §6.1)."""
    revocation: RevocationPolicy = field(default_factory=RevocationPolicy)
    """By default nothing is checked."""


class TrustedCertificate(Struct, frozen=True, kw_only=True):  # one for each request, in a tenth of a dataclass's time
    """A certificate whose path was verified in a trust domain; made by `TrustDomains.verify` alone."""

    presented: PresentedCertificate
    domain: str
    path: tuple[bytes, ...]
    """DER, leaf first, anchor last."""
    valid_until: datetime
    """The earliest notAfter of the path."""
    revocation: tuple[RevocationCheck, ...] = ()
    """What is known of each certificate of the path but the anchor, leaf first; empty if the domain checks nothing."""


@dataclass(frozen=True, slots=True)
class _Domain:
    anchors: Anchors
    policy: PathPolicy
    revocation: DomainRevocation | None


class TrustDomains:
    """The trust domains of one load. It never changes: a reload loads a new set, and the caller swaps it in."""

    def __init__(self, domains: Mapping[str, _Domain], *, generation: int, warnings: tuple[str, ...]) -> None:
        self._domains = MappingProxyType(dict(domains))
        self._verdicts = VerdictCache()
        self.generation = generation
        """Grows with every load; what was remembered of an older one must be forgotten."""
        self.warnings = warnings
        """What an operator should know: anchors that have expired, or that can vouch for nothing."""

    @classmethod
    def load(
        cls,
        settings: Sequence[TrustDomainSettings],
        *,
        base: Path,
        generation: int = 1,
        at: datetime | None = None,
        revocation: Revocation | None = None,
    ) -> Self:
        """Read and check every anchor of every domain. Raises `TrustConfigurationError`, and then nothing is loaded.

        Paths are relative to `base`. A reload passes the generation of the set in force plus one. `at`, by default now,
        only decides which anchors are warned about. `revocation` keeps what is known from one load to the next; without
        it the revocation lists in files are read once, and nothing is fetched.
        """
        revocation = revocation or Revocation(base=base)
        domains: dict[str, _Domain] = {}
        warnings: list[str] = []
        for domain in settings:
            if domain.name in domains:
                raise TrustConfigurationError(f"trust domain '{domain.name}': it is there twice")
            policy = _policy(domain)
            loaded = load_anchors(domain.name, domain.anchors, base=base, policy=policy, at=at or datetime.now(UTC))
            anchors = Anchors(loaded.authorities, loaded.pins)
            state = revocation.domain(domain.name, domain.revocation, anchors.certificates)
            domains[domain.name] = _Domain(anchors, policy, state)
            warnings += loaded.warnings
        return cls(domains, generation=generation, warnings=tuple(warnings))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the domains, in the order of the configuration."""
        return tuple(self._domains)

    @property
    def anchors(self) -> Mapping[str, tuple[Certificate, ...]]:
        """The trust anchors of each domain, for those who watch when they end; what is only pinned is not at hand."""
        return {name: domain.anchors.certificates for name, domain in self._domains.items()}

    @property
    def revocations(self) -> tuple[DomainRevocation, ...]:
        """What the domains that check revocation know of it."""
        return tuple(domain.revocation for domain in self._domains.values() if domain.revocation is not None)

    def verify(self, presented: PresentedCertificate, *, domain: str, at: datetime) -> TrustedCertificate:
        """Verify the presented leaf against one domain's anchors and policy. Raises `CertificateRefused`.

        `at` is the time of the request, with a time zone. Which client the certificate stands for is for the caller to
        decide next, by its subject (RFC 8705 §2.1).
        """
        found, verdict = self._verify_path(presented, domain=domain, at=at)
        return _trusted(presented, domain, found, verdict, at=at)

    async def verify_online(self, presented: PresentedCertificate, *, domain: str, at: datetime) -> TrustedCertificate:
        """`verify`, which judges from memory; where that lacks an answer, after one bounded wait for it.

        A path that is not valid asks nobody anything. Raises `CertificateRefused`.
        """
        found, verdict = self._verify_path(presented, domain=domain, at=at)
        if found.revocation is not None and found.revocation.may_learn_more:
            await self._bring_revocation(found.revocation, verdict, at=at)
        return _trusted(presented, domain, found, verdict, at=at)

    @property
    def verdict_lookups(self) -> tuple[int, int]:
        """How often a path was known to be valid, and how often it had to be verified."""
        return self._verdicts.hits, self._verdicts.misses

    def _verify_path(self, presented: PresentedCertificate, *, domain: str, at: datetime) -> tuple[_Domain, Verdict]:
        found = self._domains.get(domain)
        if found is None:
            raise CertificateRefused(Refusal.UNKNOWN_TRUST_DOMAIN, f"there is no trust domain '{domain}'")
        verdict = self._verdicts.find(presented.leaf, domain, at=at)
        if verdict is None:
            verdict = self._find_path(presented, found, at=at)
            self._verdicts.keep(presented.leaf, domain, verdict)
        return found, verdict

    def _find_path(self, presented: PresentedCertificate, domain: _Domain, *, at: datetime) -> Verdict:
        return make_verdict(verify_path(presented, anchors=domain.anchors, policy=domain.policy, at=at), at=at)

    async def _bring_revocation(self, revocation: DomainRevocation, verdict: Verdict, *, at: datetime) -> None:
        await revocation.bring(verdict.issued, at=at)


def _trusted(
    presented: PresentedCertificate, domain: str, found: _Domain, verdict: Verdict, *, at: datetime
) -> TrustedCertificate:
    """The certificate of a path that is valid, unless one on it is revoked. Raises `CertificateRefused`."""
    return TrustedCertificate(
        presented=presented,
        domain=domain,
        path=verdict.path,
        valid_until=verdict.valid_until,
        revocation=found.revocation.check(verdict.issued, at=at) if found.revocation else (),
    )


def _policy(domain: TrustDomainSettings) -> PathPolicy:
    try:
        required_issuers = Pins.of(domain.required_issuer)
    except PinError as error:
        raise TrustConfigurationError(f"trust domain '{domain.name}': required_issuer: {error}") from None
    return PathPolicy(
        extended_key_usage=domain.extended_key_usage,
        minimum_key_strength=domain.minimum_key_strength,
        signature_algorithms=frozenset(domain.signature_algorithms),
        required_issuers=required_issuers,
        required_policies=domain.required_policy,
    )
