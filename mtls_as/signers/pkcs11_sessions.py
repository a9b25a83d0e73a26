"""A session with one token: opened when it is needed, kept for the next signature, and renewed after a failure.

`python-pkcs11` initialises modules for one thread at a time (`C_Initialize` without locking), so that is how they are
used: calls wait for each other, and not for ever. Whoever needs more signatures a second than that runs more workers. A
module may forget everything when its HSM restarts; after a failure it is initialised anew.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pkcs11
from pkcs11 import Attribute, ObjectClass
from pkcs11.exceptions import PinIncorrect, PinLocked

from mtls_as.server.ports import SignerUnavailable
from mtls_as.signers.settings import Pkcs11Settings

WAIT_SECONDS: Final = 5.0
"""How long a call waits for those before it."""

_one_at_a_time = threading.Lock()  # a module is there once in a process, however many tokens it has


@dataclass(slots=True)
class Session:
    """An open session, and the private keys that were found in it."""

    pkcs11: Any
    keys: dict[str, Any] = field(default_factory=dict)

    def private_key(self, label: str) -> Any:  # noqa: ANN401 - the token's own object, made in C
        """The private key of a label, looked up once."""
        key = self.keys.get(label)
        if key is None:
            key = self.pkcs11.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)
            self.keys[label] = key
        return key

    def destroy(self, label: str) -> None:
        """Delete everything of a label."""
        for found in list(self.pkcs11.get_objects({Attribute.LABEL: label})):
            found.destroy()

    def close(self) -> None:
        """End it; the token may have ended it already."""
        with contextlib.suppress(pkcs11.PKCS11Error):
            self.pkcs11.close()


class Sessions:
    """The session of this process with a token. All that goes wrong is `SignerUnavailable`."""

    def __init__(self, settings: Pkcs11Settings, pin: str) -> None:
        self._settings = settings
        self._pin = pin
        self._library: Any = None
        self._token: Any = None
        self._session: Session | None = None
        self._refusal: str | None = None

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """The session that signs and finds, for this thread alone."""
        with self._alone():
            yield self._opened()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that makes and deletes keys."""
        with self._alone():
            self._opened()  # whose login counts for every session
            session = Session(self._token.open(rw=True))
            try:
                yield session
            finally:
                session.close()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        if not _one_at_a_time.acquire(timeout=WAIT_SECONDS):
            raise SignerUnavailable(f"{self._settings.module} is busy")
        try:
            yield
        except pkcs11.PKCS11Error as error:
            self._forget()
            text = f"{type(error).__name__} {error}".strip()
            raise SignerUnavailable(f"the token {self._settings.token} of {self._settings.module}: {text}") from None
        finally:
            _one_at_a_time.release()

    def _opened(self) -> Session:
        if self._session is None:
            self._session = self._log_in()
        return self._session

    def _log_in(self) -> Session:
        if self._refusal is not None:
            raise SignerUnavailable(self._refusal)
        if self._library is None:
            self._library = pkcs11.lib(str(self._settings.module))
        else:
            self._library.reinitialize()
        self._token = self._library.get_token(token_label=self._settings.token)
        try:
            return Session(self._token.open(user_pin=self._pin))
        except (PinIncorrect, PinLocked) as error:
            # Tokens count: one wrong try after the other would lock it for everybody.
            self._refusal = (
                f"the token {self._settings.token} refuses the PIN ({type(error).__name__}); not tried again"
            )
            raise SignerUnavailable(self._refusal) from None

    def _forget(self) -> None:
        """Begin anew with the next call."""
        if self._session is not None:
            self._session.close()
        self._session = None
