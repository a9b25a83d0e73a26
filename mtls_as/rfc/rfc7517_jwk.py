"""RFC 7517, JSON Web Keys and sets of them, with their types and thumbprints.

The types are those of RFC 7518 §6, RFC 8037 §2 and, experimental, RFC 9964 §3; thumbprints are those of RFC 7638.

Only public, asymmetric keys exist here: a set with a private or symmetric member in it is an error as a whole, since
whoever published it has lost that key.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from mtls_as.rfc.rfc4648_base64url import decode_base64, decode_base64url, encode_base64url
from mtls_as.rfc.rfc5280_certificate import CertificateError, parse_certificate
from mtls_as.rfc.rfc9964_ml_dsa import MLDSAPublicKey, algorithm_of, parse_public_key

PublicKey = (
    ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey | MLDSAPublicKey
)

MAX_KEYS: Final = 100
MAX_X5C: Final = 10
MAX_KID_LENGTH: Final = 256
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192

# RFC 7518 §6.2.2, §6.3.2, §6.4.1; `priv` is the private member of the `AKP` keys of post-quantum algorithms.
_SECRET_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
_CURVES: Final[Mapping[str, ec.EllipticCurve]] = MappingProxyType(
    {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
)
_CURVE_NAMES: Final = MappingProxyType({curve.name: name for name, curve in _CURVES.items()})


class JWKError(ValueError):
    """The document is not a set of public keys that this project uses. The message quotes no key."""


class _UnusableKeyError(Exception):
    """One entry that the set is better off without (RFC 7517 §5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JWK:
    """One public key (RFC 7517 §4). `x5c` is DER, leaf first, and its first certificate holds this very key."""

    kid: str | None
    algorithm: str | None
    use: str | None
    public_key: PublicKey = field(repr=False)
    x5c: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class JWKSet:
    """Public keys (RFC 7517 §5), in the order of the document. Raises `JWKError` if one `kid` names different keys.

    One key may stand there twice, as while its certificate is renewed (RFC 8705 §2.2.2).
    """

    keys: tuple[JWK, ...]
    found_fit: dict[tuple[str, str], JWK] = field(init=False, repr=False, compare=False, default_factory=dict)
    """By `kid` and algorithm, the keys that whoever verifies with them has found to fit: a memory, not a part."""
    _by_kid: Mapping[str, JWK] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_kid: dict[str, JWK] = {}
        for key in self.keys:
            if key.kid is not None and by_kid.setdefault(key.kid, key).public_key != key.public_key:
                raise JWKError("two keys have the same kid")
        object.__setattr__(self, "_by_kid", by_kid)

    def find(self, kid: str) -> JWK | None:
        """The key with this `kid`, or None."""
        return self._by_kid.get(kid)


def parse_jwks(document: object) -> JWKSet:
    """Read a JWK Set, at most 100 keys, from parsed JSON (RFC 7517 §5). Raises `JWKError` and nothing else.

    Entries of an unknown or malformed kind, too weak or too large, or not for checking signatures are left out, as §5
    wants it; so the set may be empty. Private and symmetric keys, different keys of one `kid` and an `x5c` that does
    not belong to its key are errors of the whole set.
    """
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise JWKError("a JWK Set is an object with an array `keys`")
    entries = document["keys"]
    if len(entries) > MAX_KEYS:
        raise JWKError(f"the set has more than {MAX_KEYS} keys")
    keys = []
    for entry in entries:
        try:
            keys.append(_parse_jwk(entry))
        except _UnusableKeyError:
            continue
    return JWKSet(tuple(keys))


def parse_jwk(entry: object) -> JWK:
    """Read one public key from parsed JSON (RFC 7517 §4). Raises `JWKError`, also for a kind that is not used here."""
    try:
        return _parse_jwk(entry)
    except _UnusableKeyError:
        raise JWKError("the key is of an unknown kind, malformed, too weak or not for signatures") from None


def public_jwk(public_key: PublicKey, *, kid: str, algorithm: str) -> dict[str, str]:
    """The JWK of a signature key, to publish (RFC 7517 §4). Raises `JWKError` for a kind of key that has none here."""
    return {"kid": kid, "alg": algorithm, "use": "sig", **_members(public_key)}


def thumbprint(public_key: PublicKey) -> str:
    """The SHA-256 thumbprint of a key, base64url (RFC 7638 §3). Raises `JWKError` as `public_jwk`."""
    canonical = json.dumps(_members(public_key), separators=(",", ":"), sort_keys=True)
    return encode_base64url(hashlib.sha256(canonical.encode("ascii")).digest())


def _members(key: PublicKey) -> dict[str, str]:
    """The required members of the key's type: what a thumbprint covers (RFC 7638 §3.2, RFC 8037 §2, RFC 9964 §6)."""
    match key:
        case ec.EllipticCurvePublicKey() if key.curve.name in _CURVE_NAMES:
            point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            size = len(point) // 2
            x, y = encode_base64url(point[1 : 1 + size]), encode_base64url(point[1 + size :])
            return {"kty": "EC", "crv": _CURVE_NAMES[key.curve.name], "x": x, "y": y}
        case rsa.RSAPublicKey():
            numbers = key.public_numbers()
            return {"kty": "RSA", "n": _encode_number(numbers.n), "e": _encode_number(numbers.e)}
        case ed25519.Ed25519PublicKey():
            return {"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(key.public_bytes_raw())}
        case ed448.Ed448PublicKey():
            return {"kty": "OKP", "crv": "Ed448", "x": encode_base64url(key.public_bytes_raw())}
        case _ if isinstance(key, MLDSAPublicKey):
            return {"kty": "AKP", "alg": algorithm_of(key), "pub": encode_base64url(key.public_bytes_raw())}
    raise JWKError("a key of this kind has no JWK here")


def _parse_jwk(entry: object) -> JWK:
    if not isinstance(entry, dict):
        raise JWKError("a key is not an object")
    if entry.get("kty") == "oct" or not _SECRET_MEMBERS.isdisjoint(entry):
        raise JWKError("there is a private or symmetric key")
    kid, algorithm, use = (_optional_text(entry, name) for name in ("kid", "alg", "use"))
    operations = entry.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        raise _UnusableKeyError
    try:
        key = _parse_key(entry)
    except (ValueError, KeyError, UnsupportedAlgorithm):
        raise _UnusableKeyError from None
    return JWK(kid=kid, algorithm=algorithm, use=use, public_key=key, x5c=_parse_x5c(entry.get("x5c"), key))


def _optional_text(entry: dict[str, object], name: str) -> str | None:
    value = entry.get(name)
    if value is None or (isinstance(value, str) and 0 < len(value) <= MAX_KID_LENGTH):
        return value
    raise _UnusableKeyError


def _parse_key(entry: dict[str, object]) -> PublicKey:
    match entry.get("kty"), entry.get("crv"):
        case "EC", str(name) if name in _CURVES:
            curve = _CURVES[name]
            size = (curve.key_size + 7) // 8
            point = b"\x04" + _octets(entry, "x", size) + _octets(entry, "y", size)
            return ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
        case "RSA", _:
            return _parse_rsa(entry)
        case "OKP", "Ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(_octets(entry, "x", 32))
        case "OKP", "Ed448":
            return ed448.Ed448PublicKey.from_public_bytes(_octets(entry, "x", 57))
        case "AKP", _:
            return parse_public_key(entry.get("alg"), _octets(entry, "pub", None))
    raise _UnusableKeyError


def _parse_rsa(entry: dict[str, object]) -> rsa.RSAPublicKey:
    modulus, exponent = _octets(entry, "n", None), _octets(entry, "e", None)
    # A large exponent would make every check of a signature as slow as signing.
    if not MIN_RSA_BITS <= len(modulus) * 8 <= MAX_RSA_BITS or len(exponent) > 4:
        raise _UnusableKeyError
    key = rsa.RSAPublicNumbers(int.from_bytes(exponent), int.from_bytes(modulus)).public_key()
    if key.key_size < MIN_RSA_BITS:
        raise _UnusableKeyError
    return key


def _octets(entry: dict[str, object], name: str, size: int | None) -> bytes:
    value = entry[name]
    if not isinstance(value, str):
        raise _UnusableKeyError
    octets = decode_base64url(value)
    if size is not None and len(octets) != size:
        raise _UnusableKeyError
    return octets


def _parse_x5c(value: object, key: PublicKey) -> tuple[bytes, ...]:
    """RFC 7517 §4.7: certificates in base64 (not base64url), the first of which MUST hold the key of the JWK."""
    if value is None:
        return ()
    if not isinstance(value, list) or not 0 < len(value) <= MAX_X5C or not all(isinstance(v, str) for v in value):
        raise JWKError(f"x5c is an array of 1 to {MAX_X5C} strings")
    try:
        chain = tuple(decode_base64(text) for text in value)
        certified = load_der_public_key(parse_certificate(chain[0]).public_key_info)
    except (ValueError, CertificateError, UnsupportedAlgorithm):
        raise JWKError("x5c holds something that is not a certificate") from None
    if certified != key:
        raise JWKError("the first certificate of x5c does not hold the key")
    return chain


def _encode_number(number: int) -> str:
    return encode_base64url(number.to_bytes((number.bit_length() + 7) // 8))
