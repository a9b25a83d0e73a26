"""What a request carries to authenticate its client, beside the certificate of its connection."""

from dataclasses import dataclass, field

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, Form, OAuthError
from mtls_as.server.client_authentication.authenticated import AuthenticationRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAssertion:
    """A client assertion (RFC 7521 §4.2), of which one half may be missing; nothing in it is verified."""

    type: str | None
    text: str | None = field(repr=False)


def presented_assertion(request: AuthenticationRequest) -> ClientAssertion | None:
    """The one credential of a request that is not its certificate (RFC 6749 §2.3), or None if there is none.

    A certificate never counts as a second one, since it also binds the token (RFC 8705 §3). Raises `OAuthError`:
    `invalid_request` for several credentials, `invalid_client` for one that no client here can have.
    """
    given = _given(request.form, has_header=request.has_authorization_header)
    if len(given) > 1:
        detail = f"several credentials in one request: {', '.join(given)}"
        raise OAuthError(ErrorCode.INVALID_REQUEST, Refusal.SEVERAL_AUTHENTICATION_METHODS, detail)
    if not given:
        return None
    if given != ["client_assertion"]:
        raise wrong_method(f"{given[0]} is not a method of this server")
    return ClientAssertion(type=request.form.get("client_assertion_type"), text=request.form.get("client_assertion"))


def wrong_method(detail: str) -> OAuthError:
    """The refusal of a credential that is not the client's own."""
    return OAuthError(ErrorCode.INVALID_CLIENT, Refusal.WRONG_AUTHENTICATION_METHOD, detail)


def _given(form: Form, *, has_header: bool) -> list[str]:
    found = ["Authorization header"] if has_header else []
    if "client_secret" in form:
        found.append("client_secret")
    if "client_assertion" in form or "client_assertion_type" in form:
        found.append("client_assertion")
    return found
