"""Sessions with one token: opened when they are needed, kept for the next signature, and all renewed after a failure.

A login holds for the whole process, so one session that does nothing else keeps it. A module may forget everything when
its HSM restarts; after a failure it is initialised anew, as soon as no thread is inside it.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pkcs11
from pkcs11 import Attribute, ObjectClass
from pkcs11.exceptions import PinIncorrect, PinLocked, UserAlreadyLoggedIn

from mtls_as.server.ports import SignerUnavailable
from mtls_as.signers.settings import Pkcs11Settings


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


class Sessions:
    """The sessions of this process with a token. All that goes wrong is `SignerUnavailable`."""

    def __init__(self, settings: Pkcs11Settings, pin: str) -> None:
        self._settings = settings
        self._pin = pin
        self._lock = threading.Lock()
        self._library: Any = None
        self._token: Any = None
        self._login: Any = None
        self._idle: list[Session] = []
        self._borrowed = 0
        self._refusal: str | None = None

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that signs and finds; it is kept for the next one unless something goes wrong."""
        with self._explained():
            session = self._take()
            try:
                yield session
            except BaseException:
                self._give_back(session, failed=True)
                raise
            self._give_back(session, failed=False)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that makes and deletes keys, closed at the end."""
        with self._explained():
            with self._lock:
                session = Session(self._open(rw=True))
            try:
                yield session
            except pkcs11.PKCS11Error:
                with self._lock:
                    self._forget()
                raise
            finally:
                _close(session.pkcs11)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except pkcs11.PKCS11Error as error:
            text = f"{type(error).__name__} {error}".strip()
            raise SignerUnavailable(f"the token {self._settings.token} of {self._settings.module}: {text}") from None

    def _take(self) -> Session:
        with self._lock:
            session = self._idle.pop() if self._idle else Session(self._open(rw=False))
            self._borrowed += 1
            return session

    def _give_back(self, session: Session, *, failed: bool) -> None:
        with self._lock:
            self._borrowed -= 1
            if not failed:
                self._idle.append(session)
                return
            _close(session.pkcs11)
            self._forget()

    def _forget(self) -> None:
        """Begin anew with the next session."""
        for idle in self._idle:
            _close(idle.pkcs11)
        self._idle.clear()
        _close(self._login)
        self._login = self._token = None

    def _open(self, *, rw: bool) -> Any:  # noqa: ANN401 - the library's own object, made in C
        if self._refusal is not None:
            raise SignerUnavailable(self._refusal)
        if self._token is None:
            self._log_in()
        try:
            return self._token.open(rw=rw)
        except pkcs11.PKCS11Error:
            self._forget()
            raise

    def _log_in(self) -> None:
        if self._library is None:
            self._library = pkcs11.lib(str(self._settings.module))
        elif self._borrowed == 0:
            self._library.reinitialize()
        token = self._library.get_token(token_label=self._settings.token)
        try:
            self._login = token.open(user_pin=self._pin)
        except UserAlreadyLoggedIn:
            self._login = None  # by a session of ours that is still inside the module
        except (PinIncorrect, PinLocked) as error:
            # Tokens count: one wrong try after the other would lock it for everybody.
            self._refusal = (
                f"the token {self._settings.token} refuses the PIN ({type(error).__name__}); not tried again"
            )
            raise SignerUnavailable(self._refusal) from None
        self._token = token


def _close(session: Any) -> None:  # noqa: ANN401 - as above
    if session is not None:
        with contextlib.suppress(pkcs11.PKCS11Error):
            session.close()
