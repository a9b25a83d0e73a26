"""Signs what the server issues: at once with keys in memory, on a thread where somebody else holds the key.

A key in memory signs in a few dozen microseconds, so the event loop does it itself. Whoever else holds a key may take
long, or for ever: each such call has a thread of its own, a bound on how many there are, and one on how long a request
waits. What comes back is a token only if the published key verifies it.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from msgspec.json import Encoder

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc7517_jwk import PublicKey
from mtls_as.rfc.rfc7519_jwt import (
    MAX_TOKEN_LENGTH,
    JWTError,
    assemble,
    is_signature,
    signing_function,
    signing_input,
    to_payload,
)
from mtls_as.server.ports import ExternalSigners, Signer, SignerUnavailable, SigningKeySource
from mtls_as.server.signing_keys import ExternalKey, NoSigningKey, SigningKey

SIGNER_SECONDS: Final = 3.0
"""How long a request waits for a signature from outside."""
MAX_THREADS: Final = 16
"""How many signatures from outside are under way at once."""

_MAX_SIGNERS: Final = 100
_encode: Final = Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class InMemorySigner:
    """A `Signer` with the private key in this process."""

    algorithm: str
    public_key: PublicKey
    sign: Callable[[bytes], bytes]
    blocks: ClassVar[bool] = False

    @classmethod
    def of(cls, key: SigningKey) -> "InMemorySigner":
        """Raises `SignerUnavailable` for a key that does not fit its algorithm, or is not here."""
        if isinstance(key.private_key, ExternalKey):
            raise SignerUnavailable(f"nothing is configured that holds the key {key.private_key.uri}")
        try:
            sign = signing_function(key.algorithm, key.private_key)
        except JWTError as error:
            raise SignerUnavailable(f"{key.kid}: {error}") from None
        return cls(algorithm=key.algorithm, public_key=key.private_key.public_key(), sign=sign)


class TokenSigner:
    """Signs with the keys in force. To be used on one event loop."""

    def __init__(
        self,
        signing_keys: SigningKeySource,
        external: ExternalSigners | None = None,
        *,
        seconds: float = SIGNER_SECONDS,
        max_threads: int = MAX_THREADS,
    ) -> None:
        self._signing_keys = signing_keys
        self._external = external
        self._seconds = seconds
        self._threads = asyncio.Semaphore(max_threads)
        self._signers: dict[str, Signer] = {}

    def key(self, algorithm: str, at: float) -> SigningKey:
        """The key that signs at this time. Raises `OAuthError` `temporarily_unavailable` if there is none."""
        try:
            return self._signing_keys.current().active(algorithm, at)
        except NoSigningKey as error:
            raise _unavailable(str(error)) from None

    async def sign(
        self,
        claims: Mapping[str, object],
        *,
        type: str,  # noqa: A002 # the header's own name
        key: SigningKey,
        max_length: int = MAX_TOKEN_LENGTH,
    ) -> str:
        """A token of this media type over the claims. Raises `OAuthError`: `temporarily_unavailable`, or
        `server_error` for claims that no verifier would take because of their length (`max_length`, in characters).
        """
        try:
            signer = self._signers.get(key.kid) or self._signer(key)
            message = signing_input(_payload(claims), type=type, kid=key.kid, algorithm=key.algorithm)
            signature = await self._sign_outside(signer, message) if signer.blocks else signer.sign(message)
            return assemble(message, signature, max_length=max_length)
        except SignerUnavailable as error:
            raise _unavailable(str(error)) from None
        except JWTError as error:
            raise OAuthError(ErrorCode.SERVER_ERROR, Refusal.INTERNAL_ERROR, str(error)) from None

    def _signer(self, key: SigningKey) -> Signer:
        if isinstance(key.private_key, ExternalKey) and self._external is not None:
            signer: Signer = self._external.signer(key.private_key, key.algorithm)
        else:
            signer = InMemorySigner.of(key)
        if len(self._signers) >= _MAX_SIGNERS:
            self._signers.clear()
        self._signers[key.kid] = signer
        return signer

    async def _sign_outside(self, signer: Signer, message: bytes) -> bytes:
        """Raises `SignerUnavailable`, also where no thread is free or no answer comes in time."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._threads.acquire()
                return await self._start(signer, message)
        except TimeoutError:
            raise SignerUnavailable(f"no signature within {self._seconds:g} seconds") from None

    def _start(self, signer: Signer, message: bytes) -> asyncio.Future[bytes]:
        """Sign on a daemon thread: one that hangs keeps its place among the threads, and no process from ending."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()

        def settle(outcome: bytes | SignerUnavailable) -> None:
            self._threads.release()
            if future.done():
                return  # nobody waits any longer
            if isinstance(outcome, bytes):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)

        def work() -> None:
            outcome = _checked_signature(signer, message)
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server has stopped meanwhile
                loop.call_soon_threadsafe(settle, outcome)

        threading.Thread(target=work, name="signer", daemon=True).start()
        return future


def _checked_signature(signer: Signer, message: bytes) -> bytes | SignerUnavailable:
    """A signature that the public key verifies, or what is wrong."""
    try:
        signature = signer.sign(message)
        if is_signature(message, signature, algorithm=signer.algorithm, public_key=signer.public_key):
            return signature
        return SignerUnavailable("a signature came back that is not by the published key")
    except SignerUnavailable as error:
        return error
    except Exception as error:  # noqa: BLE001 # a driver's fault must reach the request that waits for it
        return SignerUnavailable(f"{type(error).__name__}: {error}")


def _unavailable(detail: str) -> OAuthError:
    return OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, detail)


def _payload(claims: Mapping[str, object]) -> bytes:
    """As `to_payload`, in a tenth of the time, unless msgspec has written null, as it does for what is no number."""
    payload = _encode(claims)
    return to_payload(claims) if b"null" in payload else payload
