"""The ports of the authorization server: what it needs from the outside, as narrow as its use."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from mtls_as.pki.spiffe_domains import SpiffeDomains
from mtls_as.pki.trust_domains import TrustDomains
from mtls_as.remote.key_sets import RemoteKeySet
from mtls_as.rfc.rfc7517_jwk import PublicKey
from mtls_as.server.clients import Client
from mtls_as.server.registrations import InitialAccessToken, Registration
from mtls_as.server.revocation import Revocation
from mtls_as.server.signing_keys import ExternalKey, SigningKeys

Clock = Callable[[], float]
"""Seconds since the epoch, as `time.time`."""


class StorageUnavailable(Exception):  # noqa: N818 - it says what is the case
    """The storage behind a port cannot answer now; the message says why, for the log."""


class ClientExists(Exception):  # noqa: N818 - it says what is the case
    """A client of this name is stored already; the message says so."""


class ClientNotFound(Exception):  # noqa: N818 - it says what is the case
    """No client of this name is stored; the message says so."""


class ClientHasNoSecrets(Exception):  # noqa: N818 - it says what is the case
    """The client authenticates otherwise; the message says how."""


class ClientChanged(Exception):  # noqa: N818 - it says what is the case
    """The client is not any longer what it was taken for."""


class ClientFinder(Protocol):
    """Finds registered clients for the token path; answers from memory in the steady state."""

    def find(self, client_id: str) -> Awaitable[Client | None]:
        """The client, enabled or not, or None. Raises `OAuthError` `temporarily_unavailable` when it cannot tell."""
        ...


class TrustSource(Protocol):
    """The trust domains in force; a reload swaps them whole."""

    def current(self) -> TrustDomains:
        """The set in force now. A request that began on it may end on it."""
        ...


class SpiffeSource(Protocol):
    """The SPIFFE trust domains with the bundles in force; a new bundle swaps them whole."""

    def current(self) -> SpiffeDomains:
        """The set in force now. A request that began on it may end on it."""
        ...


class SignerUnavailable(Exception):  # noqa: N818 - it says what is the case
    """Who holds a private key cannot sign now, or does not hold it; the message says why, for the log."""


class Signer(Protocol):
    """Signs with one private key, wherever that is."""

    @property
    def algorithm(self) -> str:
        """One of `rfc7519_jwt.SUPPORTED_ALGORITHMS`."""
        ...

    @property
    def public_key(self) -> PublicKey:
        """The other half of the key."""
        ...

    @property
    def blocks(self) -> bool:
        """Whether `sign` may wait for something outside of this process, and so belongs on a thread."""
        ...

    def sign(self, signing_input: bytes) -> bytes:
        """A signature in the form of RFC 7518 §3. Raises `SignerUnavailable`."""
        ...


class ExternalSigners(Protocol):
    """Whoever holds private keys that this process cannot have. Every method may wait for it."""

    def signer(self, key: ExternalKey, algorithm: str) -> Signer:
        """The signer of a key. Raises `SignerUnavailable` for one that cannot be held there."""
        ...

    def find(self, label: str, algorithm: str) -> ExternalKey:
        """The key of this name. Raises `SignerUnavailable` if there is none, or one that does not fit."""
        ...

    def generate(self, algorithm: str) -> ExternalKey:
        """Make a key there. Raises `SignerUnavailable`, also for an algorithm that it does not know."""
        ...

    def discard(self, key: ExternalKey) -> None:
        """Delete a key made by `generate` that was never used. Raises `SignerUnavailable`."""
        ...


class SigningKeySource(Protocol):
    """The signing keys in force."""

    def current(self) -> SigningKeys:
        """The set in force now."""
        ...


class RemoteKeySets(Protocol):
    """Key sets behind the `jwks_uri` of registered clients, each cached and limited on its own."""

    def at(self, url: str) -> RemoteKeySet:
        """The key set of a registered URL."""
        ...


class ReplayStore(Protocol):
    """What may be used once, by whichever node: client assertions, DPoP proofs."""

    def use(self, key: str, until: float) -> Awaitable[bool]:
        """Note a use, and say whether it was the first: if so it is noted for good, until a time in epoch seconds.

        Keys of different kinds must differ by themselves. Raises `StorageUnavailable` when it cannot tell, or cannot
        remember; then nothing must be let in.
        """
        ...


class RevocationStore(Protocol):
    """The revocations of all nodes. Every method raises `StorageUnavailable`."""

    async def add(self, revocation: Revocation) -> None:
        """Remember it, beside what is known of the same tokens. It has happened, for good, when this returns."""
        ...

    async def since(self, revision: int) -> tuple[int, tuple[Revocation, ...]]:
        """The revision of the storage, and at least the revocations that came after another one; all after -1."""
        ...

    async def prune(self, *, ended_before: float) -> None:
        """Forget those that could match no token any longer at this time (epoch seconds)."""
        ...


class OpaqueTokenStore(Protocol):
    """The claims of opaque access tokens, by the hash of the token. Every method raises `StorageUnavailable`."""

    async def add(self, token_hash: str, claims: Mapping[str, object], *, expires_at: float) -> None:
        """Remember a new token until its end (epoch seconds). It is there, for all nodes, when this returns."""
        ...

    async def find(self, token_hash: str) -> Mapping[str, object] | None:
        """The claims of a token, or None for one that is unknown, or has been forgotten after its end."""
        ...

    async def prune(self, *, ended_before: float) -> None:
        """Forget tokens that ended before this time (epoch seconds)."""
        ...


class RegistrationStore(Protocol):
    """Clients that registered themselves. Every method raises `StorageUnavailable`."""

    async def find_initial_access_token(self, digest: str) -> InitialAccessToken | None:
        """The initial access token, good or not, or None."""
        ...

    async def register(self, registration: Registration, *, initial_access_token: str | None, at: float) -> None:
        """Store a client with its registration, and use its initial access token once: both, or neither.

        Raises `RegistrationImpossible` if the token is not good any longer, or the certificate has registered too many.
        """
        ...

    async def find(self, client_id: str) -> Registration | None:
        """The registration of a client that registered itself, or None."""
        ...

    async def update(self, registration: Registration) -> None:
        """Replace a registration, but for its token, policy and beginning. Raises `RegistrationImpossible`."""
        ...

    async def delete(self, client_id: str) -> None:
        """Forget a client and its registration. Raises `RegistrationImpossible` if there is none."""
        ...
