"""SPIFFE trust domains: each with the bundle in force for it, and no bundle speaks for the IDs of another.

bundle → SpiffeDomains.with_bundle → verify → TrustedSVID
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final, Self

from mtls_as.pki import openssl
from mtls_as.pki.path import Anchors, CertificateRefused, PathCertificate, verify_path
from mtls_as.pki.policy import PathPolicy
from mtls_as.pki.presented import PresentedCertificate
from mtls_as.pki.verdicts import VerdictCache, make_verdict
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import Certificate
from mtls_as.rfc.rfc7517_jwk import JWKSet
from mtls_as.rfc.spiffe_bundle import SpiffeBundle
from mtls_as.rfc.spiffe_id import SpiffeID
from mtls_as.rfc.spiffe_x509_svid import X509SVIDError, read_x509_svid

# What X509-SVID §4.4 asks of the extended key usage is asked of the leaf alone, and only where it has the extension.
_POLICY: Final = PathPolicy(extended_key_usage="any", minimum_key_strength=112)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedSVID:
    """An X.509-SVID that an authority of its own trust domain issued; made by `SpiffeDomains.verify` alone."""

    presented: PresentedCertificate
    spiffe_id: SpiffeID
    path: tuple[bytes, ...] = field(repr=False)
    """DER, leaf first, authority last."""
    valid_until: datetime
    """The earliest notAfter of the path."""


@dataclass(frozen=True, slots=True)
class _Domain:
    """One bundle, ready for use. Its verdicts end with it."""

    anchors: Anchors
    jwt_authorities: JWKSet
    verdicts: VerdictCache = field(default_factory=VerdictCache)


class SpiffeDomains:
    """The configured trust domains, and the bundles in force. It never changes: `with_bundle` makes the next one."""

    def __init__(self, domains: Mapping[str, _Domain | None], *, generation: int) -> None:
        self._domains = MappingProxyType(dict(domains))
        self.generation = generation
        """Grows with every bundle that is taken into force."""

    @classmethod
    def named(cls, names: Iterable[str]) -> Self:
        """These trust domains, none of which has a bundle yet: until then, nobody in them is trusted."""
        return cls(dict.fromkeys(names), generation=0)

    def with_bundle(self, trust_domain: str, bundle: SpiffeBundle) -> Self:
        """The same domains, with another bundle for one of them. Raises `KeyError` for a domain that is not there."""
        if trust_domain not in self._domains:
            raise KeyError(trust_domain)
        domain = _Domain(Anchors(tuple(_loaded(bundle))), bundle.jwt_authorities)
        return type(self)({**self._domains, trust_domain: domain}, generation=self.generation + 1)

    @property
    def names(self) -> tuple[str, ...]:
        """The trust domains, in the order of the configuration."""
        return tuple(self._domains)

    @property
    def authorities(self) -> Mapping[str, tuple[Certificate, ...]]:
        """The X.509 authorities in each bundle in force, for those who watch when they end."""
        return {name: domain.anchors.certificates for name, domain in self._domains.items() if domain is not None}

    def verify(self, presented: PresentedCertificate, *, trust_domain: str, at: datetime) -> TrustedSVID:
        """Verify a leaf as an X.509-SVID of one trust domain (X509-SVID §5). Raises `CertificateRefused`.

        (1) The leaf is an X.509-SVID. (2) Its ID is in this trust domain. (3) A path leads to an authority of this
        domain's own bundle. `at` is the time of the request, with a time zone. Whose ID it is, is for the caller.
        """
        try:
            spiffe_id = read_x509_svid(presented.leaf)  # (1)
        except X509SVIDError as error:
            raise CertificateRefused(error.refusal, str(error)) from None
        if spiffe_id.trust_domain != trust_domain:  # (2)
            raise CertificateRefused(Refusal.SUBJECT_MISMATCH, f"'{spiffe_id}' is not in '{trust_domain}'")
        domain = self._domain(trust_domain)
        verdict = domain.verdicts.find(presented.leaf, trust_domain, at=at)
        if verdict is None:  # (3)
            verdict = make_verdict(verify_path(presented, anchors=domain.anchors, policy=_POLICY, at=at), at=at)
            domain.verdicts.keep(presented.leaf, trust_domain, verdict)
        return TrustedSVID(presented=presented, spiffe_id=spiffe_id, path=verdict.path, valid_until=verdict.valid_until)

    def jwt_authorities(self, trust_domain: str) -> JWKSet:
        """The keys that sign the JWT-SVIDs of one trust domain. Raises `CertificateRefused` without a bundle."""
        return self._domain(trust_domain).jwt_authorities

    def _domain(self, trust_domain: str) -> _Domain:
        if trust_domain not in self._domains:
            reason = f"the SPIFFE trust domain '{trust_domain}' is not configured"
            raise CertificateRefused(Refusal.UNKNOWN_TRUST_DOMAIN, reason)
        domain = self._domains[trust_domain]
        if domain is None:
            reason = f"there is no bundle of the SPIFFE trust domain '{trust_domain}' yet"
            raise CertificateRefused(Refusal.SPIFFE_BUNDLE_UNAVAILABLE, reason)
        return domain


def _loaded(bundle: SpiffeBundle) -> Iterable[PathCertificate]:
    """The authorities of a bundle in OpenSSL's form too; one that OpenSSL cannot read vouches for nothing."""
    for certificate in bundle.x509_authorities:
        loaded = openssl.load(certificate)
        if loaded is not None:
            yield PathCertificate(certificate, loaded)
