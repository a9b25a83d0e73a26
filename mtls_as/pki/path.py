"""RFC 5280 §6, certification paths: built here by names, within bounds, and each judged by OpenSSL and the policy.

Building leaves no choice to the judge: a path that OpenSSL sees holds one anchor and just the certificates between, so
that two CAs of one name (a roll-over, or an impostor) and junk in the presented chain cannot be taken for each other.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final

from OpenSSL import crypto

from mtls_as.pki import openssl
from mtls_as.pki.policy import PathPolicy, find_authority_problem, has_strong_signature
from mtls_as.pki.presented import PresentedCertificate
from mtls_as.pki.refused import CertificateRefused, PathError
from mtls_as.rfc.certificate_pins import Pins
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc4514_dn import DistinguishedName
from mtls_as.rfc.rfc4517_matching import canonical_name
from mtls_as.rfc.rfc5280_certificate import Certificate, CertificateError, parse_certificate

__all__ = ["Anchors", "CertificateRefused", "PathCertificate", "describe", "verify_path"]

# A client sends at most ten certificates: an honest chain takes as many steps and one candidate, two in a roll-over.
_MAX_CANDIDATES: Final = 32
_MAX_STEPS: Final = 256
_MAX_NAME_SHOWN: Final = 200
# What a wrong candidate looks like; when another fails for any other reason, that is the reason to tell.
_WRONG_CANDIDATE: Final = (Refusal.UNTRUSTED_ISSUER, Refusal.BAD_SIGNATURE)


@dataclass(frozen=True, slots=True)
class PathCertificate:
    """A certificate that can be part of a path, with the form in which OpenSSL judges it."""

    certificate: Certificate
    openssl: crypto.X509 = field(repr=False, compare=False)


class Anchors:
    """The trust anchors of one domain, found by their subject: certificates at hand, and pins of others.

    A pinned anchor comes with the client, and counts for that path alone. A pin of a certificate fixes every octet of
    it, as a file does. A pin of a key fixes the key alone: name, constraints, path length and dates are the word of
    whoever made the certificate, and a client could make one himself that leaves every constraint out. So it counts
    only if that very key signed it, by a hash without known collisions: then all that is the word of the key's holder,
    who is trusted. What a CA above says about that holder is lost all the same. Where its constraints matter, or the
    key has no certificate signed by itself, the certificate is to be pinned and not the key. An older certificate that
    the holder signed for the same key counts too, until it ends.
    """

    def __init__(self, anchors: Sequence[PathCertificate], pins: Pins = Pins()) -> None:  # noqa: B008 - frozen
        self._by_subject = _by_subject(anchors)
        self.pins = pins
        self.certificates = tuple(anchor.certificate for anchor in anchors)

    def issuers_of(self, certificate: Certificate) -> Sequence[PathCertificate]:
        """The anchors that bear the name of the certificate's issuer."""
        return self._by_subject.get(canonical_name(certificate.issuer), ())

    def pinned(self, presented: Sequence[PathCertificate]) -> "Anchors":
        """Those among presented certificates that a pin makes anchors."""
        return Anchors([candidate for candidate in presented if self.pins and _is_pinned(candidate, self.pins)])


def verify_path(
    presented: PresentedCertificate, *, anchors: Anchors, policy: PathPolicy, at: datetime
) -> tuple[Certificate, ...]:
    """Find a path from the leaf to an anchor that is valid at a time, leaf first. Raises `CertificateRefused`.

    (1) The leaf is no CA: whoever can issue does not act as a client.
    (2) Every candidate path is built by names: the anchors of this domain, and what the client sent, in its order;
    of that, what a pin of the domain names is an anchor too.
    (3) OpenSSL judges it: signatures, dates, CA flags, path lengths, name constraints, critical extensions.
    (4) The dates are compared again, to the fraction of a second.
    (5) The policy of the domain is applied to every certificate of the path.
    The first candidate that passes is the path; if none does, the refusal names the certificate at fault.
    """
    if presented.leaf.is_ca:
        reason = f"'{describe(presented.leaf)}' is the certificate of a CA"
        raise CertificateRefused(Refusal.CA_CERTIFICATE_AS_LEAF, reason)
    leaf = openssl.load(presented.leaf)
    if leaf is None:
        raise CertificateRefused(Refusal.CERTIFICATE_MALFORMED, "OpenSSL cannot read the certificate")
    sent = _read_chain(presented)
    intermediates = _by_subject(sent)
    pinned = anchors.pinned(sent)
    refused: list[CertificateRefused] = []
    for candidate in islice(
        _candidates(PathCertificate(presented.leaf, leaf), intermediates, (anchors, pinned)), _MAX_CANDIDATES
    ):
        path = tuple(step.certificate for step in candidate)
        try:
            openssl.judge([step.openssl for step in candidate], at=at)
            _check_dates(path, at)
            policy.check(path)
        except PathError as error:
            refused.append(_refusal(path, error))
        else:
            return path
    raise _most_telling(refused) if refused else _no_candidate(presented, intermediates, anchors.pins)


def describe(certificate: Certificate) -> str:
    """A certificate for people: its subject, or its serial number where it has none."""
    if certificate.subject.is_empty:
        return f"serial number {certificate.serial_number:x}"
    return _shown(certificate.subject)


_BySubject = Mapping[Hashable, Sequence[PathCertificate]]


def _by_subject(authorities: Sequence[PathCertificate]) -> _BySubject:
    found: dict[Hashable, list[PathCertificate]] = {}
    for authority in authorities:
        found.setdefault(canonical_name(authority.certificate.subject), []).append(authority)
    return found


def _read_chain(presented: PresentedCertificate) -> list[PathCertificate]:
    """What can be read of the presented chain, each certificate once; junk is nobody's business."""
    authorities: dict[bytes, PathCertificate] = {}
    for encoding in presented.unverified_chain:
        try:
            certificate = parse_certificate(encoding)
        except CertificateError:
            continue
        loaded = openssl.load(certificate)
        if loaded is not None and certificate.sha256 != presented.leaf.sha256:
            authorities.setdefault(certificate.sha256, PathCertificate(certificate, loaded))
    return list(authorities.values())


def _is_pinned(candidate: PathCertificate, pins: Pins) -> bool:
    certificate = candidate.certificate
    if find_authority_problem(certificate):
        return False
    if pins.name_certificate(certificate):
        return True
    is_strong = pins.name_key(certificate) and has_strong_signature(certificate)
    return is_strong and openssl.is_self_signed(candidate.openssl)


def _candidates(
    leaf: PathCertificate, intermediates: _BySubject, anchors: Sequence[Anchors]
) -> Iterator[tuple[PathCertificate, ...]]:
    """Every path by names, leaf first, anchor last, depth first; the steps are bounded, whatever the client sent."""
    unfinished: list[tuple[PathCertificate, ...]] = [(leaf,)]
    for _ in range(_MAX_STEPS):
        if not unfinished:
            return
        path = unfinished.pop()
        last = path[-1].certificate
        for anchor in (anchor for group in anchors for anchor in group.issuers_of(last)):
            yield (*path, anchor)
        issuers = intermediates.get(canonical_name(last.issuer), ())
        unfinished += [(*path, issuer) for issuer in reversed(issuers) if issuer not in path]


def _check_dates(path: tuple[Certificate, ...], at: datetime) -> None:
    for depth, certificate in enumerate(path):
        if at < certificate.not_before:
            raise PathError(Refusal.CERTIFICATE_NOT_YET_VALID, depth, "certificate is not yet valid")
        if at > certificate.not_after:
            raise PathError(Refusal.CERTIFICATE_EXPIRED, depth, "certificate has expired")


def _refusal(path: tuple[Certificate, ...], error: PathError) -> CertificateRefused:
    last = len(path) - 1
    depth = min(error.depth, last)
    role = "the anchor" if depth == last else "the leaf" if depth == 0 else "an intermediate CA"
    place = f"certificate {depth + 1} of {len(path)} in the path ({role}, '{describe(path[depth])}')"
    return CertificateRefused(error.refusal, f"{place}: {_reason(path, depth, error)}")


def _reason(path: tuple[Certificate, ...], depth: int, error: PathError) -> str:
    certificate = path[depth]
    issuer = describe(path[min(depth + 1, len(path) - 1)])
    match error.refusal:
        case Refusal.CERTIFICATE_EXPIRED:
            return f"it was valid until {certificate.not_after.isoformat()}"
        case Refusal.CERTIFICATE_NOT_YET_VALID:
            return f"it is not valid before {certificate.not_before.isoformat()}"
        case Refusal.UNTRUSTED_ISSUER:
            return f"the known '{issuer}' has the name of its issuer, but another key"
        case Refusal.BAD_SIGNATURE:
            return f"its signature is not by the key of the known '{issuer}'"
        case Refusal.PATH_INVALID if depth > 0 and not certificate.is_ca:
            return "it is no CA, and yet the issuer of another"
    return error.reason


def _most_telling(refused: Sequence[CertificateRefused]) -> CertificateRefused:
    return next((error for error in refused if error.refusal not in _WRONG_CANDIDATE), refused[0])


def _no_candidate(presented: PresentedCertificate, intermediates: _BySubject, pins: Pins) -> CertificateRefused:
    last, seen = presented.leaf, {presented.leaf.sha256}
    while issuers := intermediates.get(canonical_name(last.issuer)):
        if issuers[0].certificate.sha256 in seen:
            break
        last = issuers[0].certificate
        seen.add(last.sha256)
    hint = "; the client must send along the certificate that this domain pins" if pins else ""
    if last.subject == last.issuer:
        detail = f"the path ends at '{describe(last)}', which signs itself and is no anchor{hint}"
    else:
        issuer = _shown(last.issuer)
        detail = f"the path ends at '{describe(last)}': its issuer '{issuer}' is neither an anchor nor sent along{hint}"
    return CertificateRefused(Refusal.UNTRUSTED_ISSUER, detail)


def _shown(name: DistinguishedName) -> str:
    text = str(name)
    return text if len(text) <= _MAX_NAME_SHOWN else f"{text[:_MAX_NAME_SHOWN]}…"
