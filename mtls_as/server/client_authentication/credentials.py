"""What a request carries to authenticate its client, beside the certificate of its connection."""

from dataclasses import dataclass, field
from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, Form, OAuthError
from mtls_as.rfc.rfc7523_assertion import CLIENT_ASSERTION_TYPE, ClientAssertionError, unverified_subject
from mtls_as.rfc.rfc7591_client_metadata import CLIENT_SECRET_BASIC, CLIENT_SECRET_POST
from mtls_as.rfc.rfc7617_basic import SCHEME, BasicError, parse_basic, scheme_of
from mtls_as.server.client_authentication.authenticated import AuthenticationRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAssertion:
    """A client assertion (RFC 7521 §4.2), of which one half may be missing; nothing in it is verified."""

    type: str | None
    text: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedSecret:
    """A client secret (RFC 6749 §2.3.1), and the method it came by: `client_secret_basic` or `client_secret_post`."""

    method: str
    client_id: str | None
    """The name that came with it in the header; in the form it has a place of its own."""
    text: str = field(repr=False)


Credential = ClientAssertion | PresentedSecret

_PARAMETERS: Final = frozenset({"client_secret", "client_assertion", "client_assertion_type"})


def presented_credential(request: AuthenticationRequest) -> Credential | None:
    """The one credential of a request that is not its certificate (RFC 6749 §2.3), or None if there is none.

    A certificate never counts as a second one, since it also binds the token (RFC 8705 §3). Raises `OAuthError`:
    `invalid_request` for several credentials, `invalid_client` for one that no client here can have.
    """
    if not request.authorization and request.form.names.isdisjoint(_PARAMETERS):
        return None
    given = _given(request)
    if len(given) > 1:
        detail = f"several credentials in one request: {', '.join(given)}"
        raise OAuthError(ErrorCode.INVALID_REQUEST, Refusal.SEVERAL_AUTHENTICATION_METHODS, detail)
    form = request.form
    if request.authorization:
        return _secret_of_header(request.authorization[0])
    if (secret := form.get("client_secret")) is not None:
        return PresentedSecret(method=CLIENT_SECRET_POST, client_id=None, text=secret)
    if given:
        return ClientAssertion(type=form.get("client_assertion_type"), text=form.get("client_assertion"))
    return None  # the parameters are there, and empty, so that they count as omitted


def name_in(form: Form, credential: Credential | None) -> str:
    """What a request calls its client: by `client_id`, or where that is missing in its credential.

    A secret's header always names it (RFC 6749 §2.3.1), and an assertion in its subject (RFC 7521 §4.2), which is
    not verified yet. Raises `OAuthError`: `invalid_request` without a name, or with two; `invalid_client` for an
    assertion that cannot be read.
    """
    if credential is None:
        return form.require("client_id")
    named = form.get("client_id")
    match credential:
        case PresentedSecret(client_id=str(client_id)):
            if named not in (None, client_id):
                detail = "client_id in the form is another than in the Authorization header"
                raise OAuthError(ErrorCode.INVALID_REQUEST, Refusal.CLIENT_ID_CONFLICT, detail)
            return client_id
        case ClientAssertion(type=kind, text=str(text)) if kind == CLIENT_ASSERTION_TYPE and named is None:
            try:
                return unverified_subject(text)
            except ClientAssertionError as error:
                raise OAuthError(ErrorCode.INVALID_CLIENT, error.refusal, str(error)) from None
    return form.require("client_id")


def claimed_client_id(request: AuthenticationRequest) -> str | None:
    """What a request calls its client, for the log; None where that cannot be read."""
    if (named := request.form.get("client_id")) is not None:
        return named  # which `name_in` would say too, or nothing
    try:
        return name_in(request.form, presented_credential(request))
    except OAuthError:
        return None


def wrong_method(detail: str) -> OAuthError:
    """The refusal of a credential that is not the client's own."""
    return OAuthError(ErrorCode.INVALID_CLIENT, Refusal.WRONG_AUTHENTICATION_METHOD, detail)


def _given(request: AuthenticationRequest) -> list[str]:
    found = ["Authorization header"] * len(request.authorization)
    if "client_secret" in request.form:
        found.append("client_secret")
    if "client_assertion" in request.form or "client_assertion_type" in request.form:
        found.append("client_assertion")
    return found


def _secret_of_header(authorization: str) -> PresentedSecret:
    if scheme_of(authorization) != SCHEME:
        raise wrong_method("the Authorization header is not of the scheme Basic")
    try:
        credentials = parse_basic(authorization)
    except BasicError as error:
        raise OAuthError(ErrorCode.INVALID_CLIENT, Refusal.CREDENTIALS_MALFORMED, str(error)) from None
    return PresentedSecret(method=CLIENT_SECRET_BASIC, client_id=credentials.client_id, text=credentials.client_secret)
