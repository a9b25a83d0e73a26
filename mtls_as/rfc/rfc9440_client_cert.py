"""RFC 9440: the fields by which a TLS-terminating proxy hands on a client's certificate.

Both are structured fields (RFC 9651): an Item and a List of Byte Sequences that hold DER. They are read more strictly
than RFC 9651 §4.2 would: base64 in its canonical form, with padding (RFC 9651 §3.3.5 is how they must be written), and
no parameters, since RFC 9440 gives none a meaning. Who may set these fields is decided elsewhere.
"""

import re
from typing import Final

from mtls_as.rfc.rfc4648_base64url import Base64URLError, decode_base64

CLIENT_CERT: Final = "client-cert"
CLIENT_CERT_CHAIN: Final = "client-cert-chain"

_BYTE_SEQUENCE: Final = re.compile(rb":([A-Za-z0-9+/=]*):")
_COMMA: Final = re.compile(rb"[ \t]*,[ \t]*")  # RFC 9651 §4.2.1: optional white space around it


class ClientCertFieldError(ValueError):
    """The value is not what RFC 9440 says. The message quotes no input."""


def parse_client_cert(value: bytes) -> bytes:
    """The octets in a `Client-Cert` (§2.2), which are not looked at. Raises `ClientCertFieldError`."""
    return _byte_sequence(value.strip(b" "))


def parse_client_cert_chain(value: bytes) -> tuple[bytes, ...]:
    """The octets in each member of a `Client-Cert-Chain` (§2.3), in order; the leaf is not among them.

    An empty value is an empty list (RFC 9651 §4.2). Raises `ClientCertFieldError`.
    """
    value = value.strip(b" ")
    return tuple(_byte_sequence(member) for member in _COMMA.split(value)) if value else ()


def _byte_sequence(text: bytes) -> bytes:
    sequence = _BYTE_SEQUENCE.fullmatch(text)
    if sequence is None:
        raise ClientCertFieldError("the value is not a byte sequence between colons")
    try:
        return decode_base64(sequence[1])
    except Base64URLError:
        raise ClientCertFieldError("a byte sequence is not canonical base64") from None
