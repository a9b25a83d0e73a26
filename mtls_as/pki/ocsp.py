"""RFC 6960, OCSP: the question about one certificate, and whether an answer is one to it. The one parser of answers.

A responder says `good` of whatever it likes; so an answer counts only with every link: to the question by serial number
and by the CA's name and key, to the CA by its signature or by that of a responder which the CA itself appointed.
"""

import hmac
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.x509 import ocsp

from mtls_as.pki import openssl
from mtls_as.pki.refused import PathError
from mtls_as.pki.signatures import STRONG_HASHES, Scheme, Signature, SignatureRefused
from mtls_as.rfc.rfc4514_dn import DistinguishedNameError, decode_dn
from mtls_as.rfc.rfc4517_matching import canonical_name
from mtls_as.rfc.rfc5280_certificate import Certificate, CertificateError, parse_certificate

MAX_ANSWER_BYTES: Final = 64 * 1024
CLOCK_SKEW: Final = timedelta(seconds=60)
AGE_WITHOUT_NEXT_UPDATE: Final = timedelta(seconds=300)
"""RFC 6960 §4.2.2.1: without a nextUpdate newer information is always there, so such an answer is soon too old."""

_OCSP_SIGNING: Final = "1.3.6.1.5.5.7.3.9"
_MAX_RESPONDER_CERTIFICATES: Final = 8
_MINIMUM_KEY_STRENGTH: Final = 112
_RSA: Final = "1.2.840.113549.1.1."
_RSA_PSS: Final = "1.2.840.113549.1.1.10"
_ECDSA: Final = ("1.2.840.10045.4.3.", "2.16.840.1.101.3.4.3.")


class OCSPError(Exception):
    """The answer cannot be used. The message says why and quotes no raw input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OCSPQuestion:
    """A question about one certificate."""

    certificate: Certificate
    issuer: Certificate
    nonce: bytes
    encoding: bytes = field(repr=False)
    """The OCSPRequest, DER."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OCSPAnswer:
    """A verified answer: good, or revoked."""

    is_revoked: bool
    reason: str
    """As in RFC 5280 §5.3.1; empty for a good certificate."""
    revoked_at: datetime | None
    this_update: datetime
    next_update: datetime
    """Until when it holds: as it says itself, or five minutes where it does not."""
    responder_serial_number: int | None
    """The serial number of the responder that the CA appointed, or None where the CA itself answered."""

    def shortcoming_at(self, at: datetime, *, grace: timedelta = timedelta(0)) -> str | None:
        """Why the answer does not speak for that time, or None."""
        if at + CLOCK_SKEW < self.this_update:
            return f"it is not valid before {self.this_update.isoformat()}"
        if at > self.next_update + grace:
            return f"it ended at {self.next_update.isoformat()}"
        return None


def ask(certificate: Certificate, issuer: Certificate, *, nonce: bytes) -> OCSPQuestion:
    """The question about a certificate of a verified path; `nonce` is fresh, 32 octets (RFC 9654 §2.1)."""
    # SHA-1 only names the CA here, and is the one hash that every responder knows (RFC 5019 §2.1.1).
    request = (
        ocsp.OCSPRequestBuilder()
        .add_certificate(_load(certificate), _load(issuer), hashes.SHA1())  # noqa: S303 # see above
        .add_extension(x509.OCSPNonce(nonce), critical=False)
        .build()
    )
    return OCSPQuestion(
        certificate=certificate,
        issuer=issuer,
        nonce=nonce,
        encoding=request.public_bytes(serialization.Encoding.DER),
    )


def read_answer(question: OCSPQuestion, encoding: bytes, *, at: datetime) -> OCSPAnswer:
    """Verify an answer to a question, as it came at a time. Raises `OCSPError` alone (RFC 6960 §3.2).

    (1) It is a successful response with one answer. (2) It names the certificate of the question: serial number, and
    hashes of its issuer's name and key. (3) The nonce, if there is one, is the one of the question. (4) Nothing in it
    is critical and not known. (5) It is signed by the issuer, or by a responder with a certificate by that very issuer
    for just this purpose. (6) It says `good` or `revoked`, of now.
    """
    if len(encoding) > MAX_ANSWER_BYTES:
        raise OCSPError(f"the answer has more than {MAX_ANSWER_BYTES} bytes")
    try:
        return _read_answer(question, ocsp.load_der_ocsp_response(encoding), at=at)
    except OCSPError:
        raise
    except (SignatureRefused, CertificateError, DistinguishedNameError) as error:
        raise OCSPError(str(error)) from None
    except Exception as error:  # the chokepoint: whatever hostile bytes do to the library
        raise OCSPError("its structure is not that of an OCSP response") from error


def _read_answer(question: OCSPQuestion, response: ocsp.OCSPResponse, *, at: datetime) -> OCSPAnswer:
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:  # (1)
        raise OCSPError(f"the responder answers {response.response_status.name}")
    singles = list(response.responses)
    if len(singles) != 1:
        raise OCSPError(f"it speaks of {len(singles)} certificates, where one was asked for")
    single = singles[0]
    _check_certificate_id(question, single)  # (2)
    _check_extensions(question, response)  # (3), (4)
    responder = _check_signature(question.issuer, response, at=at)  # (5)
    answer = _read_single(single, responder)  # (6)
    shortcoming = answer.shortcoming_at(at)
    if shortcoming is not None:
        raise OCSPError(shortcoming)
    return answer


def _check_certificate_id(question: OCSPQuestion, single: ocsp.OCSPSingleResponse) -> None:
    asked = ocsp.load_der_ocsp_request(question.encoding)
    if single.serial_number != asked.serial_number:
        raise OCSPError("it is about another serial number")
    if (single.hash_algorithm.name, single.issuer_name_hash, single.issuer_key_hash) != (
        asked.hash_algorithm.name,
        asked.issuer_name_hash,
        asked.issuer_key_hash,
    ):
        raise OCSPError("it is about a certificate of another CA")


def _check_extensions(question: OCSPQuestion, response: ocsp.OCSPResponse) -> None:
    for extension in response.extensions:
        if isinstance(extension.value, x509.OCSPNonce):
            if not hmac.compare_digest(extension.value.nonce, question.nonce):
                raise OCSPError("its nonce is not the one of the question: a replay")
        elif extension.critical:
            raise OCSPError(f"it has the critical extension {extension.oid.dotted_string}, which is not known")
    for extension in response.single_extensions:
        if extension.critical:
            raise OCSPError(f"it has the critical extension {extension.oid.dotted_string}, which is not known")


def _check_signature(issuer: Certificate, response: ocsp.OCSPResponse, *, at: datetime) -> Certificate | None:
    """The responder that the issuer appointed, or None where the issuer itself signed. Raises `OCSPError`."""
    signature = Signature.of(
        response.tbs_response_bytes,
        response.signature,
        algorithm=response.signature_algorithm_oid.dotted_string,
        scheme=_scheme(response),
        hash_algorithm=response.signature_hash_algorithm,
    )
    if _names(response, issuer):
        if not signature.is_by(issuer.public_key_info):
            raise OCSPError("its signature is not by the key of the CA that it names")
        return None
    if len(response.certificates) > _MAX_RESPONDER_CERTIFICATES:
        raise OCSPError(f"it brings more than {_MAX_RESPONDER_CERTIFICATES} certificates")
    for certificate in response.certificates:
        responder = parse_certificate(certificate.public_bytes(serialization.Encoding.DER))
        if _names(response, responder):
            _check_appointment(responder, issuer, at=at)
            if not signature.is_by(responder.public_key_info):
                raise OCSPError("its signature is not by the key of the responder that it names")
            return responder
    raise OCSPError("its signer is neither the CA of the certificate nor a responder whose certificate came along")


def _check_appointment(responder: Certificate, issuer: Certificate, *, at: datetime) -> None:
    """RFC 6960 §4.2.2.2: issued by that CA directly, for OCSP signing, and valid now."""
    place = "the certificate of its responder"
    if responder.extended_key_usages is None or _OCSP_SIGNING not in responder.extended_key_usages:
        raise OCSPError(f"{place} is not for OCSP signing")
    if responder.key_usages is not None and "digitalSignature" not in responder.key_usages:
        raise OCSPError(f"the key usage of {place} lacks digitalSignature")
    if responder.key_strength < _MINIMUM_KEY_STRENGTH:
        raise OCSPError(f"{place} has a weak key")
    if responder.signature_hash is not None and responder.signature_hash not in STRONG_HASHES:
        raise OCSPError(f"{place} is signed with {responder.signature_hash}")
    path = [openssl.load(responder), openssl.load(issuer)]
    try:
        openssl.judge([certificate for certificate in path if certificate is not None], at=at)
    except (PathError, ValueError) as error:
        raise OCSPError(f"{place} is not one by the CA in question that is valid now: {error}") from None


def _names(response: ocsp.OCSPResponse, certificate: Certificate) -> bool:
    """Whether the response names this certificate as its signer's, by name or by the SHA-1 of its key."""
    if response.responder_name is not None:
        named = canonical_name(decode_dn(response.responder_name.public_bytes()))
        return named == canonical_name(certificate.subject)
    key = x509.SubjectKeyIdentifier.from_public_key(_load(certificate).public_key())
    return response.responder_key_hash == key.digest


def _scheme(response: ocsp.OCSPResponse) -> Scheme | None:
    """RSA-PSS is left out: the library does not tell its parameters for OCSP."""
    algorithm = response.signature_algorithm_oid.dotted_string
    if algorithm.startswith(_RSA) and algorithm != _RSA_PSS:
        return padding.PKCS1v15()
    if algorithm.startswith(_ECDSA) and response.signature_hash_algorithm is not None:
        return ec.ECDSA(response.signature_hash_algorithm)
    return None


def _read_single(single: ocsp.OCSPSingleResponse, responder: Certificate | None) -> OCSPAnswer:
    status = single.certificate_status
    if status is ocsp.OCSPCertStatus.UNKNOWN:
        raise OCSPError("the responder does not know the certificate")
    reason = single.revocation_reason
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    return OCSPAnswer(
        is_revoked=revoked,
        reason=(reason.value if reason else "unspecified") if revoked else "",
        revoked_at=single.revocation_time_utc,
        this_update=single.this_update_utc,
        next_update=single.next_update_utc or single.this_update_utc + AGE_WITHOUT_NEXT_UPDATE,
        responder_serial_number=None if responder is None else responder.serial_number,
    )


def _load(certificate: Certificate) -> x509.Certificate:
    return x509.load_der_x509_certificate(certificate.der)
