"""Decides who the client of a request is: exactly one method, the client's own, and every check of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, assert_never

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc7591_client_metadata import (
    CERTIFICATE_PROOFS,
    ClientSecret,
    NoAuthentication,
    PrivateKeyJwt,
    SelfSignedTlsClientAuth,
    SpiffeJwt,
    SpiffeX509,
    TlsClientAuth,
)
from mtls_as.rfc.spiffe_id import SCHEME, SpiffeID, SpiffeIDError, parse_spiffe_id, patterns_above
from mtls_as.server.client_authentication.authenticated import AuthenticatedClient, AuthenticationRequest
from mtls_as.server.client_authentication.client_secret import verify_secret
from mtls_as.server.client_authentication.credentials import Credential, name_in, presented_credential, wrong_method
from mtls_as.server.client_authentication.decoys import Decoys
from mtls_as.server.client_authentication.leaf import check_leaf
from mtls_as.server.client_authentication.private_key_jwt import verify_client_assertion
from mtls_as.server.client_authentication.self_signed_tls_client_auth import verify_registered
from mtls_as.server.client_authentication.spiffe_jwt import identify_workload, is_jwt_svid, verify_jwt_assertion
from mtls_as.server.client_authentication.spiffe_x509 import verify_x509_svid
from mtls_as.server.client_authentication.tls_client_auth import verify_subject
from mtls_as.server.clients import Client
from mtls_as.server.ports import ClientFinder, RemoteKeySets, ReplayStore, SpiffeSource, TrustSource

MAX_CLIENT_ID_LENGTH: Final = 256
MAX_PREFIXES: Final = 16
"""How many prefixes of a SPIFFE ID are tried, the longest first: each may be a look-up in the storage."""


# Refusals before anything that takes time was verified; what that would have cost is spent all the same.
_UNVERIFIED: Final = frozenset(
    {
        Refusal.UNKNOWN_CLIENT,
        Refusal.WRONG_AUTHENTICATION_METHOD,
        Refusal.KEY_NOT_REGISTERED,
        Refusal.ASSERTION_KEY_UNKNOWN,
        Refusal.REGISTERED_KEYS_UNAVAILABLE,
        Refusal.SPIFFE_BUNDLE_UNAVAILABLE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAuthenticator:
    """Authenticates the client of a request (RFC 6749 §2.3, RFC 7523, RFC 8705 §2, and the draft for SPIFFE).

    `issuer` is the only audience of client assertions.
    """

    issuer: str
    clients: ClientFinder
    trust: TrustSource
    spiffe: SpiffeSource
    remote_key_sets: RemoteKeySets
    replays: ReplayStore
    decoys: Decoys = field(default_factory=Decoys)
    spend: Callable[[str, str], None] | None = None
    """Counts a request of a client at an endpoint, and raises `OAuthError` for one too many."""

    async def authenticate(self, request: AuthenticationRequest) -> AuthenticatedClient:
        """The client that this request proves to come from.

        (1) One credential beside the certificate at most; (2) a name for the client, from `client_id` (RFC 8705 §2) or
        from the credential; (3) a client of this name, and (4) the credential is that of the method it registered, and
        passes; (5) it is enabled; (6) a SPIFFE ID that stands for its name is the one that was proven; (7) a
        certificate that is there beside another credential is good enough to bind a token.

        Whatever fails from (3) on, the answer is the same, and so is the work.

        Raises `OAuthError`: `invalid_request` for (1) and (2), `temporarily_unavailable` when it cannot tell, else
        `invalid_client`.
        """
        credential = presented_credential(request)  # (1)
        client_id, named = self._name(request, credential)  # (2)
        client: Client | None = None
        try:
            client = await self._registered(client_id, named)  # (3)
            proven = await self._verify(client, request, credential)  # (4)
        except OAuthError as error:
            if error.refusal in _UNVERIFIED:
                await self._verify_in_vain(client_id, request, credential)
            raise _disabled(client) or error from None
        if disabled := _disabled(client):  # (5)
            raise disabled
        if named is not None and proven is not None and named != proven:  # (6)
            raise _refused(Refusal.SUBJECT_MISMATCH, f"client_id names '{named}', and the SVID is of '{proven}'")
        method = client.metadata.token_endpoint_auth_method
        if request.certificate is not None and method not in CERTIFICATE_PROOFS:  # (7)
            check_leaf(request.certificate.leaf, at=request.at)
        return AuthenticatedClient(client=client, method=method, certificate=request.certificate, spiffe_id=proven)

    def _name(self, request: AuthenticationRequest, credential: Credential | None) -> tuple[str, SpiffeID | None]:
        """What the request calls its client, and that name as a SPIFFE ID if it is one."""
        if is_jwt_svid(credential) and "client_id" not in request.form:
            domains = self.spiffe.current()
            workload = identify_workload(credential, domains=domains, issuer=self.issuer, at=request.at)
            return str(workload), workload
        client_id = name_in(request.form, credential)
        if not client_id.startswith(SCHEME):
            return client_id, None
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
        self, client: Client, request: AuthenticationRequest, credential: Credential | None
    ) -> SpiffeID | None:
        """Check the client's own method. The SPIFFE ID that was proven, where the method proves one."""
        authentication, at = client.metadata.authentication, request.at
        match authentication:
            case TlsClientAuth() | SelfSignedTlsClientAuth() | SpiffeX509():
                return await self._verify_certificate(client, request, credential)
            case PrivateKeyJwt():
                await verify_client_assertion(
                    authentication,
                    credential,
                    client_id=client.client_id,
                    issuer=self.issuer,
                    remote_key_sets=self.remote_key_sets,
                    replays=self.replays,
                    at=at,
                )
            case ClientSecret():
                verify_secret(authentication, credential, client=client, at=at)
            case SpiffeJwt():
                domains = self.spiffe.current()
                return verify_jwt_assertion(authentication, credential, domains=domains, issuer=self.issuer, at=at)
            case NoAuthentication():
                if credential is not None:
                    raise wrong_method("the client is public, and sent a credential")
            case _:
                assert_never(authentication)
        return None

    async def _verify_certificate(
        self, client: Client, request: AuthenticationRequest, credential: Credential | None
    ) -> SpiffeID | None:
        """Check a client that authenticates by its certificate, and by nothing else."""
        if credential is not None:
            raise wrong_method("the client authenticates with its certificate, and sent another credential")
        if request.certificate is None:
            raise _refused(Refusal.NO_CERTIFICATE, "the connection carries no client certificate")
        authentication, certificate, at = client.metadata.authentication, request.certificate, request.at
        match authentication:
            case TlsClientAuth():
                if client.trust is None:
                    raise _refused(Refusal.UNKNOWN_TRUST_DOMAIN, f"the client {client.client_id} names no trust domain")
                trust_domains = self.trust.current()
                await verify_subject(
                    authentication, certificate, trust_domains=trust_domains, trust=client.trust, at=at
                )
            case SelfSignedTlsClientAuth():
                await verify_registered(authentication, certificate, remote_key_sets=self.remote_key_sets, at=at)
            case SpiffeX509():
                return verify_x509_svid(authentication, certificate, domains=self.spiffe.current(), at=at)
        return None

    async def _verify_in_vain(
        self, client_id: str, request: AuthenticationRequest, credential: Credential | None
    ) -> None:
        trust_domains = self.trust.current()
        await self.decoys.verify_in_vain(
            credential, request.certificate, client_id=client_id, trust_domains=trust_domains, at=request.at
        )


def _disabled(client: Client | None) -> OAuthError | None:
    """The refusal of a disabled client, which tells an operator more than what else is wrong with its request."""
    if client is None or client.enabled:
        return None
    return _refused(Refusal.DISABLED_CLIENT, f"the client {client.client_id} is disabled")


def _refused(refusal: Refusal, detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_CLIENT, refusal, detail)
