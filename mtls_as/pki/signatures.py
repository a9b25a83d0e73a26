"""Signatures of CAs over lists and answers: kept small, so that they can be checked when the signer becomes known."""

from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

STRONG_HASHES: Final = frozenset(
    {"sha224", "sha256", "sha384", "sha512", "sha512-224", "sha512-256", "sha3-224", "sha3-256", "sha3-384", "sha3-512"}
)

_ED25519: Final = "1.3.101.112"
_ED448: Final = "1.3.101.113"

Scheme = padding.PKCS1v15 | padding.PSS | ec.ECDSA
"""How a signature with a hash of its own is made: RSA with its padding, or ECDSA."""


class SignatureRefused(Exception):  # noqa: N818 # a judgement, not a failure
    """The signature is of a kind that is not used here: its hash is weak, or its algorithm not known."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature over octets. Of those only the digest is kept, where the algorithm needs no more."""

    algorithm: str
    """The dotted OID."""
    _scheme: Scheme | None = field(repr=False)
    _hash: hashes.HashAlgorithm | None = field(repr=False)
    _data: bytes = field(repr=False)
    _signature: bytes = field(repr=False)

    @classmethod
    def of(
        cls,
        data: bytes,
        signature: bytes,
        *,
        algorithm: str,
        scheme: Scheme | None,
        hash_algorithm: hashes.HashAlgorithm | None,
    ) -> Self:
        """A signature over `data`; RSA and ECDSA have a scheme and a hash, EdDSA has neither.

        Raises `SignatureRefused`.
        """
        if hash_algorithm is None:
            if algorithm not in {_ED25519, _ED448}:
                raise SignatureRefused(f"the signature algorithm {algorithm} is not known")
            return cls(algorithm, None, None, data, signature)
        if hash_algorithm.name not in STRONG_HASHES:
            raise SignatureRefused(f"its signature uses {hash_algorithm.name}, which is too weak")
        if scheme is None:
            raise SignatureRefused(f"the signature algorithm {algorithm} is not known")
        digest = hashes.Hash(hash_algorithm)
        digest.update(data)
        return cls(algorithm, scheme, hash_algorithm, digest.finalize(), signature)

    def is_by(self, public_key_info: bytes) -> bool:
        """Whether the key (SubjectPublicKeyInfo, DER) made it."""
        try:
            self._verify(serialization.load_der_public_key(public_key_info))
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
            return False
        return True

    def _verify(self, key: object) -> None:
        match key, self._scheme:
            case rsa.RSAPublicKey(), padding.PKCS1v15() | padding.PSS() as scheme if self._hash is not None:
                key.verify(self._signature, self._data, scheme, Prehashed(self._hash))
            case ec.EllipticCurvePublicKey(), ec.ECDSA() if self._hash is not None:
                key.verify(self._signature, self._data, ec.ECDSA(Prehashed(self._hash)))
            case ed25519.Ed25519PublicKey(), None if self.algorithm == _ED25519:
                key.verify(self._signature, self._data)
            case ed448.Ed448PublicKey(), None if self.algorithm == _ED448:
                key.verify(self._signature, self._data)
            case _:
                raise InvalidSignature
