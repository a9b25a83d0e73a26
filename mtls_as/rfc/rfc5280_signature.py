"""RFC 5280 §4.1.1.2: the algorithm of a certificate's signature, named for configurations and people."""

from types import MappingProxyType
from typing import Final, NamedTuple

from cryptography import x509

# Those that take no separate hash: Ed25519, Ed448 (RFC 8410), ML-DSA (RFC 9881).
_HASHLESS: Final = MappingProxyType(
    {
        "1.3.101.112": "ed25519",
        "1.3.101.113": "ed448",
        "2.16.840.1.101.3.4.3.17": "ml-dsa-44",
        "2.16.840.1.101.3.4.3.18": "ml-dsa-65",
        "2.16.840.1.101.3.4.3.19": "ml-dsa-87",
    }
)
_RSA_PSS: Final = "1.2.840.113549.1.1.10"
_RSA_ARC: Final = "1.2.840.113549.1.1."
_NIST_ARC: Final = "2.16.840.1.101.3.4.3."
_ECDSA_ARC: Final = "1.2.840.10045.4."
_ECDSA_SHA3: Final = frozenset(f"{_NIST_ARC}{number}" for number in range(9, 13))
_RSA_SHA3: Final = frozenset(f"{_NIST_ARC}{number}" for number in range(13, 17))

SIGNATURE_ALGORITHMS: Final = (
    *(f"{family}-sha{size}" for family in ("ecdsa", "rsa", "rsa-pss") for size in ("256", "384", "512")),
    *_HASHLESS.values(),
)
"""The names of the algorithms that a configuration may allow."""


class SignatureAlgorithm(NamedTuple):
    """`name` as in `SIGNATURE_ALGORITHMS`, and the name of the hash, None if the algorithm has none of its own."""

    name: str
    hash: str | None


def read_signature_algorithm(certificate: x509.Certificate) -> SignatureAlgorithm:
    """The algorithm of a certificate's signature. One that is not known is named by its dotted OID, as is its hash."""
    oid = certificate.signature_algorithm_oid.dotted_string
    if oid in _HASHLESS:
        return SignatureAlgorithm(_HASHLESS[oid], None)
    try:
        algorithm = certificate.signature_hash_algorithm
    except Exception:  # noqa: BLE001 # the chokepoint: whatever hostile parameters do to the library
        algorithm = None
    if algorithm is None:
        return SignatureAlgorithm(oid, oid)
    family = _family(oid)
    return SignatureAlgorithm(f"{family}-{algorithm.name}" if family else oid, algorithm.name)


def _family(oid: str) -> str | None:
    if oid == _RSA_PSS:
        return "rsa-pss"
    if oid.startswith(_RSA_ARC) or oid in _RSA_SHA3:
        return "rsa"
    if oid.startswith(_ECDSA_ARC) or oid in _ECDSA_SHA3:
        return "ecdsa"
    return None
