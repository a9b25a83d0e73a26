"""RFC 7468, the textual form of one certificate, as a TLS layer hands it on."""

import re
from typing import Final

from mtls_as.rfc.rfc4648_base64url import Base64URLError, decode_base64

# RFC 7468 §3: one block, lines of base64, nothing but white space around it.
_CERTIFICATE: Final = re.compile(
    rb"\s*-----BEGIN CERTIFICATE-----\s*([A-Za-z0-9+/\s]++={0,2})\s*-----END CERTIFICATE-----\s*"
)


class PEMError(ValueError):
    """The text is not one certificate in PEM. The message quotes no input."""


def certificate_der(certificate: bytes | str) -> bytes:
    """The DER of one certificate that is given as DER, or as PEM in bytes or text.

    Raises `PEMError` alone. DER is handed back as it is, and the inside of the PEM is not parsed.
    """
    if isinstance(certificate, str):
        if not certificate.isascii():
            raise PEMError("the text is not a certificate in PEM")
        certificate = certificate.encode("ascii")
    elif certificate[:1] == b"\x30":  # a DER SEQUENCE
        return certificate
    block = _CERTIFICATE.fullmatch(certificate)
    if block is None:
        raise PEMError("the text is not one certificate in PEM")
    try:
        return decode_base64(b"".join(block[1].split()))
    except Base64URLError:
        raise PEMError("the text is not one certificate in PEM") from None
