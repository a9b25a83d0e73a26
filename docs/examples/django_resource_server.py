"""A resource server in Django, under gunicorn, started as that of flask_resource_server.py."""

import os
import ssl

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from mtls_as.verifier import AccessTokenVerifier, ResourceGuard, ServerSocket
from mtls_as.verifier.django import require_bound_token

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["localhost"],
    MTLS_AS_GUARD=f"{__name__}.guard",
    # MIDDLEWARE=["mtls_as.verifier.django.BoundTokenMiddleware"] instead of the decorator: every view needs a token
)
verifier = AccessTokenVerifier(
    issuer=os.environ.get("ISSUER", "https://localhost:8443"),
    audience=os.environ.get("AUDIENCE", "https://localhost:8445"),
    ssl_context=ssl.create_default_context(cafile=os.environ.get("CA", "certs/ca.pem")),
)
guard = ResourceGuard(verifier, certificates=ServerSocket(name="gunicorn.socket"))


@require_bound_token("reports:read")
def reports(request: HttpRequest) -> JsonResponse:
    token = request.access_token
    return JsonResponse({"client": token.client_id, "scope": list(token.scope)})


urlpatterns = [path("reports", reports)]
app = get_wsgi_application()
