"""What PKCS#11 calls the keys and signatures of JOSE: attributes, mechanisms, and names (RFC 7512)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote, unquote

import pkcs11
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from pkcs11 import MGF, Attribute, KeyType, Mechanism

from mtls_as.rfc import x690_der as der
from mtls_as.rfc.rfc7517_jwk import PublicKey
from mtls_as.server.ports import SignerUnavailable

_P256: Final = bytes.fromhex("06082a8648ce3d030107")  # the OID 1.2.840.10045.3.1.7
_ED25519: Final = bytes.fromhex("06032b6570")  # the OID 1.3.101.112 (RFC 8410)
_RSA_BITS: Final = 3072
_HIDDEN: Final = MappingProxyType({Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False})
_PSS: Final = (Mechanism.SHA256, MGF.SHA256, 32)  # RFC 7518 §3.5: MGF1 with the same hash, a salt as long as it


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """How a JOSE algorithm is done by a token."""

    sign: Callable[[Any, bytes], bytes]
    """A signature in the form of RFC 7518 §3, by a private key of the token."""
    generate: Callable[..., tuple[Any, Any]]
    """A new pair in a session, which takes `store`, `id` and `label`: public key, private key."""
    read: Callable[[Any], PublicKey]
    """A public key of the token. Raises `ValueError` for one of another kind."""


def public_key(key: object, algorithm: str) -> PublicKey:
    """A public key of the token. Raises `SignerUnavailable` for one that is not for the algorithm."""
    try:
        return algorithm_named(algorithm).read(key)
    except (ValueError, der.DERError, pkcs11.exceptions.AttributeTypeInvalid):
        raise SignerUnavailable(f"the key in the token is not one for {algorithm}") from None


def algorithm_named(name: str) -> Algorithm:
    """Raises `SignerUnavailable` for an algorithm that tokens do not know, such as ML-DSA."""
    try:
        return _ALGORITHMS[name]
    except KeyError:
        raise SignerUnavailable(f"no key for {name} can be in a PKCS#11 token") from None


def key_uri(token: str, label: str) -> str:
    """The name of a private key (RFC 7512 §2.3)."""
    return f"pkcs11:token={quote(token, safe='')};object={quote(label, safe='')};type=private"


def label_in(uri: str, token: str) -> str:
    """The label in a key's name. Raises `SignerUnavailable` for the name of a key in another token."""
    parts = dict(part.partition("=")[::2] for part in uri.removeprefix("pkcs11:").split(";"))
    if not uri.startswith("pkcs11:") or unquote(parts.get("token", "")) != token or not parts.get("object"):
        raise SignerUnavailable(f"the key {uri} is not in the token {token}")
    return unquote(parts["object"])


def _sign_es256(key: Any, message: bytes) -> bytes:  # noqa: ANN401 - the token's own objects, made in C
    signature: bytes = key.sign(hashlib.sha256(message).digest(), mechanism=Mechanism.ECDSA)
    return signature


def _sign_ps256(key: Any, message: bytes) -> bytes:  # noqa: ANN401 - as above
    signature: bytes = key.sign(message, mechanism=Mechanism.SHA256_RSA_PKCS_PSS, mechanism_param=_PSS)
    return signature


def _sign_eddsa(key: Any, message: bytes) -> bytes:  # noqa: ANN401 - as above
    signature: bytes = key.sign(message, mechanism=Mechanism.EDDSA)
    return signature


def _generate_es256(session: Any, **options: Any) -> tuple[Any, Any]:  # noqa: ANN401 - as above
    parameters = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: _P256}, local=True)
    pair: tuple[Any, Any] = parameters.generate_keypair(private_template=dict(_HIDDEN), **options)
    return pair


def _generate_ps256(session: Any, **options: Any) -> tuple[Any, Any]:  # noqa: ANN401 - as above
    pair: tuple[Any, Any] = session.generate_keypair(KeyType.RSA, _RSA_BITS, private_template=dict(_HIDDEN), **options)
    return pair


def _generate_eddsa(session: Any, **options: Any) -> tuple[Any, Any]:  # noqa: ANN401 - as above
    parameters = session.create_domain_parameters(KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: _ED25519}, local=True)
    pair: tuple[Any, Any] = parameters.generate_keypair(
        mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN, private_template=dict(_HIDDEN), **options
    )
    return pair


def _read_es256(key: Any) -> PublicKey:  # noqa: ANN401 - as above
    if key.key_type != KeyType.EC or key[Attribute.EC_PARAMS] != _P256:
        raise ValueError("not a key on P-256")
    return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), _point(key))


def _read_ps256(key: Any) -> PublicKey:  # noqa: ANN401 - as above
    if key.key_type != KeyType.RSA:
        raise ValueError("not an RSA key")
    modulus, exponent = (int.from_bytes(key[name]) for name in (Attribute.MODULUS, Attribute.PUBLIC_EXPONENT))
    return RSAPublicNumbers(exponent, modulus).public_key()


def _read_eddsa(key: Any) -> PublicKey:  # noqa: ANN401 - as above
    if key.key_type != KeyType.EC_EDWARDS:
        raise ValueError("not a key on an Edwards curve")
    return Ed25519PublicKey.from_public_bytes(_point(key))


def _point(key: Any) -> bytes:  # noqa: ANN401 - as above
    """PKCS#11 wraps points into an OCTET STRING."""
    return der.expect(der.read_element(key[Attribute.EC_POINT]), der.OCTET_STRING).content


_ALGORITHMS: Final = MappingProxyType(
    {
        "ES256": Algorithm(sign=_sign_es256, generate=_generate_es256, read=_read_es256),
        "PS256": Algorithm(sign=_sign_ps256, generate=_generate_ps256, read=_read_ps256),
        "EdDSA": Algorithm(sign=_sign_eddsa, generate=_generate_eddsa, read=_read_eddsa),
    }
)
