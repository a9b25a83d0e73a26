"""The encodings that presets are built of, each value in one spelling. All raise `ForwardedCertificateError`."""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

from mtls_as.forwarded.fault import ForwardedCertificateError, ForwardingFault
from mtls_as.rfc.rfc4648_base64url import Base64URLError, decode_base64

BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
END: Final = b"-----END CERTIFICATE-----"

_LONE_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def from_base64(text: bytes) -> bytes:
    """The octets of a base64 text with its padding, without white space."""
    try:
        return decode_base64(text)
    except Base64URLError:
        raise ForwardedCertificateError(ForwardingFault.BROKEN_BASE64, "not canonical base64") from None


def from_percent_encoding(text: bytes) -> bytes:
    """The octets of a percent-encoded text (RFC 3986 §2.1). A `+` stays one: this is no form (HTML) encoding."""
    if _LONE_PERCENT.search(text):
        raise ForwardedCertificateError(ForwardingFault.BROKEN_PERCENT_ENCODING, "a percent sign without two digits")
    return unquote_to_bytes(text)


def from_percent_encoded_pem(text: bytes) -> tuple[bytes, ...]:
    """The DER of each certificate in a percent-encoded PEM text."""
    return tuple(pem_certificates(from_percent_encoding(text).replace(b"\r\n", b"\n")))


def pem_certificates(text: bytes) -> Iterator[bytes]:
    """The DER of each certificate in a PEM text (RFC 7468 §5), which has at least one and nothing between them."""
    if not text.strip():
        raise ForwardedCertificateError(ForwardingFault.BROKEN_PEM, "there is no certificate")
    body: list[bytes] | None = None
    for line in text.split(b"\n"):
        if body is None:
            if line == BEGIN:
                body = []
            elif line:
                raise ForwardedCertificateError(ForwardingFault.BROKEN_PEM, "junk beside the certificate")
        elif line == END and body:
            yield from_base64(b"".join(body))
            body = None
        elif line:
            body.append(line)
        else:
            raise ForwardedCertificateError(ForwardingFault.BROKEN_PEM, "an empty line inside the certificate")
    if body is not None:
        raise ForwardedCertificateError(ForwardingFault.BROKEN_PEM, "the certificate has no end")


def single(certificates: tuple[bytes, ...]) -> tuple[bytes]:
    """The only certificate, where the proxy never sends more."""
    if len(certificates) != 1:
        raise ForwardedCertificateError(ForwardingFault.SEVERAL_CERTIFICATES, "the header holds more than the leaf")
    return (certificates[0],)
