"""`mtls-as gateway`: checks access tokens for services that are not Python, asked by the proxy in front of them.

nginx (`auth_request`), Envoy (ext_authz over HTTP), Traefik (ForwardAuth) and HAProxy (Lua) send each request's head
here first. What is decided is the verifier's; this room reads the question, and writes the answer.
"""

from mtls_as.gateway.serving import check, serve
from mtls_as.gateway.settings import GatewaySettings, load_gateway_settings

__all__ = ["GatewaySettings", "check", "load_gateway_settings", "serve"]
