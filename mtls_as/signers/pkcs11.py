"""Signing keys in an HSM, by PKCS#11: made there, found there, used there; only their public halves come out."""

import secrets
from dataclasses import dataclass, field
from typing import ClassVar, Self

from pkcs11 import ObjectClass

from mtls_as.rfc.rfc7517_jwk import PublicKey
from mtls_as.rfc.rfc7519_jwt import fits
from mtls_as.server.ports import SignerUnavailable
from mtls_as.server.signing_keys import ExternalKey
from mtls_as.signers.pkcs11_keys import algorithm_named, key_uri, label_in, public_key
from mtls_as.signers.pkcs11_sessions import Sessions
from mtls_as.signers.settings import Pkcs11Settings, SignerConfigurationError, read_pin


@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs11Signer:
    """A `Signer` with the private key in a token. Any number of threads may use it."""

    algorithm: str
    public_key: PublicKey
    label: str
    sessions: Sessions = field(repr=False)
    blocks: ClassVar[bool] = True

    def sign(self, signing_input: bytes) -> bytes:
        """A signature in the form of RFC 7518 §3. Raises `SignerUnavailable`."""
        with self.sessions.reading() as session:
            return algorithm_named(self.algorithm).sign(session.private_key(self.label), signing_input)


@dataclass(frozen=True, slots=True)
class Pkcs11Signers:
    """The `ExternalSigners` of one token. Nothing is opened before it is used."""

    settings: Pkcs11Settings
    sessions: Sessions = field(repr=False)

    @classmethod
    def of(cls, settings: Pkcs11Settings) -> Self:
        """Raises `SignerConfigurationError` for a module that is not there, and for a PIN that cannot be read."""
        if not settings.module.is_file():
            raise SignerConfigurationError(f"{settings.module}: there is no such PKCS#11 module")
        return cls(settings, Sessions(settings, read_pin(settings)))

    def signer(self, key: ExternalKey, algorithm: str) -> Pkcs11Signer:
        """The signer of a key; the token is asked only when it signs. Raises `SignerUnavailable`."""
        algorithm_named(algorithm)
        label = label_in(key.uri, self.settings.token)
        return Pkcs11Signer(algorithm=algorithm, public_key=key.public, label=label, sessions=self.sessions)

    def find(self, label: str, algorithm: str) -> ExternalKey:
        """The pair of this label. Raises `SignerUnavailable` if there is none, or several, or one that does not fit."""
        with self.sessions.reading() as session:
            session.private_key(label)
            public = public_key(session.pkcs11.get_key(object_class=ObjectClass.PUBLIC_KEY, label=label), algorithm)
        if not fits(algorithm, public):
            raise SignerUnavailable(f"the key {label} is too weak for {algorithm}")
        return ExternalKey(uri=key_uri(self.settings.token, label), public=public)

    def generate(self, algorithm: str) -> ExternalKey:
        """Make a pair that cannot leave the token. Raises `SignerUnavailable`."""
        label = f"{self.settings.label}-{secrets.token_hex(8)}"
        with self.sessions.writing() as session:
            identifier = secrets.token_bytes(16)
            made, _ = algorithm_named(algorithm).generate(session.pkcs11, store=True, id=identifier, label=label)
            public = public_key(made, algorithm)
        return ExternalKey(uri=key_uri(self.settings.token, label), public=public)

    def discard(self, key: ExternalKey) -> None:
        """Delete a pair. Raises `SignerUnavailable`."""
        with self.sessions.writing() as session:
            session.destroy(label_in(key.uri, self.settings.token))
