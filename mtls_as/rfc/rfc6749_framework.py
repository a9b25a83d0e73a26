"""RFC 6749, The OAuth 2.0 Authorization Framework: error answers, form parameters and scopes.

An `OAuthError` has three parts: the OAuth code and a fixed description for the client, and for the log a stable
reason with its detail. Only `mtls_as.http.errors` turns it into an HTTP answer.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote_to_bytes

from mtls_as.rfc.refusal import Refusal

MAX_FORM_BYTES: Final = 64 * 1024
MAX_FORM_PARAMETERS: Final = 64

# RFC 8707 §2 and RFC 8693 §2.1 let these two repeat; RFC 6749 §3.2 lets nothing else.
_REPEATABLE: Final = frozenset({"resource", "audience"})
_OMITTED: Final = (None,)
_PERCENT, _PLUS = b"%+"
_SCOPE_TOKEN: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")

# Clients send the same form again and again. What is in these parameters is no secret of anybody: others hold
# passwords, assertions, tokens, or whatever a client likes.
_WITHOUT_SECRETS: Final = frozenset({"grant_type", "client_id", "scope", "resource", "audience"})
_MAX_REMEMBERED_BYTES: Final = 1024
_MAX_REMEMBERED: Final = 256
_remembered: Final[dict[bytes, "Form"]] = {}
"""By all their bytes: reading them again would tell nothing else."""


class ErrorCode(StrEnum):
    """The `error` member of an error answer."""

    INVALID_REQUEST = "invalid_request"  # RFC 6749 §5.2
    INVALID_CLIENT = "invalid_client"  # RFC 6749 §5.2
    INVALID_GRANT = "invalid_grant"  # RFC 6749 §5.2
    UNAUTHORIZED_CLIENT = "unauthorized_client"  # RFC 6749 §5.2
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"  # RFC 6749 §5.2
    INVALID_SCOPE = "invalid_scope"  # RFC 6749 §5.2
    INVALID_TARGET = "invalid_target"  # RFC 8707 §2
    INVALID_AUTHORIZATION_DETAILS = "invalid_authorization_details"  # RFC 9396 §5
    INVALID_DPOP_PROOF = "invalid_dpop_proof"  # RFC 9449 §5
    USE_DPOP_NONCE = "use_dpop_nonce"  # RFC 9449 §8
    INVALID_TOKEN = "invalid_token"  # noqa: S105 # RFC 6750 §3.1
    INSUFFICIENT_SCOPE = "insufficient_scope"  # RFC 6750 §3.1
    INVALID_CLIENT_METADATA = "invalid_client_metadata"  # RFC 7591 §3.2.2
    INVALID_SOFTWARE_STATEMENT = "invalid_software_statement"  # RFC 7591 §3.2.2
    UNAPPROVED_SOFTWARE_STATEMENT = "unapproved_software_statement"  # RFC 7591 §3.2.2
    SERVER_ERROR = "server_error"  # RFC 6749 §4.1.2.1
    TEMPORARILY_UNAVAILABLE = "temporarily_unavailable"  # RFC 6749 §4.1.2.1


_DESCRIPTIONS: Final[Mapping[ErrorCode, str]] = MappingProxyType(
    {
        ErrorCode.INVALID_REQUEST: "The request is malformed, or a parameter is missing or repeated.",
        ErrorCode.INVALID_CLIENT: "Client authentication failed.",
        ErrorCode.INVALID_GRANT: "The grant is invalid or expired.",
        ErrorCode.UNAUTHORIZED_CLIENT: "The client may not use this grant type.",
        ErrorCode.UNSUPPORTED_GRANT_TYPE: "The grant type is not supported.",
        ErrorCode.INVALID_SCOPE: "The scope is unknown, malformed or not allowed.",
        ErrorCode.INVALID_TARGET: "The resource is unknown, not allowed or not unique.",
        ErrorCode.INVALID_AUTHORIZATION_DETAILS: "The authorization details are unknown, malformed or not allowed.",
        ErrorCode.INVALID_DPOP_PROOF: "The DPoP proof is missing, malformed, or not valid for this request.",
        ErrorCode.USE_DPOP_NONCE: "The DPoP proof needs the nonce of this answer.",
        ErrorCode.INSUFFICIENT_SCOPE: "The token does not have the scope that this request needs.",
        ErrorCode.INVALID_TOKEN: "The token, or the certificate it needs beside it, is missing, wrong or used up.",
        ErrorCode.INVALID_CLIENT_METADATA: "The client metadata is malformed, or more than is allowed.",
        ErrorCode.INVALID_SOFTWARE_STATEMENT: "The software statement is missing or not valid.",
        ErrorCode.UNAPPROVED_SOFTWARE_STATEMENT: "The software statement is not of an approved issuer.",
        ErrorCode.SERVER_ERROR: "The server met an unexpected condition.",
        ErrorCode.TEMPORARILY_UNAVAILABLE: "The server cannot answer now. Try again later.",
    }
)


class OAuthError(Exception):
    """A refusal in three parts (RFC 6749 §5.2): `code` and `description` are public, `refusal` and `detail` private.

    `description` is fixed for each code, so that nothing about a client leaks into an answer; `detail` may quote input
    and goes to the log alone, which escapes and cuts it.
    """

    def __init__(self, code: ErrorCode, refusal: Refusal, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(f"{code}: {refusal}: {detail}")
        self.code = code
        self.description = _DESCRIPTIONS[code]
        self.refusal = refusal
        self.detail = detail
        self.retry_after = retry_after
        """Seconds after which the same request may be answered, where that is known."""


class Form:
    """The parameters of one `application/x-www-form-urlencoded` body; empty values count as omitted (RFC 6749 §3.2).

    It says nothing of itself in a log, since there are secrets in it.
    """

    __slots__ = ("_values", "names")

    def __init__(self, values: Mapping[str, tuple[str, ...]], names: frozenset[str] = frozenset()) -> None:
        self._values = values
        self.names: Final = names
        """Of all parameters, also of those that count as omitted."""

    def get(self, name: str) -> str | None:
        """The value of a parameter that may occur once, or None."""
        return self._values.get(name, _OMITTED)[0]

    def require(self, name: str) -> str:
        """The value of a parameter that must be there. Raises `OAuthError` `invalid_request`."""
        value = self.get(name)
        if value is None:
            raise _invalid_request(Refusal.MISSING_PARAMETER, f"{name} is missing")
        return value

    def every(self, name: str) -> tuple[str, ...]:
        """All values of a parameter that may repeat (`resource`, `audience`)."""
        return self._values.get(name, ())

    def __contains__(self, name: str) -> bool:
        return name in self._values


def parse_form(body: bytes) -> Form:
    """Parse a form body: UTF-8, 64 KiB and 64 parameters at most, no NUL, nothing repeated but `resource`, `audience`.

    Raises `OAuthError` `invalid_request` and nothing else (RFC 6749 §3.2, appendix B).
    """
    if len(body) > _MAX_REMEMBERED_BYTES:
        return _read_form(body)
    form = _remembered.get(body)
    if form is None:
        form = _read_form(body)
        if form.names <= _WITHOUT_SECRETS:
            _remember(body, form)
    return form


def _remember(body: bytes, form: Form) -> None:
    if len(_remembered) >= _MAX_REMEMBERED:
        _remembered.clear()
    _remembered[body] = form


def _read_form(body: bytes) -> Form:
    """Raises `OAuthError` as `parse_form`."""
    if len(body) > MAX_FORM_BYTES:
        raise _invalid_request(Refusal.REQUEST_TOO_LARGE, f"the form has {len(body)} bytes")
    if not body:
        return Form({})
    if body.count(b"&") >= MAX_FORM_PARAMETERS:
        raise _invalid_request(Refusal.REQUEST_TOO_LARGE, f"the form has more than {MAX_FORM_PARAMETERS} parameters")
    pairs = _pairs(body)
    names = frozenset([name for name, _, _ in pairs])
    if len(names) < len(pairs):
        return Form(_gather(pairs), names)
    return Form({name: (value,) for name, _, value in pairs if value}, names)


def parse_scope(text: str) -> tuple[str, ...]:
    """Split a scope into its tokens, each once, in the order given (RFC 6749 §3.3). Raises `ValueError`."""
    tokens = text.split(" ")
    if not all(_SCOPE_TOKEN.fullmatch(token) for token in tokens):
        raise ValueError("a scope is one or more tokens of printable ASCII, separated by single spaces")
    return tuple(dict.fromkeys(tokens))


def format_scope(tokens: Iterable[str]) -> str:
    """The wire form of scope tokens (RFC 6749 §3.3)."""
    return " ".join(tokens)


def _gather(pairs: Iterable[tuple[str, str, str]]) -> dict[str, tuple[str, ...]]:
    """The values of parameters of which some repeat."""
    values: dict[str, tuple[str, ...]] = {}
    seen: set[str] = set()
    for name, _, value in pairs:
        if name in seen and name not in _REPEATABLE:
            raise _invalid_request(Refusal.REPEATED_PARAMETER, f"{name} is repeated")
        seen.add(name)
        if value:
            values[name] = (*values.get(name, ()), value)
    return values


def _pairs(body: bytes) -> list[tuple[str, str, str]]:
    """Names and values, with what stood between them."""
    if _PERCENT in body or _PLUS in body:
        return [_decode_apart(pair) for pair in body.split(b"&")]
    return [pair.partition("=") for pair in _decode(body).split("&")]  # every octet stands for itself


def _decode_apart(pair: bytes) -> tuple[str, str, str]:
    if _PERCENT not in pair and _PLUS not in pair:
        return _decode(pair).partition("=")
    name, equals, value = pair.replace(b"+", b" ").partition(b"=")
    return _decode(unquote_to_bytes(name)), equals.decode("ascii"), _decode(unquote_to_bytes(value))


def _decode(octets: bytes) -> str:
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise _invalid_request(Refusal.MALFORMED_REQUEST, "the form is not UTF-8") from None
    if "\0" in text:
        raise _invalid_request(Refusal.MALFORMED_REQUEST, "the form holds a NUL")
    return text


def _invalid_request(refusal: Refusal, detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_REQUEST, refusal, detail)
