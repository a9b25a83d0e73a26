"""The registration endpoint (RFC 7591), and the configuration endpoint of each client registered there (RFC 7592)."""

import contextlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from mtls_as.pki.path import CertificateRefused
from mtls_as.pki.presented import PresentedCertificate
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError, parse_form
from mtls_as.rfc.rfc7591_client_metadata import CERTIFICATE_METHODS, SECRET_METHODS, ClientMetadataError
from mtls_as.rfc.rfc7591_registration import RegistrationRequest, parse_registration_request, parse_update_request
from mtls_as.rfc.rfc8705_mtls import thumbprints_equal, x5t_s256
from mtls_as.server.client_authentication.authenticated import AuthenticationRequest
from mtls_as.server.client_authentication.authenticator import ClientAuthenticator
from mtls_as.server.client_secrets import is_secret, make_secret
from mtls_as.server.clients import Client, ClientSource, format_client, parse_client
from mtls_as.server.events import RequestEvent
from mtls_as.server.ports import RegistrationStore, StorageUnavailable, TrustSource
from mtls_as.server.registration_policy import RegistrationPolicy
from mtls_as.server.registrations import Registration, RegistrationImpossible, make_token, token_digest
from mtls_as.server.revocation import Revocation
from mtls_as.server.revocations import Revocations
from mtls_as.server.software_statements import SoftwareStatements

_PRIVATE_MEMBERS: Final = ("enabled",)
_NODES_NOTICE_SECONDS: Final = 60.0
"""Within which every node knows that a client is gone; a token that one of them still issues ends, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrantRequest:
    """A request of a registrant. `certificate` is the one whose key this connection proved, `at` in epoch seconds."""

    body: bytes = field(repr=False)
    token: str | None = field(repr=False)
    """The bearer token (RFC 6750 §2.1)."""
    certificate: PresentedCertificate | None
    at: float

    @property
    def thumbprint(self) -> str | None:
        return None if self.certificate is None else x5t_s256(self.certificate.leaf.der)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRegistrants:
    """Whoever has a certificate of the trust domain `trust` may register clients by `policy`."""

    trust: str
    policy: RegistrationPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationEndpoint:
    """Registers clients for those who may, and lets them manage what they registered."""

    url: str
    """Of the registration endpoint; a slash and the `client_id` follow in those of the configuration endpoints."""
    store: RegistrationStore
    certificates: CertificateRegistrants | None
    """None where only initial access tokens count."""
    statements: SoftwareStatements
    authenticator: ClientAuthenticator
    trust: TrustSource
    revocations: Revocations
    find_problems: Callable[[Client], tuple[tuple[str, str], ...]]
    """What keeps a client from working here: names of things that do not exist."""
    new_client_id: Callable[[], str]
    forget: Callable[[Iterable[str]], None]
    """Tells the directory of this node that clients have changed; the others notice by themselves."""

    async def register(self, request: RegistrantRequest, event: RequestEvent) -> Mapping[str, object]:
        """The answer of RFC 7591 §3.2.1. Raises `OAuthError`.

        (1) The registrant proves that it may register, and what; (2) it says what, (3) within that; (4) all is stored
        in one step with the use of its token.
        """
        digest, policy = await self._credential(request, event)  # (1)
        try:
            asked = parse_registration_request(request.body)  # (2)
            members = await self._members(asked, policy, at=request.at)
            client = self._client(self.new_client_id(), members, policy)  # (3)
        except ClientMetadataError as error:
            raise _invalid_metadata(error) from None
        client, secret = _with_secret(client, at=request.at)
        token, token_hash = make_token()
        registration = Registration(
            client=client,
            access_token_digest=token_hash,
            policy=policy,
            registered_at=request.at,
            certificate_thumbprint=request.thumbprint,
            software_statement=asked.unverified_software_statement,
        )
        try:
            await self.store.register(registration, initial_access_token=digest, at=request.at)  # (4)
        except RegistrationImpossible as error:
            code = ErrorCode.INVALID_TOKEN if digest else ErrorCode.INVALID_REQUEST
            raise OAuthError(code, error.refusal, error.detail) from None
        except StorageUnavailable as error:
            raise _unavailable(error) from None
        event.client_id = client.client_id
        self.forget([client.client_id])
        return self._information(registration, token, secret)

    async def read(self, request: RegistrantRequest, client_id: str, event: RequestEvent) -> Mapping[str, object]:
        """The answer of RFC 7592 §3 to a read request (§2.1). Raises `OAuthError`."""
        registration, token = await self._managed(request, client_id, event)
        return self._information(registration, token, None)

    async def update(self, request: RegistrantRequest, client_id: str, event: RequestEvent) -> Mapping[str, object]:
        """Replace a registration (RFC 7592 §2.2), within what its credential allowed. Raises `OAuthError`."""
        registration, token = await self._managed(request, client_id, event)
        before = registration.client
        try:
            asked = parse_update_request(request.body)
            _check_update(asked, registration, at=request.at)
            members = await self._members(asked, registration.policy, at=request.at)
            found = self._client(client_id, members, registration.policy)
        except ClientMetadataError as error:
            raise _invalid_metadata(error) from None
        method = found.metadata.token_endpoint_auth_method
        if method in SECRET_METHODS and before.metadata.token_endpoint_auth_method not in SECRET_METHODS:
            problem = ("token_endpoint_auth_method", "cannot become one with a secret: register another client")
            raise _invalid_metadata(ClientMetadataError([problem]))
        client = replace(found, secrets=before.secrets if method in SECRET_METHODS else (), enabled=before.enabled)
        updated = replace(registration, client=client, software_statement=asked.unverified_software_statement)
        try:
            await self.store.update(updated)
        except RegistrationImpossible as error:
            raise OAuthError(ErrorCode.INVALID_TOKEN, error.refusal, error.detail) from None
        except StorageUnavailable as error:
            raise _unavailable(error) from None
        finally:
            self.forget([client_id])  # of a change that got no answer too: it may have happened
        return self._information(updated, token, None)

    async def delete(self, request: RegistrantRequest, client_id: str, event: RequestEvent) -> None:
        """Delete a client, and end its tokens (RFC 7592 §2.3). Raises `OAuthError`."""
        await self._managed(request, client_id, event)
        try:
            # First the tokens: if the second step fails, the registrant still can try again.
            await self.revocations.revoke(Revocation.of_client(client_id, before=request.at + _NODES_NOTICE_SECONDS))
            await self.store.delete(client_id)
        except RegistrationImpossible as error:
            raise OAuthError(ErrorCode.INVALID_TOKEN, error.refusal, error.detail) from None
        except StorageUnavailable as error:
            raise _unavailable(error) from None
        finally:
            self.forget([client_id])

    async def _credential(
        self, request: RegistrantRequest, event: RequestEvent
    ) -> tuple[str | None, RegistrationPolicy]:
        """The digest of the initial access token, if that is the credential, and what the credential allows."""
        event.certificate_thumbprint = request.thumbprint
        if request.token is not None:
            digest = token_digest(request.token)
            try:
                found = await self.store.find_initial_access_token(digest)
            except StorageUnavailable as error:
                raise _unavailable(error) from None
            if found is None or not found.is_good(request.at):
                detail = "the initial access token is unknown" if found is None else "it has ended, or is used up"
                raise OAuthError(ErrorCode.INVALID_TOKEN, Refusal.REGISTRATION_TOKEN_INVALID, detail)
            return digest, found.policy
        if request.certificate is None or self.certificates is None:
            detail = "there is neither an initial access token nor a certificate that counts"
            raise OAuthError(ErrorCode.INVALID_TOKEN, Refusal.REGISTRATION_CREDENTIAL_MISSING, detail)
        trust, moment = self.certificates.trust, datetime.fromtimestamp(request.at, UTC)
        try:
            await self.trust.current().verify_online(request.certificate, domain=trust, at=moment)
        except CertificateRefused as error:
            raise OAuthError(ErrorCode.INVALID_TOKEN, error.refusal, error.detail) from None
        event.trust = trust
        return None, self.certificates.policy

    async def _members(
        self, asked: RegistrationRequest, policy: RegistrationPolicy, *, at: float
    ) -> Mapping[str, object]:
        statement = asked.unverified_software_statement
        claims = {} if statement is None else await self.statements.verify(statement, at=at)
        return policy.members(asked.with_claims(claims))

    def _client(self, client_id: str, members: Mapping[str, object], policy: RegistrationPolicy) -> Client:
        """The client of these members. Raises `ClientMetadataError`."""
        client = parse_client({**members, "client_id": client_id}, ClientSource.STORAGE)
        policy.check(client.metadata)
        if problems := self.find_problems(client):
            raise ClientMetadataError(problems)
        return client

    async def _managed(
        self, request: RegistrantRequest, client_id: str, event: RequestEvent
    ) -> tuple[Registration, str]:
        """The registration that this request may manage, and the token that it came with.

        (1) A token, (2) which is that of this client; (3) the client is not disabled; (4) one that is known by a
        certificate is managed over it, or over the one that registered it while that is trusted: whoever steals the
        token needs a key too.
        Unknown clients and wrong tokens get the same answer (RFC 7592 §2.1).
        """
        event.certificate_thumbprint, event.unverified_client_id = request.thumbprint, client_id
        if request.token is None:  # (1)
            detail = "there is no registration access token"
            raise OAuthError(ErrorCode.INVALID_TOKEN, Refusal.REGISTRATION_CREDENTIAL_MISSING, detail)
        try:
            registration = await self.store.find(client_id)
        except StorageUnavailable as error:
            raise _unavailable(error) from None
        digest = "" if registration is None else registration.access_token_digest
        is_right = hmac.compare_digest(digest, token_digest(request.token))
        if registration is None or not is_right:  # (2)
            detail = "the client was not registered here, or with another token"
            raise OAuthError(ErrorCode.INVALID_TOKEN, Refusal.REGISTRATION_TOKEN_INVALID, detail)
        if not registration.client.enabled:  # (3)
            raise OAuthError(ErrorCode.INVALID_TOKEN, Refusal.DISABLED_CLIENT, "the client is disabled")
        await self._check_certificate(request, registration)  # (4)
        event.client_id = client_id
        return registration, request.token

    async def _check_certificate(self, request: RegistrantRequest, registration: Registration) -> None:
        if registration.client.metadata.token_endpoint_auth_method not in CERTIFICATE_METHODS:
            return
        if await self._is_of_registrant(request, registration):
            return
        attempt = AuthenticationRequest(
            form=parse_form(f"client_id={quote(registration.client.client_id)}".encode()),
            authorization=(),
            certificate=request.certificate,
            at=request.at,
        )
        try:
            await self.authenticator.authenticate(attempt)
        except OAuthError as error:
            if error.code is ErrorCode.TEMPORARILY_UNAVAILABLE:
                raise
            raise OAuthError(ErrorCode.INVALID_TOKEN, error.refusal, error.detail) from None

    async def _is_of_registrant(self, request: RegistrantRequest, registration: Registration) -> bool:
        """Whether it comes with the certificate that registered the client, for which somebody still vouches.

        That is the trust domain of registrants, or one that the client's certificates may be of.
        """
        certificate, mine, registrants = request.certificate, request.thumbprint, registration.certificate_thumbprint
        if certificate is None or mine is None or registrants is None or not thumbprints_equal(mine, registrants):
            return False
        trust, moment = self.trust.current(), datetime.fromtimestamp(request.at, UTC)
        of_registrants = () if self.certificates is None else (self.certificates.trust,)
        for domain in (*of_registrants, *registration.policy.trust):
            with contextlib.suppress(CertificateRefused):
                await trust.verify_online(certificate, domain=domain, at=moment)
                return True
        return False

    def _information(self, registration: Registration, token: str, secret: str | None) -> Mapping[str, object]:
        """RFC 7591 §3.2.1, RFC 7592 §3."""
        client = registration.client
        answer = {name: value for name, value in format_client(client).items() if name not in _PRIVATE_MEMBERS}
        answer["client_id_issued_at"] = int(registration.registered_at)
        answer["registration_client_uri"] = f"{self.url}/{quote(client.client_id, safe='')}"
        answer["registration_access_token"] = token
        if secret is not None:
            answer["client_secret"] = secret
        if client.metadata.token_endpoint_auth_method in SECRET_METHODS:
            answer["client_secret_expires_at"] = 0
        if registration.software_statement is not None:
            answer["software_statement"] = registration.software_statement
        return answer


def _with_secret(client: Client, *, at: float) -> tuple[Client, str | None]:
    if client.metadata.token_endpoint_auth_method not in SECRET_METHODS:
        return client, None
    secret, stored = make_secret(at=at)
    return replace(client, secrets=(stored,)), secret


def _check_update(asked: RegistrationRequest, registration: Registration, *, at: float) -> None:
    """What RFC 7592 §2.2 asks of an update beyond its metadata. Raises `ClientMetadataError`, `OAuthError`."""
    if asked.client_id != registration.client.client_id:
        raise ClientMetadataError([("client_id", "is not that of this client")])
    secret = asked.client_secret
    if secret is not None and not is_secret(secret, registration.client.secrets, at=at):
        raise ClientMetadataError([("client_secret", "is not that of this client: only the server makes secrets")])
    if registration.software_statement is not None and asked.unverified_software_statement is None:
        # Otherwise an update would undo what the issuer of the statement said.
        detail = "the client was registered with a software statement, and the update has none"
        raise OAuthError(ErrorCode.INVALID_SOFTWARE_STATEMENT, Refusal.SOFTWARE_STATEMENT_INVALID, detail)


def _invalid_metadata(error: ClientMetadataError) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_CLIENT_METADATA, Refusal.CLIENT_METADATA_INVALID, str(error))


def _unavailable(error: StorageUnavailable) -> OAuthError:
    return OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, str(error))
