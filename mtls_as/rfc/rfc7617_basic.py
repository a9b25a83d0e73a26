"""RFC 7617, the Basic authentication scheme, as clients use it for their secrets (RFC 6749 §2.3.1).

Name and secret are encoded as form values first, so that either may hold a colon or any other character.
"""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from mtls_as.rfc.rfc4648_base64url import Base64URLError, decode_base64

SCHEME: Final = "basic"
"""In lower case: schemes are compared without it (RFC 9110 §11.1)."""
MAX_CREDENTIALS_LENGTH: Final = 4096

# After `%` come two hex digits. Others would decode to themselves, and one name would have several spellings.
_FORM_VALUE: Final = re.compile(rb"(?:[^%]|%[0-9A-Fa-f]{2})*", re.DOTALL)


class BasicError(ValueError):
    """The header holds no credentials of this scheme. The message quotes nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicCredentials:
    """A client's name and its secret, decoded."""

    client_id: str
    client_secret: str = field(repr=False)


def scheme_of(authorization: str) -> str:
    """The scheme of an Authorization header, in lower case (RFC 9110 §11.4)."""
    return authorization.partition(" ")[0].lower()


def parse_basic(authorization: str) -> BasicCredentials:
    """Read the value of an Authorization header of this scheme. Raises `BasicError` and nothing else."""
    if len(authorization) > MAX_CREDENTIALS_LENGTH:
        raise BasicError(f"the header has more than {MAX_CREDENTIALS_LENGTH} characters")
    if scheme_of(authorization) != SCHEME:
        raise BasicError("the scheme is not Basic")
    try:
        user, colon, password = decode_base64(authorization[len(SCHEME) :].strip(" ")).partition(b":")
    except Base64URLError:
        raise BasicError("what follows Basic is not base64") from None
    if not colon:
        raise BasicError("there is no colon between name and secret")
    return BasicCredentials(client_id=_decode(user), client_secret=_decode(password))


def _decode(value: bytes) -> str:
    """A form value (RFC 6749 appendix B)."""
    if not _FORM_VALUE.fullmatch(value):
        raise BasicError("a percent sign is not followed by two hex digits")
    try:
        text = unquote_to_bytes(value.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise BasicError("name or secret is not UTF-8") from None
    if not text or "\0" in text:
        raise BasicError("name or secret is empty, or holds a NUL")
    return text
