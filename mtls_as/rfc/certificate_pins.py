"""SHA-256 pins: certificates that are named by a digest, and need not be on this machine."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from mtls_as.rfc.rfc5280_certificate import Certificate

PIN_PREFIX: Final = "sha256:"

_PIN: Final = re.compile(r"sha256:([0-9A-Fa-f]{64})")


class PinError(Exception):
    """The text is not a pin. The message says what the right form is."""


@dataclass(frozen=True, slots=True)
class Pins:
    """Digests, each of a certificate or of a public key."""

    digests: frozenset[bytes] = frozenset()

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Pins of the form `sha256:<64 hex digits>`. Raises `PinError`."""
        return cls(frozenset(map(_parse_pin, texts)))

    def __bool__(self) -> bool:
        return bool(self.digests)

    def name_certificate(self, certificate: Certificate) -> bool:
        """Whether a pin is the digest of the whole certificate, DER."""
        return certificate.sha256 in self.digests

    def name_key(self, certificate: Certificate) -> bool:
        """Whether a pin is the digest of the certificate's SubjectPublicKeyInfo, DER.

        That alone says nothing about the rest of the certificate: anybody can make one around a key that is public.
        """
        return bool(self.digests) and hashlib.sha256(certificate.public_key_info).digest() in self.digests


def _parse_pin(text: str) -> bytes:
    match = _PIN.fullmatch(text)
    if match is None:
        raise PinError("a pin is sha256: and 64 hexadecimal digits, without colons between them")
    return bytes.fromhex(match[1])
