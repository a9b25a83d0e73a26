"""Django REST framework: an authentication class, and a permission for scopes.

The guard is that of `mtls_as.verifier.django`. `BoundTokenAuthentication` lets requests without a token pass, as all
authentication classes do, for another class or nobody; a permission must then ask for a token: `HasScopes` does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from mtls_as.verifier.django import configured_guard
from mtls_as.verifier.request import Refusal
from mtls_as.verifier.verifier import VerifiedToken
from mtls_as.verifier.wsgi import describe


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundClient:
    """`request.user` of a request with a token: the client, which is no user of this site."""

    token: VerifiedToken

    is_authenticated = True
    is_anonymous = False
    is_active = True

    @property
    def pk(self) -> str:
        """What throttling tells clients apart by."""
        return f"client:{self.token.client_id}"

    def __str__(self) -> str:
        return self.token.client_id


class BoundTokenAuthentication(BaseAuthentication):
    """`request.auth` is the `VerifiedToken`, once the guard let the request through."""

    def authenticate(self, request: Request) -> tuple[BoundClient, VerifiedToken] | None:
        """None without a token. Raises `APIException` with the guard's answer."""
        checked = configured_guard().check(describe(request.META))
        if isinstance(checked, VerifiedToken):
            return BoundClient(token=checked), checked
        if checked.description is None:  # there was no token
            request.bound_token_challenge = checked.header_map["www-authenticate"]
            return None
        raise _refused(checked)

    def authenticate_header(self, request: Request) -> str:
        """The challenge, with which a request without a token is answered by 401 and not by 403."""
        return getattr(request, "bound_token_challenge", "Bearer")


class HasScopes(BasePermission):
    """The request has a token with all of the view's `required_scopes`, beside those of the guard.

    That is a list, or a mapping of methods to lists, and then methods that it does not name are refused.
    """

    def has_permission(self, request: Request, view: Any) -> bool:  # noqa: ANN401 # any kind of view
        """Raises `APIException` with the guard's answer if scopes are missing."""
        required = _required(request, view)
        if not isinstance(request.auth, VerifiedToken) or required is None:
            return False
        refusal = configured_guard().insufficient(request.auth, required)
        if refusal is not None:
            raise _refused(refusal)
        return True


def _required(request: Request, view: Any) -> Iterable[str] | None:  # noqa: ANN401 # any kind of view
    required = getattr(view, "required_scopes", ())
    if isinstance(required, Mapping):
        required = required.get(request.method)
    if isinstance(required, str):
        raise TypeError("required_scopes is a list of texts, or a mapping of methods to such")
    return required


def _refused(refusal: Refusal) -> APIException:
    members = {"error": refusal.error, "error_description": refusal.description}
    error = APIException({name: str(value) for name, value in members.items() if value})
    error.status_code = int(refusal.status)
    error.auth_header = refusal.header_map.get("www-authenticate")
    return error
