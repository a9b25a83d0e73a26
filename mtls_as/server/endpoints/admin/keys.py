"""Signing keys by operators: shown, and followed by new ones. Private halves are never in an answer."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc3339_time import format_optional_time, format_time
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.server.endpoints.admin import routes
from mtls_as.server.endpoints.admin.call import AdminCall, AdministrationError, AdminOutcome, AdminResult, Handlers
from mtls_as.server.events import RequestEvent
from mtls_as.server.key_upkeep import OVERLAP, PUBLISH_AHEAD, KeyPlan
from mtls_as.server.ports import SignerUnavailable
from mtls_as.server.signing_keys import ExternalKey, KeyPair, KeyState, SigningKey, SigningKeys


class KeyStore(Protocol):
    """Where the signing keys are. Every method raises `StorageUnavailable`."""

    async def all(self) -> tuple[SigningKey, ...]:
        """Every key."""
        ...

    async def rotate(
        self, algorithm: str, *, at: float, publish_ahead: float, overlap: float, private_key: KeyPair | None = None
    ) -> SigningKey:
        """Store and return a new key, by `mtls_as.server.signing_keys.rotate`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAdministration:
    """Does what operators want done to signing keys."""

    store: KeyStore
    plan: KeyPlan
    default_algorithm: str
    make: Callable[[str], KeyPair]
    """A new private key for an algorithm; may block, and raises `SignerUnavailable`."""

    def handlers(self) -> Handlers:
        return {routes.LIST_KEYS: self.list, routes.ROTATE_KEY: self.rotate}

    async def list(self, call: AdminCall, _event: RequestEvent) -> AdminResult:
        """Every key that is not gone."""
        stored = SigningKeys(await self.store.all())
        alive = (key for key in stored.keys if stored.state(key, call.at) is not KeyState.GONE)
        return AdminResult(document={"keys": [self._described(key, stored, call.at) for key in alive]})

    async def rotate(self, call: AdminCall, event: RequestEvent) -> AdminResult:
        """Make the next key of an `algorithm`; it signs after its publication, or `now`.

        With `leaked` it signs now too, and the one before is withdrawn with all its tokens.
        """
        reader = call.members(["algorithm", "now", "leaked"])
        algorithm = reader.text("algorithm")
        now, leaked = reader.flag("now", default=False), reader.flag("leaked", default=False)
        call.refuse_problems(reader)
        chosen = self.wanted(algorithm)
        event.target = f"{chosen} leaked" if leaked else chosen
        try:
            private_key = await asyncio.to_thread(self.make, chosen)
        except SignerUnavailable as error:
            detail = Refusal.TEMPORARILY_UNAVAILABLE
            raise OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, detail, str(error)) from None
        key = await self.store.rotate(
            chosen,
            at=call.at,
            publish_ahead=0 if now or leaked else PUBLISH_AHEAD,
            overlap=0 if leaked else OVERLAP,
            private_key=private_key,
        )
        event.target = f"{chosen} {key.kid}" + (" leaked" if leaked else "")
        stored = SigningKeys(await self.store.all())
        return AdminResult(document=self._described(key, stored, call.at), outcome=AdminOutcome.CREATED)

    def wanted(self, algorithm: str | None) -> str:
        """The algorithm, or that of the configuration. Raises `AdministrationError` for one that it does not want."""
        chosen = algorithm or self.default_algorithm
        if chosen not in self.plan.algorithms:
            message = f"add {chosen} to keys.algorithms first: servers end the keys of algorithms they are not told of"
            raise AdministrationError(Refusal.TARGET_CONFLICT, message)
        return chosen

    def _described(self, key: SigningKey, stored: SigningKeys, at: float) -> dict[str, object]:
        external = key.private_key if isinstance(key.private_key, ExternalKey) else None
        return {
            "kid": key.kid,
            "algorithm": key.algorithm,
            "state": stored.state(key, at).value,
            "held_by": "storage" if external is None else external.uri,
            "created_at": format_time(key.created_at),
            "activates_at": format_time(key.activates_at),
            "rotates_at": format_optional_time(self.plan.rotates_at(stored, key, at)),
            "expires_at": format_optional_time(key.expires_at),
        }
