"""RFC 6750, how a request carries its access token, and how a resource server says that it will not do.

Certificate-bound tokens travel by the same scheme (RFC 8705 §3), those bound to a DPoP key by one of their own, in the
same form (RFC 9449 §7.1). Only the Authorization header is accepted: a token in a query ends in logs and histories (RFC
9700 §4.3.2), and a request's body belongs to the application.
"""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final
from urllib.parse import unquote_to_bytes

BEARER: Final = "Bearer"

_CREDENTIALS: Final = re.compile(rb"[A-Za-z]+ +([A-Za-z0-9._~+/-]+=*) *")  # RFC 6750 §2.1: b64token
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_SCHEME: Final = re.compile(rb"[A-Za-z]+(?=[ \t,]|$)")
_QUOTABLE: Final = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]*")  # RFC 6750 §3


class BearerError(StrEnum):
    """The `error` attribute of a challenge (RFC 6750 §3.1)."""

    INVALID_REQUEST = "invalid_request"
    INVALID_TOKEN = "invalid_token"  # noqa: S105 # an error code, not a secret
    INSUFFICIENT_SCOPE = "insufficient_scope"
    INVALID_DPOP_PROOF = "invalid_dpop_proof"  # RFC 9449 §7.1


class MalformedBearerRequest(Exception):  # noqa: N818 # named as RFC 6750 describes it
    """The request carries a token in a malformed or forbidden way: `invalid_request`. The message is public."""


def bearer_token(authorization: Sequence[bytes], query_string: bytes, *, scheme: str = BEARER) -> str | None:
    """The token of a request: all values of its Authorization header, and its raw query. None if there is none.

    Raises `MalformedBearerRequest` and nothing else: for a repeated header, a malformed value of this scheme, and a
    token in the query (RFC 6750 §2.1, §2.3, §3.1). Other schemes are no token; schemes have no case.
    """
    if query_string and any(_parameter_name(pair) == b"access_token" for pair in query_string.split(b"&")):
        raise MalformedBearerRequest("An access token in the query is not accepted.")
    if len(authorization) > 1:
        raise MalformedBearerRequest("The Authorization header is repeated.")
    found = _SCHEME.match(authorization[0]) if authorization else None
    if found is None or found[0].lower() != scheme.lower().encode("ascii"):
        return None
    credentials = _CREDENTIALS.fullmatch(authorization[0])
    if credentials is None:
        raise MalformedBearerRequest("The Authorization header is malformed.")
    return credentials[1].decode("ascii")


def is_bearer_token(text: str) -> bool:
    """Whether a text has the form of an access token (§2.1: b64token)."""
    return _TOKEN.fullmatch(text) is not None


def challenge(
    *,
    scheme: str = BEARER,
    error: BearerError | None = None,
    description: str | None = None,
    scope: Iterable[str] = (),
    algorithms: Iterable[str] = (),
    resource_metadata: str | None = None,
) -> str:
    """A value for `WWW-Authenticate` (RFC 6750 §3). Without a token in the request there is no `error` (§3.1).

    `algorithms` are those of DPoP proofs (RFC 9449 §7.1); `resource_metadata` is the URL of the resource's metadata
    (RFC 9728 §5.1). Raises `ValueError` for a description, scope or URL with characters that §3 does not allow.
    """
    attributes = {
        "error": error,
        "error_description": description,
        "scope": " ".join(scope),
        "algs": " ".join(algorithms),
        "resource_metadata": resource_metadata,
    }
    return scheme + ",".join(f" {name}={_quote(value)}" for name, value in attributes.items() if value)


def _parameter_name(pair: bytes) -> bytes:
    return unquote_to_bytes(pair.partition(b"=")[0].replace(b"+", b" "))


def _quote(value: str) -> str:
    if not _QUOTABLE.fullmatch(value):
        raise ValueError("an attribute of a challenge is printable ASCII without quotation mark and backslash")
    return f'"{value}"'
