"""Token Status List (draft-ietf-oauth-status-list-21, in the RFC Editor's queue): one bit of a signed list says
whether a token was revoked, so that resource servers need not ask about each.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Self

from mtls_as.rfc.rfc3986_uri import is_https_url
from mtls_as.rfc.rfc4648_base64url import Base64URLError, decode_base64url, encode_base64url

STATUS_LIST_TYPE: Final = "statuslist+jwt"
"""The `typ` of §5.1."""
MEDIA_TYPE: Final = f"application/{STATUS_LIST_TYPE}"
MAX_LIST_BYTES: Final = 1024 * 1024
"""Of a list as it is decompressed: 8,388,608 tokens of one bit."""
MAX_LIST_TOKEN_LENGTH: Final = 2 * 1024 * 1024
"""Characters of a signed list: one of that size that cannot be compressed fits, encoded twice."""

_BITS: Final = frozenset({1, 2, 4, 8})
_LAST_SECOND: Final = 253402300799  # of the year 9999
_MAX_URI_LENGTH: Final = 2_048


class StatusListError(ValueError):
    """What is said of a status breaks a rule of the draft. The message says which, and quotes nothing."""


class Status(IntEnum):
    """The statuses that have a meaning here (§7.1); every other value means that the token is not good."""

    VALID = 0
    INVALID = 1
    SUSPENDED = 2


@dataclass(frozen=True, slots=True)
class StatusReference:
    """Which entry of which list speaks of a token (§6.2)."""

    uri: str
    index: int

    def claim(self) -> dict[str, object]:
        """The value of the claim `status`."""
        return {"status_list": {"idx": self.index, "uri": self.uri}}


def parse_status_claim(status: object) -> StatusReference:
    """Read the claim `status` of a token (§6.2). Raises `StatusListError`, also where another mechanism alone is named.

    The URI is an `https` URL without query and fragment; whether it may be fetched is for the caller to decide.
    """
    reference = status.get("status_list") if isinstance(status, dict) else None
    if not isinstance(reference, dict):
        raise StatusListError("status has no status_list")
    uri, index = reference.get("uri"), reference.get("idx")
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise StatusListError("idx is a non-negative integer")
    if not isinstance(uri, str) or len(uri) > _MAX_URI_LENGTH or not is_https_url(uri) or "?" in uri:
        raise StatusListError("uri is an https URL without query and fragment")
    return StatusReference(uri, index)


@dataclass(frozen=True, slots=True)
class StatusList:
    """The statuses of many tokens (§4.1), `bits` for each, packed from the least significant bit on."""

    bits: int
    octets: bytes = field(repr=False)

    @classmethod
    def of_bits(cls, size: int, set_bits: Iterable[int]) -> Self:
        """A list of so many entries of one bit; `set_bits` are the indices of those that are INVALID."""
        octets = bytearray((size + 7) // 8)
        for index in set_bits:
            octets[index >> 3] |= 1 << (index & 7)
        return cls(1, bytes(octets))

    def status(self, index: int) -> int:
        """The status of an entry. Raises `StatusListError` beyond the end: nothing is said of such a token (§8.3)."""
        per_octet = 8 // self.bits
        position, place = divmod(index, per_octet)
        if not 0 <= position < len(self.octets):
            raise StatusListError("the index is beyond the end of the list")
        return (self.octets[position] >> (place * self.bits)) & ((1 << self.bits) - 1)

    def encode(self) -> dict[str, object]:
        """The JSON form (§4.2)."""
        return {"bits": self.bits, "lst": encode_base64url(zlib.compress(self.octets, 9))}


def parse_status_list(value: object, *, limit: int = MAX_LIST_BYTES) -> StatusList:
    """Read the JSON form of a list (§4.2), up to `limit` bytes when decompressed. Raises `StatusListError` alone."""
    if not isinstance(value, dict):
        raise StatusListError("status_list is an object")
    bits, text = value.get("bits"), value.get("lst")
    if not isinstance(bits, int) or isinstance(bits, bool) or bits not in _BITS:
        raise StatusListError("bits is 1, 2, 4 or 8")
    if not isinstance(text, str):
        raise StatusListError("lst is a string")
    try:
        return StatusList(bits, _decompress(decode_base64url(text), limit))
    except Base64URLError:
        raise StatusListError("lst is not canonical base64url") from None


def _decompress(data: bytes, limit: int) -> bytes:
    """Exactly one ZLIB stream (RFC 1950). Nothing is inflated beyond `limit`: a few bytes may stand for gigabytes."""
    stream = zlib.decompressobj()
    try:
        octets = stream.decompress(data, limit + 1)
    except zlib.error:
        raise StatusListError("lst is not in the ZLIB format") from None
    if len(octets) > limit:
        raise StatusListError(f"the list has more than {limit} bytes")
    if not stream.eof or stream.unused_data:
        raise StatusListError("lst is not one whole ZLIB stream")
    return octets


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusListClaims:
    """What a signed list says (§5.1). Times are epoch seconds."""

    uri: str
    issued_at: float
    expires_at: float | None
    ttl: float | None
    """For how many seconds it may be relied on before a fresh one is fetched."""
    statuses: StatusList


def status_list_claims(
    *, issuer: str, uri: str, issued_at: int, expires_at: int, ttl: int, statuses: StatusList
) -> dict[str, object]:
    """The claims of a list, to be signed with the type `STATUS_LIST_TYPE` (§5.1)."""
    return {
        "iss": issuer,
        "sub": uri,
        "iat": issued_at,
        "exp": expires_at,
        "ttl": ttl,
        "status_list": statuses.encode(),
    }


def read_status_list_claims(claims: Mapping[str, object], *, issuer: str, uri: str) -> StatusListClaims:
    """Judge the claims of a list whose signature is good (§8.3): whose it is and of what, but not yet whether it is
    current. `iss` need not be there; if it is, it names our issuer. Raises `StatusListError` alone.
    """
    if claims.get("sub") != uri:
        raise StatusListError("sub is not the URI that the token names")
    if claims.get("iss", issuer) != issuer:
        raise StatusListError("the list is of another issuer")
    issued_at = _number(claims, "iat")
    if issued_at is None:
        raise StatusListError("iat is missing")
    ttl = _number(claims, "ttl")
    if ttl is not None and ttl <= 0:
        raise StatusListError("ttl is a positive number")
    return StatusListClaims(
        uri=uri,
        issued_at=issued_at,
        expires_at=_number(claims, "exp"),
        ttl=ttl,
        statuses=parse_status_list(claims.get("status_list")),
    )


def aggregation(uris: Iterable[str]) -> dict[str, object]:
    """The document that names all lists of a server (§9.3)."""
    return {"status_lists": list(uris)}


def _number(claims: Mapping[str, object], name: str) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_SECOND:
        raise StatusListError(f"{name} is not a number of seconds")
    return value
