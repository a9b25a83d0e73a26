"""RFC 4648: base64url without padding (§5, as in RFC 7515 §2) and base64 with it (§4), one spelling for each value."""

import binascii
from base64 import b64encode
from typing import Final

# From this alphabet to the one that binascii knows; what is foreign here becomes foreign there.
_TO_BASE64: Final = bytes.maketrans(b"-_+/=", b"+/!!!")
_FROM_BASE64: Final = bytes.maketrans(b"+/", b"-_")
# By the length modulo 4: the last characters whose unused bits are zero (RFC 4648 §3.5); a remainder of 1 has none.
_LAST: Final = {2: b"AQgw", 3: b"AEIMQUYcgkosw048"}
_PADDING: Final = (b"", b"===", b"==", b"=")


class Base64URLError(ValueError):
    """The text is not canonical base64url, or base64. The message quotes no input."""


def encode_base64url(data: bytes) -> str:
    """The base64url text of bytes, without padding."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_FROM_BASE64).decode("ascii")


def decode_base64url(text: bytes | str) -> bytes:
    """The bytes of a base64url text; padding, white space and unused bits are refused. Raises `Base64URLError`."""
    try:
        octets = text.encode("ascii") if isinstance(text, str) else text
        remainder = len(octets) % 4
        if remainder == 0 or octets[-1] in _LAST[remainder]:
            return binascii.a2b_base64(octets.translate(_TO_BASE64) + _PADDING[remainder], strict_mode=True)
    except (UnicodeError, KeyError, binascii.Error):
        pass
    raise Base64URLError("the text is not canonical base64url")


def decode_base64(text: bytes | str) -> bytes:
    """The bytes of a base64 text with its padding, without white space. Raises `Base64URLError`."""
    try:
        octets = text.encode("ascii") if isinstance(text, str) else text
        data = binascii.a2b_base64(octets, strict_mode=True)
    except (UnicodeError, binascii.Error):
        data, octets = b"", b"?"
    if b64encode(data) != octets:
        raise Base64URLError("the text is not canonical base64")
    return data
