"""RFC 5280 §4.1.2.7, the subject's public key: what kind it is and how strong (NIST SP 800-57 part 1, table 2)."""

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from mtls_as.rfc import x690_der as der

_RSA_STRENGTHS: Final = ((15360, 256), (7680, 192), (3072, 128), (2048, 112), (1024, 80))
# OpenSSL verifies nothing with a larger modulus.
_MAX_RSA_BITS: Final = 16384
# FIPS 204: by object identifier, the name, the size of the key in bytes and its strength. By number rather than through
# the library, since not every version of it that this project runs on knows them.
_ML_DSA: Final = {
    "2.16.840.1.101.3.4.3.17": ("ML-DSA-44", 1312, 128),
    "2.16.840.1.101.3.4.3.18": ("ML-DSA-65", 1952, 192),
    "2.16.840.1.101.3.4.3.19": ("ML-DSA-87", 2592, 256),
}
_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521", "secp224r1": "P-224"}


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """Algorithm and size for people, and the strength in bits; 0 where the exact parameters cannot be read."""

    description: str
    strength: int


def read_public_key(public_key_info: bytes) -> KeyFacts:
    """Read the SubjectPublicKeyInfo of a key that signs. Raises `x690_der.DERError` if it is no such structure."""
    match der.read_sequence(public_key_info, limit=2):
        case [algorithm, bits]:
            oid = _algorithm(algorithm)
        case _:
            raise der.DERError("a public key is an algorithm with a bit string")
    if oid in _ML_DSA:
        name, size, strength = _ML_DSA[oid]
        return KeyFacts(name, strength if len(der.expect(bits, der.BIT_STRING).content) == size + 1 else 0)
    try:
        key = serialization.load_der_public_key(public_key_info)
    except Exception:  # noqa: BLE001 # whatever a hostile key does to the library, its parameters cannot be read
        return KeyFacts(f"algorithm {oid}", 0)
    return _describe(key, oid)


def _algorithm(element: der.Element) -> str:
    parts = der.read_elements(der.expect(element, der.SEQUENCE).content, limit=2)
    if not parts:
        raise der.DERError("an algorithm has no object identifier")
    return der.read_object_identifier(parts[0])


def _describe(key: object, oid: str) -> KeyFacts:
    match key:
        case rsa.RSAPublicKey():
            strength = next((bits for size, bits in _RSA_STRENGTHS if size <= key.key_size <= _MAX_RSA_BITS), 0)
            return KeyFacts(f"RSA {key.key_size}", strength)
        case ec.EllipticCurvePublicKey():
            return KeyFacts(f"EC {_CURVES.get(key.curve.name, key.curve.name)}", key.curve.key_size // 2)
        case ed25519.Ed25519PublicKey():
            return KeyFacts("Ed25519", 128)
        case ed448.Ed448PublicKey():
            return KeyFacts("Ed448", 224)
    return KeyFacts(f"algorithm {oid}", 0)
