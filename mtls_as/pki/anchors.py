"""Trust anchors from PEM files: found, read and checked before any of them counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from mtls_as.pki import openssl
from mtls_as.pki.path import PathCertificate, describe
from mtls_as.pki.policy import PathPolicy
from mtls_as.rfc.rfc5280_certificate import Certificate, CertificateError, parse_pem_certificates

_GLOB: Final = frozenset("*?[")


class TrustConfigurationError(Exception):
    """The anchors of a domain cannot be used. The message names the domain, the file and what is wrong."""


@dataclass(frozen=True, slots=True)
class LoadedAnchors:
    """The anchors of one domain, each once, with what an operator should know about them."""

    authorities: tuple[PathCertificate, ...]
    warnings: tuple[str, ...]


def load_anchors(
    domain: str, patterns: Sequence[str], *, base: Path, policy: PathPolicy, at: datetime
) -> LoadedAnchors:
    """Load the anchors of a domain from paths or globs, relative to `base`. Raises `TrustConfigurationError`.

    Every file must hold certificates of CAs and nothing else. One that has expired, or that the policy rules out, is
    loaded with a warning: during a roll-over such anchors stand beside good ones.
    """
    authorities: dict[bytes, PathCertificate] = {}
    warnings: list[str] = []
    for path in [path for pattern in patterns for path in _find(domain, pattern, base)]:
        for certificate in _read(domain, path):
            if certificate.sha256 in authorities:
                continue
            authorities[certificate.sha256] = _check(domain, path, certificate)
            problem = _shortcoming(certificate, policy, at)
            if problem:
                warnings.append(f"trust domain '{domain}': {path}: anchor '{describe(certificate)}' {problem}")
    if not authorities:
        raise TrustConfigurationError(f"trust domain '{domain}': it has no anchors")
    return LoadedAnchors(tuple(authorities.values()), tuple(warnings))


def _find(domain: str, pattern: str, base: Path) -> list[Path]:
    if not _GLOB.intersection(pattern):
        return [base / pattern]
    root = Path(Path(pattern).anchor or base)
    found = sorted(path for path in root.glob(pattern.lstrip("/")) if path.is_file())
    if not found:
        raise TrustConfigurationError(f"trust domain '{domain}': {root / pattern}: no file matches")
    return found


def _read(domain: str, path: Path) -> tuple[Certificate, ...]:
    try:
        return parse_pem_certificates(path.read_bytes())
    except OSError as error:
        raise TrustConfigurationError(f"trust domain '{domain}': {path}: {error.strerror or error}") from None
    except CertificateError as error:
        raise TrustConfigurationError(f"trust domain '{domain}': {path}: {error}") from None


def _check(domain: str, path: Path, certificate: Certificate) -> PathCertificate:
    place = f"trust domain '{domain}': {path}: '{describe(certificate)}'"
    if not certificate.is_ca:
        raise TrustConfigurationError(f"{place} is not the certificate of a CA: only CAs can be anchors")
    if certificate.key_usages is not None and "keyCertSign" not in certificate.key_usages:
        raise TrustConfigurationError(f"{place} may not sign certificates: its key usage lacks keyCertSign")
    loaded = openssl.load(certificate)
    if loaded is None:
        raise TrustConfigurationError(f"{place} cannot be read by OpenSSL")
    return PathCertificate(certificate, loaded)


def _shortcoming(certificate: Certificate, policy: PathPolicy, at: datetime) -> str | None:
    if at > certificate.not_after:
        return f"expired on {certificate.not_after.isoformat()}"
    if at < certificate.not_before:
        return f"is not valid before {certificate.not_before.isoformat()}"
    return policy.shortcoming_of_anchor(certificate)
