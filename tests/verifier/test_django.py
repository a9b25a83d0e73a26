"""Django and Django REST framework: middleware, decorator, authentication and permission, by Django's own requests."""

from collections.abc import Iterator
from typing import Any, ClassVar

import django
import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path

from mtls_as.rfc.rfc9728_resource_metadata import ResourceMetadata
from mtls_as.verifier import EnvironVariable, ForwardedCertificate
from tests.verifier.issuer import AUDIENCE
from tests.verifier.requests import AS, MINE, THIEF, TOKEN, guard

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["rest_framework"],
    MTLS_AS_GUARD=f"{__name__}.GUARD",
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["mtls_as.verifier.rest_framework.BoundTokenAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["mtls_as.verifier.rest_framework.HasScopes"],
        "UNAUTHENTICATED_USER": None,
    },
)
django.setup()

from rest_framework.response import Response  # noqa: E402 # needs the settings
from rest_framework.throttling import UserRateThrottle  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

from mtls_as.verifier.django import configured_guard, require_bound_token, resource_metadata  # noqa: E402

METADATA = ResourceMetadata(resource=AUDIENCE)
GUARD = guard(certificates=EnvironVariable(), metadata=METADATA)
UNUSABLE = guard(certificates=ForwardedCertificate(preset="apache", unix_socket=True))
WRITE = AS.token(MINE.der, scope="reports:read reports:write")


def make_guard() -> Any:
    return GUARD


def nobody() -> None:
    return None


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.access_token.client_id)


class Reports(APIView):
    required_scopes = ("reports:read",)

    def get(self, request: Any) -> Response:
        assert str(request.user) == request.auth.client_id
        assert request.user.is_authenticated
        return Response(UserRateThrottle.get_ident(UserRateThrottle(), request) and request.user.pk)


class ByMethod(Reports):
    required_scopes: ClassVar = {"GET": ["reports:read"], "POST": ["reports:write"]}

    def post(self, request: Any) -> Response:
        return self.get(request)

    def delete(self, request: Any) -> Response:
        return self.get(request)


class Careless(Reports):
    required_scopes = "reports:read"


class Unscoped(Reports):
    required_scopes = ()


urlpatterns = [
    path("plain", plain),
    path("decorated", require_bound_token("reports:read")(plain)),
    path("more", require_bound_token("reports:write")(plain)),
    path("reports", Reports.as_view()),
    path("by-method", ByMethod.as_view()),
    path("careless", Careless.as_view()),
    path("unscoped", Unscoped.as_view()),
    path(METADATA.path.removeprefix("/"), resource_metadata),
]


@pytest.fixture(autouse=True)
def forget_the_guard() -> Iterator[None]:
    configured_guard.cache_clear()
    yield
    configured_guard.cache_clear()


def request(where: str, token: str | None = TOKEN, method: str = "GET", **environ: Any) -> Any:
    """Over TLS, with the certificate that the token is bound to."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    given = {"SSL_CLIENT_CERT": MINE.pem} | environ
    return Client().generic(method, where, secure=True, headers=headers, **given)


PROTECTED = {"decorator": "/decorated", "REST framework": "/reports"}


@pytest.mark.parametrize("where", PROTECTED.values(), ids=PROTECTED)
def test_what_views_answer(where: str) -> None:
    assert request(where).status_code == 200
    other = request(where, SSL_CLIENT_CERT=THIEF.pem)
    assert (other.status_code, other.json()["error"]) == (401, "invalid_token")
    assert other["www-authenticate"].startswith('Bearer error="invalid_token"')
    bare = request(where, None)
    assert bare.status_code == 401
    assert bare["www-authenticate"].startswith("Bearer ")
    assert f'resource_metadata="{METADATA.url}"' in bare["www-authenticate"]
    missing = request(where, AS.token(MINE.der, scope="other"))
    assert (missing.status_code, missing.json()["error"]) == (403, "insufficient_scope")
    assert 'scope="reports:read"' in missing["www-authenticate"]
    assert request(where, SSL_CLIENT_CERT="", HTTP_SSL_CLIENT_CERT=MINE.pem).status_code == 401
    assert (
        Client().get(where, headers={"authorization": f"Bearer {TOKEN}"}, SSL_CLIENT_CERT=MINE.pem).status_code == 401
    )


def test_each_view_has_its_scopes() -> None:
    assert request("/more").status_code == 403
    assert request("/more", WRITE).status_code == 200


def test_scopes_by_method() -> None:
    """A method that the mapping does not name is refused, and so is a text in place of a list."""
    assert request("/by-method").status_code == 200
    assert request("/by-method", method="POST").status_code == 403
    assert request("/by-method", WRITE, method="POST").status_code == 200
    assert request("/by-method", WRITE, method="DELETE").status_code == 403
    with pytest.raises(TypeError, match="list"):
        request("/careless")


def test_no_scopes_still_need_a_token() -> None:
    assert request("/unscoped").status_code == 200
    assert request("/unscoped", None).status_code == 401


@override_settings(MIDDLEWARE=["mtls_as.verifier.django.BoundTokenMiddleware"])
def test_middleware() -> None:
    """Every view needs a token, paths that do not exist too; the metadata need none."""
    assert request("/plain").content == b"reports"
    assert request("/plain", None).status_code == 401
    assert request("/nowhere", None).status_code == 401
    assert request("/nowhere").status_code == 404
    assert request(METADATA.path, None).json() == METADATA.document()


def test_metadata_without_the_middleware() -> None:
    assert request(METADATA.path, None).json() == METADATA.document()


def test_a_function_that_makes_the_guard() -> None:
    with override_settings(MTLS_AS_GUARD=f"{__name__}.make_guard"):
        assert request("/decorated").status_code == 200


@pytest.mark.parametrize("setting", [None, 1, f"{__name__}.nobody", f"{__name__}.UNUSABLE"])
def test_settings_that_cannot_work(setting: Any) -> None:
    """Noticed at the first request, which gets nothing."""
    with override_settings(MTLS_AS_GUARD=setting), pytest.raises(ImproperlyConfigured):
        request("/decorated")
