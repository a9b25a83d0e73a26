"""Decides who the client of a request is: exactly one method, the client's own, and every check of it."""

from dataclasses import dataclass
from typing import Final, assert_never

from mtls_as.pki.presented import PresentedCertificate
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, Form, OAuthError
from mtls_as.rfc.rfc7591_client_metadata import SelfSignedTlsClientAuth, TlsClientAuth
from mtls_as.server.client_authentication.authenticated import AuthenticatedClient, AuthenticationRequest
from mtls_as.server.client_authentication.self_signed_tls_client_auth import verify_registered
from mtls_as.server.client_authentication.tls_client_auth import verify_subject
from mtls_as.server.clients import Client
from mtls_as.server.ports import ClientFinder, RemoteKeySets, TrustSource

MAX_CLIENT_ID_LENGTH: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAuthenticator:
    """Authenticates the client of a request (RFC 6749 §2.3, RFC 8705 §2)."""

    clients: ClientFinder
    trust: TrustSource
    remote_key_sets: RemoteKeySets

    async def authenticate(self, request: AuthenticationRequest) -> AuthenticatedClient:
        """The client that this request proves to come from.

        (1) No other credential than the certificate; (2) `client_id` is present (RFC 8705 §2); (3) it names an enabled
        client; (4) a certificate is there; (5) it passes the method that this client registered.

        Raises `OAuthError`: `invalid_request` for (1) twice and (2), else `invalid_client`.
        """
        _refuse_other_credentials(request)  # (1)
        client_id = request.form.require("client_id")  # (2)
        client = await self._registered(client_id)  # (3)
        certificate = request.certificate
        if certificate is None:  # (4)
            raise _refused(Refusal.NO_CERTIFICATE, "the connection carries no client certificate")
        await self._verify(client, certificate, at=request.at)  # (5)
        method = client.metadata.token_endpoint_auth_method
        return AuthenticatedClient(client=client, method=method, certificate=certificate)

    async def _registered(self, client_id: str) -> Client:
        client = await self.clients.find(client_id) if len(client_id) <= MAX_CLIENT_ID_LENGTH else None
        if client is None:
            raise _refused(Refusal.UNKNOWN_CLIENT, f"no client is registered as {client_id}")
        if not client.enabled:
            raise _refused(Refusal.DISABLED_CLIENT, f"the client {client_id} is disabled")
        return client

    async def _verify(self, client: Client, certificate: PresentedCertificate, *, at: float) -> None:
        authentication = client.metadata.authentication
        match authentication:
            case TlsClientAuth():
                if client.trust is None:
                    raise _refused(Refusal.UNKNOWN_TRUST_DOMAIN, f"the client {client.client_id} names no trust domain")
                domains = self.trust.current()
                verify_subject(authentication, certificate, trust_domains=domains, trust=client.trust, at=at)
            case SelfSignedTlsClientAuth():
                await verify_registered(authentication, certificate, remote_key_sets=self.remote_key_sets, at=at)
            case _:
                assert_never(authentication)


def _refuse_other_credentials(request: AuthenticationRequest) -> None:
    """RFC 6749 §2.3: one method per request. Methods that no client here can have are refused by name."""
    others = _other_credentials(request.form, has_header=request.has_authorization_header)
    if len(others) > 1:
        detail = f"several credentials in one request: {', '.join(others)}"
        raise OAuthError(ErrorCode.INVALID_REQUEST, Refusal.SEVERAL_AUTHENTICATION_METHODS, detail)
    if others:
        raise _refused(Refusal.WRONG_AUTHENTICATION_METHOD, f"{others[0]} is not a method of this server")


def _other_credentials(form: Form, *, has_header: bool) -> list[str]:
    found = ["Authorization header"] if has_header else []
    if "client_secret" in form:
        found.append("client_secret")
    if "client_assertion" in form or "client_assertion_type" in form:
        found.append("client_assertion")
    return found


def _refused(refusal: Refusal, detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_CLIENT, refusal, detail)
