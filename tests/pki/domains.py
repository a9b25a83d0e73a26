"""Trust domains for tests, made of authorities; and what becomes of a chain in them."""

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mtls_as.pki.path import CertificateRefused
from mtls_as.pki.presented import present
from mtls_as.pki.trust_domains import TrustDomains, TrustDomainSettings, TrustedCertificate
from tests.authority import Authority, Identity

DOMAIN = "partner"


def now() -> datetime:
    return datetime.now(UTC)


def domain_of(*anchors: Authority, **settings: Any) -> TrustDomains:
    """One trust domain with these anchors; `settings` as in `TrustDomainSettings`."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "ca.pem").write_text("".join(anchor.pem for anchor in anchors))
        domain = TrustDomainSettings(name=DOMAIN, anchors=("ca.pem",), **settings)
        return TrustDomains.load([domain], base=Path(folder))


def verify(
    domains: TrustDomains, chain: Identity | Sequence[bytes], *, at: datetime | None = None
) -> TrustedCertificate:
    """Verify a chain, leaf first, in the one domain."""
    der_chain = chain.der_chain if isinstance(chain, Identity) else chain
    return domains.verify(present(der_chain), domain=DOMAIN, at=at or now())


def refused(
    domains: TrustDomains, chain: Identity | Sequence[bytes], *, at: datetime | None = None
) -> CertificateRefused:
    """The refusal of a chain; the test fails if it is accepted."""
    with pytest.raises(CertificateRefused) as caught:
        verify(domains, chain, at=at)
    return caught.value
