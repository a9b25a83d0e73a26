"""RFC 9964, the signatures of ML-DSA (FIPS 204) in JOSE: three algorithms, and the key type `AKP` that names them.

Experimental here: opted into, and in no default. Support depends on the OpenSSL behind `cryptography`; where it is
missing, keys of this kind count as unusable (`UnsupportedAlgorithm`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import mldsa

MLDSAPrivateKey = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
MLDSAPublicKey = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey

ML_DSA_ALGORITHMS: Final = ("ML-DSA-44", "ML-DSA-65", "ML-DSA-87")

_PRIVATE_KEYS: Final[Mapping[str, type[MLDSAPrivateKey]]] = MappingProxyType(
    {
        "ML-DSA-44": mldsa.MLDSA44PrivateKey,
        "ML-DSA-65": mldsa.MLDSA65PrivateKey,
        "ML-DSA-87": mldsa.MLDSA87PrivateKey,
    }
)
_PUBLIC_KEYS: Final[Mapping[str, type[MLDSAPublicKey]]] = MappingProxyType(
    {
        "ML-DSA-44": mldsa.MLDSA44PublicKey,
        "ML-DSA-65": mldsa.MLDSA65PublicKey,
        "ML-DSA-87": mldsa.MLDSA87PublicKey,
    }
)


def algorithm_of(key: MLDSAPublicKey) -> str:
    """The one algorithm that a key is for (RFC 9964 §3: `alg` is part of the key)."""
    return next(name for name, kind in _PUBLIC_KEYS.items() if isinstance(key, kind))


def parse_public_key(algorithm: object, octets: bytes) -> MLDSAPublicKey:
    """The key of a JWK's `alg` and `pub`. Raises `ValueError`, or `UnsupportedAlgorithm` where the library has none."""
    kind = _PUBLIC_KEYS.get(algorithm) if isinstance(algorithm, str) else None
    if kind is None:
        raise ValueError("an AKP key names its algorithm, one of ML-DSA")
    return kind.from_public_bytes(octets)


def generate_private_key(algorithm: str) -> MLDSAPrivateKey:
    """A new key. Raises `UnsupportedAlgorithm` where the library has none."""
    return _PRIVATE_KEYS[algorithm].generate()


def verify(key: MLDSAPublicKey, signature: bytes, message: bytes) -> bool:
    """Whether the key made the signature, without context (RFC 9964 §5)."""
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
