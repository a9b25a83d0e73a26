"""Decides who the client of a request is: exactly one method, the client's own, and every check of it."""

from dataclasses import dataclass
from typing import Final, assert_never

from mtls_as.pki.presented import PresentedCertificate
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc7591_client_metadata import SelfSignedTlsClientAuth, SpiffeJwt, SpiffeX509, TlsClientAuth
from mtls_as.rfc.spiffe_id import SpiffeID, SpiffeIDError, parse_spiffe_id, patterns_above
from mtls_as.server.client_authentication.authenticated import AuthenticatedClient, AuthenticationRequest
from mtls_as.server.client_authentication.credentials import ClientAssertion, presented_assertion, wrong_method
from mtls_as.server.client_authentication.self_signed_tls_client_auth import verify_registered
from mtls_as.server.client_authentication.spiffe_jwt import identify_workload, is_jwt_svid, verify_jwt_assertion
from mtls_as.server.client_authentication.spiffe_x509 import verify_x509_svid
from mtls_as.server.client_authentication.tls_client_auth import verify_subject
from mtls_as.server.clients import Client
from mtls_as.server.ports import ClientFinder, RemoteKeySets, SpiffeSource, TrustSource

MAX_CLIENT_ID_LENGTH: Final = 256
MAX_PREFIXES: Final = 16
"""How many prefixes of a SPIFFE ID are tried, the longest first: each may be a look-up in the storage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAuthenticator:
    """Authenticates the client of a request (RFC 6749 §2.3, RFC 8705 §2, draft-ietf-oauth-spiffe-client-auth-02).

    `issuer` is the only audience of client assertions.
    """

    issuer: str
    clients: ClientFinder
    trust: TrustSource
    spiffe: SpiffeSource
    remote_key_sets: RemoteKeySets

    async def authenticate(self, request: AuthenticationRequest) -> AuthenticatedClient:
        """The client that this request proves to come from.

        (1) One credential beside the certificate at most; (2) `client_id` names the client (RFC 8705 §2), or else a
        JWT-SVID does; (3) it is registered and enabled; (4) the credential is that of the method the client registered,
        and (5) passes it; (6) a SPIFFE ID that stands for the client's name is the one that was proven.

        Raises `OAuthError`: `invalid_request` for (1) and (2), else `invalid_client`.
        """
        assertion = presented_assertion(request)  # (1)
        client_id, named = self._name(request, assertion)  # (2)
        client = await self._registered(client_id, named)  # (3)
        proven = await self._verify(client, request, assertion)  # (4) (5)
        if named is not None and proven is not None and named != proven:  # (6)
            raise _refused(Refusal.SUBJECT_MISMATCH, f"client_id names '{named}', and the SVID is of '{proven}'")
        return AuthenticatedClient(
            client=client,
            method=client.metadata.token_endpoint_auth_method,
            certificate=request.certificate,
            spiffe_id=proven,
        )

    def _name(self, request: AuthenticationRequest, assertion: ClientAssertion | None) -> tuple[str, SpiffeID | None]:
        """What the request calls its client, and that name as a SPIFFE ID if it is one."""
        if assertion is not None and is_jwt_svid(assertion) and "client_id" not in request.form:
            domains = self.spiffe.current()
            workload = identify_workload(assertion, domains=domains, issuer=self.issuer, at=request.at)
            return str(workload), workload
        client_id = request.form.require("client_id")
        try:
            return client_id, parse_spiffe_id(client_id)
        except SpiffeIDError:
            return client_id, None

    async def _registered(self, client_id: str, named: SpiffeID | None) -> Client:
        client = await self._find(client_id)
        if client is None and named is not None and named.trust_domain in self.spiffe.current().names:
            client = await self._find_by_prefix(named)
        if client is None:
            raise _refused(Refusal.UNKNOWN_CLIENT, f"no client is registered as {client_id}")
        if not client.enabled:
            raise _refused(Refusal.DISABLED_CLIENT, f"the client {client.client_id} is disabled")
        return client

    async def _find_by_prefix(self, spiffe_id: SpiffeID) -> Client | None:
        """The client whose name is the longest pattern that the ID matches: `spiffe://trust-domain/path/*`."""
        for pattern in patterns_above(spiffe_id)[:MAX_PREFIXES]:
            client = await self._find(str(pattern))
            if client is not None:
                return client
        return None

    async def _find(self, client_id: str) -> Client | None:
        return await self.clients.find(client_id) if len(client_id) <= MAX_CLIENT_ID_LENGTH else None

    async def _verify(
        self, client: Client, request: AuthenticationRequest, assertion: ClientAssertion | None
    ) -> SpiffeID | None:
        """Check the client's own method. The SPIFFE ID that was proven, where the method proves one."""
        authentication, at = client.metadata.authentication, request.at
        match authentication:
            case TlsClientAuth():
                if client.trust is None:
                    raise _refused(Refusal.UNKNOWN_TRUST_DOMAIN, f"the client {client.client_id} names no trust domain")
                certificate = _certificate_alone(request, assertion)
                trust_domains = self.trust.current()
                await verify_subject(
                    authentication, certificate, trust_domains=trust_domains, trust=client.trust, at=at
                )
                return None
            case SelfSignedTlsClientAuth():
                certificate = _certificate_alone(request, assertion)
                await verify_registered(authentication, certificate, remote_key_sets=self.remote_key_sets, at=at)
                return None
            case SpiffeX509():
                certificate = _certificate_alone(request, assertion)
                return verify_x509_svid(authentication, certificate, domains=self.spiffe.current(), at=at)
            case SpiffeJwt():
                domains = self.spiffe.current()
                return verify_jwt_assertion(authentication, assertion, domains=domains, issuer=self.issuer, at=at)
            case _:
                assert_never(authentication)


def _certificate_alone(request: AuthenticationRequest, assertion: ClientAssertion | None) -> PresentedCertificate:
    """The certificate of a client that authenticates by it and by nothing else."""
    if assertion is not None:
        raise wrong_method("the client authenticates with its certificate, and sent a client_assertion")
    if request.certificate is None:
        raise _refused(Refusal.NO_CERTIFICATE, "the connection carries no client certificate")
    return request.certificate


def _refused(refusal: Refusal, detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_CLIENT, refusal, detail)
