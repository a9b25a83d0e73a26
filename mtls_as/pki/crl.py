"""RFC 5280 §5, certificate revocation lists: the one place that parses them. Parsed once, indexed, then forgotten.

A list that says anything which is not understood here in full is not used at all: it is a `CRLError`. Parsing proves
nothing; `CRL.shortcoming_of_issuer` checks the signature against a CA that is known by other means.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding

from mtls_as.pki.crl_entries import CRLError, Revocation, index_entries, revocation_of
from mtls_as.pki.signatures import Signature, SignatureRefused
from mtls_as.rfc import x690_der as der
from mtls_as.rfc.rfc4514_dn import DistinguishedName, DistinguishedNameError, decode_dn
from mtls_as.rfc.rfc4517_matching import canonical_name
from mtls_as.rfc.rfc4648_base64url import Base64URLError, decode_base64
from mtls_as.rfc.rfc5280_certificate import Certificate

__all__ = ["CLOCK_SKEW", "CRL", "MAX_CRL_BYTES", "CRLError", "CRLScope", "Revocation", "parse_crl", "parse_crls"]

MAX_CRL_BYTES: Final = 64 * 1024 * 1024
MAX_LISTS: Final = 64
CLOCK_SKEW: Final = timedelta(seconds=60)
"""How far a thisUpdate may be ahead: CAs' clocks differ from ours, and a fresh list must not be refused for that."""

_PEM_BEGIN: Final = b"-----BEGIN X509 CRL-----"
_PEM: Final = re.compile(rb"-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]*)-----END X509 CRL-----")
_MAX_FIELDS: Final = 8
_INTEGER: Final = 0x02


class CRLScope(StrEnum):
    """Whose certificates a list speaks of (RFC 5280 §5.2.5)."""

    ALL = "all certificates"
    USERS = "end-entity certificates"
    AUTHORITIES = "CA certificates"

    def covers(self, certificate: Certificate) -> bool:
        """Whether the list would name the certificate, were it revoked."""
        return self is CRLScope.ALL or certificate.is_ca == (self is CRLScope.AUTHORITIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class CRL:
    """One list. Nothing in it is verified."""

    issuer: DistinguishedName
    number: int | None
    """The CRL number (RFC 5280 §5.2.3); older CAs have none."""
    base_number: int | None
    """For a delta list, the number of the complete list that it continues (RFC 5280 §5.2.4); else None."""
    this_update: datetime
    next_update: datetime
    scope: CRLScope
    sha256: bytes
    _signature: Signature = field(repr=False)
    _entries: Mapping[int, int] = field(repr=False)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def is_delta(self) -> bool:
        return self.base_number is not None

    def find(self, serial_number: int) -> Revocation | None:
        """What the list says of a serial number of its issuer, or None; the time does not grow with the list."""
        packed = self._entries.get(serial_number)
        return None if packed is None else revocation_of(packed)

    def shortcoming_at(self, at: datetime, *, grace: timedelta = timedelta(0)) -> str | None:
        """Why the list does not speak for that time, or None. `grace` is how long past its nextUpdate it still does."""
        if at + CLOCK_SKEW < self.this_update:
            return f"it is not valid before {self.this_update.isoformat()}"
        if at > self.next_update + grace:
            return f"it ended at {self.next_update.isoformat()}"
        return None

    def turning_points(self, *, grace: timedelta) -> tuple[datetime, datetime]:
        """When `shortcoming_at` changes its mind: from the first on the list speaks, and behind the second no more."""
        return self.this_update - CLOCK_SKEW, self.next_update + grace

    def shortcoming_of_issuer(self, authority: Certificate) -> str | None:
        """Why the list is not by this CA, or None: the same subject, its key, and the right to sign lists."""
        if canonical_name(self.issuer) != canonical_name(authority.subject):
            return "it is by a CA of another name"
        if authority.key_usages is not None and "cRLSign" not in authority.key_usages:
            return "the key usage of its CA lacks cRLSign"
        if not self._signature.is_by(authority.public_key_info):
            return "its signature is not by the key of its CA"
        return None

    def continues(self, base: Self) -> bool:
        """Whether this delta list can be read on top of a complete one (RFC 5280 §5.2.4)."""
        if self.base_number is None or base.is_delta or base.number is None or self.scope is not base.scope:
            return False
        return self.base_number <= base.number

    def is_older_than(self, other: Self) -> bool:
        """Whether it may not take the place of the other: numbers and times never go back."""
        if self.number is not None and other.number is not None and self.number < other.number:
            return True
        return self.this_update < other.this_update


def parse_crls(data: bytes) -> tuple[CRL, ...]:
    """Parse a file of lists: one in DER, or any number (64 at most) in PEM. Raises `CRLError` alone, also for none."""
    if len(data) > 2 * MAX_CRL_BYTES:
        raise CRLError(f"it has more than {2 * MAX_CRL_BYTES} bytes")
    if _PEM_BEGIN not in data:
        return (parse_crl(data),)
    bodies = [match[1] for match in _PEM.finditer(data)]
    if len(bodies) != data.count(_PEM_BEGIN) or len(bodies) > MAX_LISTS:
        raise CRLError(f"it holds a PEM list that is cut off, or more than {MAX_LISTS}")
    try:
        return tuple(parse_crl(decode_base64(b"".join(body.split()))) for body in bodies)
    except Base64URLError:
        raise CRLError("a list in it is not base64") from None


def parse_crl(encoding: bytes) -> CRL:
    """Parse and index one list, DER, 64 MiB and a million entries at most. Raises `CRLError` alone (RFC 5280 §5).

    Refused: no nextUpdate, weak signature hashes, critical extensions that are not known, indirect lists, and lists
    that are limited to some reasons or to one distribution point.
    """
    if len(encoding) > MAX_CRL_BYTES:
        raise CRLError(f"it has more than {MAX_CRL_BYTES} bytes")
    try:
        issuer, signed = _read_outline(encoding)
        return _parse(encoding, signed, decode_dn(issuer))
    except CRLError:
        raise
    except (der.DERError, DistinguishedNameError, SignatureRefused) as error:
        raise CRLError(str(error)) from None
    except Exception as error:  # the chokepoint: whatever hostile bytes do to the library
        raise CRLError("its structure is not that of a revocation list") from error


def _parse(encoding: bytes, signed: bytes, issuer: DistinguishedName) -> CRL:
    library = x509.load_der_x509_crl(encoding)
    if library.next_update_utc is None:
        raise CRLError("it has no nextUpdate, so nothing says how long it holds")
    extensions = _read_extensions(library)
    parameters = library.signature_algorithm_parameters
    scheme = parameters if isinstance(parameters, padding.PKCS1v15 | padding.PSS | ec.ECDSA) else None
    return CRL(
        issuer=issuer,
        number=extensions.number,
        base_number=extensions.base_number,
        this_update=library.last_update_utc,
        next_update=library.next_update_utc,
        scope=extensions.scope,
        sha256=hashlib.sha256(encoding).digest(),
        _signature=Signature.of(
            signed,
            library.signature,
            algorithm=library.signature_algorithm_oid.dotted_string,
            scheme=scheme,
            hash_algorithm=library.signature_hash_algorithm,
        ),
        _entries=index_entries(library, is_delta=extensions.base_number is not None),
    )


def _read_outline(encoding: bytes) -> tuple[bytes, bytes]:
    """The issuer's name and the signed part, as they stand: the library would encode a large list anew for both."""
    parts = der.read_sequence(encoding, limit=3)
    if len(parts) != 3:  # tbsCertList, signatureAlgorithm, signatureValue
        raise der.DERError("elements are missing")
    fields = der.read_elements(der.expect(parts[0], der.SEQUENCE).content, limit=_MAX_FIELDS)
    if fields and fields[0].tag == _INTEGER:  # the version
        del fields[0]
    if len(fields) < 3:  # algorithm, issuer, thisUpdate
        raise der.DERError("elements are missing")
    if fields[0] != parts[1]:
        raise CRLError("it names two different signature algorithms")
    return fields[1].encoding, parts[0].encoding


@dataclass(frozen=True, slots=True)
class _Extensions:
    number: int | None
    base_number: int | None
    scope: CRLScope


def _read_extensions(library: x509.CertificateRevocationList) -> _Extensions:
    number = base_number = None
    scope = CRLScope.ALL
    for extension in library.extensions:
        match extension.value:
            case x509.CRLNumber() as value:
                number = value.crl_number
            case x509.DeltaCRLIndicator() as value:
                base_number = value.crl_number
            case x509.IssuingDistributionPoint() as value:
                scope = _read_scope(value)
            case _ if extension.critical:
                raise CRLError(f"it has the critical extension {extension.oid.dotted_string}, which is not known")
    if base_number is not None and number is None:
        raise CRLError("it is a delta list without a number")
    return _Extensions(number, base_number, scope)


def _read_scope(point: x509.IssuingDistributionPoint) -> CRLScope:
    if point.indirect_crl:
        raise CRLError("it is an indirect list, which may speak for other CAs")
    if point.only_some_reasons is not None or point.only_contains_attribute_certs:
        raise CRLError("it is limited to some reasons or to attribute certificates")
    if point.full_name is not None or point.relative_name is not None:
        raise CRLError("it is limited to one distribution point")
    if point.only_contains_user_certs:
        return CRLScope.USERS
    return CRLScope.AUTHORITIES if point.only_contains_ca_certs else CRLScope.ALL
