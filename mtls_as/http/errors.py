"""The bridge from refusals to HTTP: the only place that turns an `OAuthError` into status, headers and JSON."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from mtls_as.http.answers import Answer, json_answer
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.server.ports import StorageUnavailable

# RFC 6749 §5.2: 400 unless stated otherwise; 401 for a failed client authentication.
_STATUS: Final[Mapping[ErrorCode, int]] = MappingProxyType(
    {
        ErrorCode.INVALID_CLIENT: 401,
        ErrorCode.INVALID_TOKEN: 401,
        ErrorCode.INSUFFICIENT_SCOPE: 403,
        ErrorCode.SERVER_ERROR: 500,
        ErrorCode.TEMPORARILY_UNAVAILABLE: 503,
    }
)
# Where HTTP has a better word (RFC 9110 §15.5).
_STATUS_OF_REFUSAL: Final[Mapping[Refusal, int]] = MappingProxyType(
    {
        Refusal.REQUEST_TOO_LARGE: 413,
        Refusal.PROXY_NOT_AUTHENTICATED: 403,
        Refusal.TARGET_UNKNOWN: 404,
        Refusal.TARGET_CONFLICT: 409,
        Refusal.TARGET_CHANGED: 412,
        Refusal.RATE_LIMITED: 429,  # RFC 6585 §4
        Refusal.TOO_MANY_FAILURES: 429,
    }
)
_RETRY_AFTER_SECONDS: Final = 5


def error_answer(error: OAuthError, *, has_authorization_header: bool) -> Answer:
    """The answer of RFC 6749 §5.2; `error.refusal` and `error.detail` stay here."""
    headers = {"Cache-Control": "no-store"}
    if error.code is ErrorCode.INVALID_CLIENT and has_authorization_header:
        headers["WWW-Authenticate"] = 'Basic realm="token endpoint"'  # RFC 6749 §5.2: the scheme that was tried
    if error.code is ErrorCode.INVALID_TOKEN:
        # RFC 6750 §3.1: a request without a token learns of the scheme alone.
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if has_authorization_header else "Bearer"
    if error.code is ErrorCode.INSUFFICIENT_SCOPE:
        headers["WWW-Authenticate"] = 'Bearer error="insufficient_scope"'
    if error.code is ErrorCode.TEMPORARILY_UNAVAILABLE:
        headers["Retry-After"] = str(error.retry_after or _RETRY_AFTER_SECONDS)
    status = _STATUS_OF_REFUSAL.get(error.refusal) or _STATUS.get(error.code, 400)
    return json_answer({"error": error.code, "error_description": error.description}, status=status, headers=headers)


def http_exception_answer(exception: HTTPException) -> Answer:
    """The answer where no route was reached: no such path, or the wrong method."""
    headers = {"Cache-Control": "no-store"}
    headers |= {name: value for name, value in exception.get_headers() if name in {"Allow", "Retry-After"}}
    document = {"error": "invalid_request", "error_description": f"{exception.code} {exception.name}."}
    return json_answer(document, status=exception.code or 400, headers=headers)


def as_oauth_error(exception: Exception) -> OAuthError:
    """Any exception as a refusal: what was not foreseen is `server_error`, its text withheld from the client."""
    if isinstance(exception, OAuthError):
        return exception
    if isinstance(exception, RequestEntityTooLarge):
        return OAuthError(ErrorCode.INVALID_REQUEST, Refusal.REQUEST_TOO_LARGE, "the body is too large")
    if isinstance(exception, HTTPException):
        return OAuthError(ErrorCode.INVALID_REQUEST, Refusal.MALFORMED_REQUEST, exception.name)
    if isinstance(exception, StorageUnavailable):
        return OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, str(exception))
    return OAuthError(ErrorCode.SERVER_ERROR, Refusal.INTERNAL_ERROR, f"{type(exception).__name__}: {exception}")
