"""A resource server in Django REST framework, under gunicorn, started as that of flask_resource_server.py."""

import os
import ssl

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import path

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["localhost"],
    INSTALLED_APPS=["rest_framework"],
    MTLS_AS_GUARD=f"{__name__}.guard",
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["mtls_as.verifier.rest_framework.BoundTokenAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["mtls_as.verifier.rest_framework.HasScopes"],
        "UNAUTHENTICATED_USER": None,
    },
)
app = get_wsgi_application()

from rest_framework import request, response, views  # noqa: E402 # needs the settings

from mtls_as.verifier import AccessTokenVerifier, ResourceGuard, ServerSocket  # noqa: E402

context = ssl.create_default_context(cafile=os.environ.get("CA", "certs/ca.pem"))
verifier = AccessTokenVerifier(issuer=os.environ["ISSUER"], audience=os.environ["AUDIENCE"], ssl_context=context)
guard = ResourceGuard(verifier, certificates=ServerSocket(name="gunicorn.socket"))


class Reports(views.APIView):
    required_scopes = ("reports:read",)

    def get(self, request: request.Request) -> response.Response:
        return response.Response({"client": request.auth.client_id, "scope": list(request.auth.scope)})


urlpatterns = [path("reports", Reports.as_view())]
