"""Trust anchors from PEM files and pins: found, read and checked before any of them counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from mtls_as.pki import openssl
from mtls_as.pki.path import PathCertificate, describe
from mtls_as.pki.policy import PathPolicy, find_authority_problem
from mtls_as.rfc.certificate_pins import PIN_PREFIX, PinError, Pins
from mtls_as.rfc.rfc5280_certificate import Certificate, CertificateError, parse_pem_certificates

_GLOB: Final = frozenset("*?[")


class TrustConfigurationError(Exception):
    """The anchors of a domain cannot be used. The message names the domain, the file and what is wrong."""


@dataclass(frozen=True, slots=True)
class LoadedAnchors:
    """The anchors of one domain, each once, with what an operator should know about them."""

    authorities: tuple[PathCertificate, ...]
    pins: Pins
    warnings: tuple[str, ...]


def load_anchors(
    domain: str, patterns: Sequence[str], *, base: Path, policy: PathPolicy, at: datetime
) -> LoadedAnchors:
    """Load the anchors of a domain from paths, globs (relative to `base`) or pins. Raises `TrustConfigurationError`.

    Every file must hold certificates of CAs and nothing else. One that has expired, or that the policy rules out, is
    loaded with a warning: during a roll-over such anchors stand beside good ones. What a pin names is looked at when a
    client sends it.
    """
    authorities: dict[bytes, PathCertificate] = {}
    warnings: list[str] = []
    pins = _pins(domain, [pattern for pattern in patterns if pattern.startswith(PIN_PREFIX)])
    files = [pattern for pattern in patterns if not pattern.startswith(PIN_PREFIX)]
    for path in [path for pattern in files for path in _find_some(domain, pattern, base)]:
        for certificate in _read(domain, path):
            if certificate.sha256 in authorities:
                continue
            authorities[certificate.sha256] = _check(domain, path, certificate)
            problem = _shortcoming(certificate, policy, at)
            if problem:
                warnings.append(f"trust domain '{domain}': {path}: anchor '{describe(certificate)}' {problem}")
    if not authorities and not pins:
        raise TrustConfigurationError(f"trust domain '{domain}': it has no anchors")
    return LoadedAnchors(tuple(authorities.values()), pins, tuple(warnings))


def anchor_files(patterns: Sequence[str], *, base: Path) -> list[Path]:
    """The files that anchors are read from, for who watches them: whatever globs find now, and paths, there or not."""
    return [path for pattern in patterns if not pattern.startswith(PIN_PREFIX) for path in _find(pattern, base)]


def _pins(domain: str, texts: Sequence[str]) -> Pins:
    try:
        return Pins.of(texts)
    except PinError as error:
        raise TrustConfigurationError(f"trust domain '{domain}': {error}") from None


def _find_some(domain: str, pattern: str, base: Path) -> list[Path]:
    found = _find(pattern, base)
    if not found:
        raise TrustConfigurationError(f"trust domain '{domain}': {base / pattern}: no file matches")
    return found


def _find(pattern: str, base: Path) -> list[Path]:
    if not _GLOB.intersection(pattern):
        return [base / pattern]
    root = Path(Path(pattern).anchor or base)
    return sorted(path for path in root.glob(pattern.lstrip("/")) if path.is_file())


def _read(domain: str, path: Path) -> tuple[Certificate, ...]:
    try:
        return parse_pem_certificates(path.read_bytes())
    except OSError as error:
        raise TrustConfigurationError(f"trust domain '{domain}': {path}: {error.strerror or error}") from None
    except CertificateError as error:
        raise TrustConfigurationError(f"trust domain '{domain}': {path}: {error}") from None


def _check(domain: str, path: Path, certificate: Certificate) -> PathCertificate:
    place = f"trust domain '{domain}': {path}: '{describe(certificate)}'"
    problem = find_authority_problem(certificate)
    if problem:
        raise TrustConfigurationError(f"{place} {problem}")
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
