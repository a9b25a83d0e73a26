"""Whether clients would be accepted with a certificate: asked of the server's own authenticator, not guessed."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

from mtls_as.pki.presented import PresentedCertificate
from mtls_as.pki.trust_domains import TrustDomains
from mtls_as.remote.documents import DocumentFetcher
from mtls_as.remote.key_sets import RemoteKeySet
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import OAuthError, parse_form
from mtls_as.rfc.rfc7591_client_metadata import TlsClientAuth
from mtls_as.rfc.rfc8705_mtls import ExpectedSubject, SubjectMismatch, match_subject
from mtls_as.server.client_authentication.authenticated import AuthenticationRequest
from mtls_as.server.client_authentication.authenticator import ClientAuthenticator
from mtls_as.server.clients import Client
from mtls_as.server.ports import Clock, SpiffeSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the server would say to a client with the certificate; `reason` and `detail` as in its log."""

    client: Client
    reason: Refusal | None
    detail: str | None
    expected: ExpectedSubject | None
    """The one subject that the client's certificate must have, or None for registered keys."""
    mismatch: SubjectMismatch | None
    """How the certificate's subject differs; the server looks at it only after the path, people want to know both."""

    @property
    def accepted(self) -> bool:
        return self.reason is None


async def judge(
    clients: Iterable[Client],
    certificate: PresentedCertificate,
    *,
    trust: TrustDomains,
    spiffe: SpiffeSource,
    issuer: str,
    at: float,
) -> list[Verdict]:
    """One verdict for each client, at a time in epoch seconds. Fetches the `jwks_uri` of clients that have one."""
    fetcher = DocumentFetcher()
    try:
        authenticators = partial(
            ClientAuthenticator,
            issuer=issuer,
            trust=_Fixed(trust),
            spiffe=spiffe,
            remote_key_sets=_Fetched(fetcher, lambda: at),
            replays=_Forgetful(),
        )
        return [
            await _judge(client, certificate, authenticators(clients=_OneClient(client)), at=at) for client in clients
        ]
    finally:
        await fetcher.aclose()


async def _judge(
    client: Client, certificate: PresentedCertificate, authenticator: ClientAuthenticator, *, at: float
) -> Verdict:
    request = AuthenticationRequest(
        form=parse_form(urlencode({"client_id": client.client_id}).encode()),
        certificate=certificate,
        at=at,
    )
    authentication = client.metadata.authentication
    expected = authentication.subject if isinstance(authentication, TlsClientAuth) else None
    mismatch = None if expected is None else match_subject(expected, certificate.leaf)
    try:
        await authenticator.authenticate(request)
    except OAuthError as error:
        return Verdict(client=client, reason=error.refusal, detail=error.detail, expected=expected, mismatch=mismatch)
    return Verdict(client=client, reason=None, detail=None, expected=expected, mismatch=mismatch)


@dataclass(frozen=True, slots=True)
class _OneClient:
    client: Client

    async def find(self, client_id: str) -> Client | None:
        return self.client if client_id == self.client.client_id else None


@dataclass(frozen=True, slots=True)
class _Fixed:
    trust: TrustDomains

    def current(self) -> TrustDomains:
        return self.trust


class _Forgetful:
    """A judgement uses nothing up."""

    async def use(self, _key: str, _until: float) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class _Fetched:
    fetcher: DocumentFetcher
    clock: Clock

    def at(self, url: str) -> RemoteKeySet:
        return RemoteKeySet(url, self.fetcher, clock=self.clock)
