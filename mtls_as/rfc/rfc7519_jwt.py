"""RFC 7519, JSON Web Tokens in the compact form of RFC 7515 §7.1, under the rules of RFC 8725.

The only importer of PyJWT, whose algorithm objects sign and check. The token's shape and header are read here, because
this project refuses most of what the standards allow there: no `none`, no symmetric algorithm, no key or URL taken from
a header, no critical extension. The one exception are proofs that their sender holds a key, which name that very key.
"""

import contextlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm, RSAPSSAlgorithm

from mtls_as.rfc.rfc4648_base64url import Base64URLError, decode_base64url, encode_base64url
from mtls_as.rfc.rfc7517_jwk import JWK, MIN_RSA_BITS, JWKError, JWKSet, PublicKey, parse_jwk
from mtls_as.rfc.rfc8259_json import JSONError, parse_json
from mtls_as.rfc.rfc9964_ml_dsa import (
    ML_DSA_ALGORITHMS,
    MLDSAPrivateKey,
    MLDSAPublicKey,
    algorithm_of,
)
from mtls_as.rfc.rfc9964_ml_dsa import verify as verify_ml_dsa

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | MLDSAPrivateKey

ALGORITHMS: Final = ("ES256", "PS256", "EdDSA")
"""What is used unless somebody asks for more."""
EXPERIMENTAL_ALGORITHMS: Final = ML_DSA_ALGORITHMS
"""Post-quantum signatures (RFC 9964): allowed where they are named, and in no default."""
SUPPORTED_ALGORITHMS: Final = ALGORITHMS + EXPERIMENTAL_ALGORITHMS
MAX_TOKEN_LENGTH: Final = 16 * 1024
MAX_HEADER_LENGTH: Final = 1024
MAX_PROOF_LENGTH: Final = 8 * 1024
"""A key is in it: 2,000 characters for RSA of 8,192 bits, and as many for the signature."""

_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


_ECDSA_SHA256: Final = ec.ECDSA(hashes.SHA256())
_P256_BYTES: Final = 32
_SEGMENTS: Final = 3


class _ES256Algorithm(ECAlgorithm):
    """PyJWT's, but that nothing is made anew which is the same for all tokens."""

    def __init__(self) -> None:
        super().__init__(ECAlgorithm.SHA256)

    def sign(self, msg: bytes, key: Any) -> bytes:  # noqa: ANN401 # PyJWT's own signature; `fits` was asked
        r, s = decode_dss_signature(key.sign(msg, _ECDSA_SHA256))
        return r.to_bytes(_P256_BYTES) + s.to_bytes(_P256_BYTES)

    def verify(self, msg: bytes, key: Any, sig: bytes) -> bool:  # noqa: ANN401 # PyJWT's own signature; `fits` was asked
        if len(sig) != 2 * _P256_BYTES:  # RFC 7518 §3.4
            return False
        r, s = int.from_bytes(sig[:_P256_BYTES]), int.from_bytes(sig[_P256_BYTES:])
        try:
            key.verify(encode_dss_signature(r, s), msg, _ECDSA_SHA256)
        except InvalidSignature:
            return False
        return True


class _MLDSAAlgorithm(Algorithm):
    """What PyJWT lacks: ML-DSA with an empty context (RFC 9964 §5)."""

    def prepare_key(self, key: object) -> object:
        return key

    def sign(self, msg: bytes, key: MLDSAPrivateKey) -> bytes:
        return key.sign(msg)

    def verify(self, msg: bytes, key: MLDSAPublicKey, sig: bytes) -> bool:
        return verify_ml_dsa(key, sig, msg)

    @staticmethod
    def to_jwk(key_obj: object, as_dict: bool = False) -> NoReturn:  # noqa: FBT001, FBT002 # PyJWT's own signature
        raise NotImplementedError("rfc7517_jwk writes keys")

    @staticmethod
    def from_jwk(jwk: object) -> NoReturn:
        raise NotImplementedError("rfc7517_jwk reads keys")


_IMPLEMENTATIONS: Final[Mapping[str, Algorithm]] = MappingProxyType(
    {
        "ES256": _ES256Algorithm(),
        "PS256": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA256),
        "EdDSA": OKPAlgorithm(),
        **dict.fromkeys(ML_DSA_ALGORITHMS, _MLDSAAlgorithm()),
    }
)
# Keys and URLs that a token names itself would let it choose who vouches for it (RFC 8725 §3.10); `crit` demands
# extensions of which this project knows none (RFC 7515 §4.1.11), `b64` among them (RFC 7797); `zip` is for encryption.
_FORBIDDEN_HEADERS: Final = frozenset({"crit", "jwk", "jku", "x5u", "x5c", "b64", "zip"})


class JWTError(Exception):
    """The token is not valid. The message is for the log: it may quote header values, escaped and cut."""


class MalformedJWTError(JWTError):
    """The token's shape, header or payload is not what this project accepts."""


class UnknownKey(JWTError):  # noqa: N818 # the name callers were promised
    """No key has the token's `kid`; a fresh key set may have it."""

    def __init__(self, kid: str) -> None:
        super().__init__(f"no key has the kid {_quote(kid)}")
        self.kid = kid


class UnfitKeyError(MalformedJWTError):
    """The key of the token's `kid` is not for its algorithm, or not for signatures."""


class BadSignatureError(JWTError):
    """The signature is not by the key that the token names."""


class VerifiedJWT(NamedTuple):  # quicker to make than a frozen dataclass, and one is made for each token
    """A token whose signature is good. Its claims are authentic; whether they are acceptable is still to be judged."""

    header: Mapping[str, object]
    claims: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    members: Mapping[str, object]
    algorithm: str
    type: str | None
    kid: str


def sign(claims: Mapping[str, object], *, type: str, kid: str, algorithm: str, private_key: PrivateKey) -> str:  # noqa: A002 # the header's own name
    """Sign claims as a compact JWT whose header holds `alg`, `typ` and `kid` alone (RFC 7519 §7.1).

    Raises `JWTError` for a key that does not fit the algorithm, and for a token longer than `verify` accepts. A signer
    of another kind goes the same way in steps: `signing_input`, a signature over it, `assemble`.
    """
    message = signing_input(to_payload(claims), type=type, kid=kid, algorithm=algorithm)
    return assemble(message, signing_function(algorithm, private_key)(message))


def to_payload(value: Mapping[str, object]) -> bytes:
    """Claims, or a header, in JSON. Raises `ValueError` for infinity and what is no number, which JSON lacks."""
    return _encode(value).encode("utf-8")


def signing_input(payload: bytes, *, type: str, kid: str, algorithm: str) -> bytes:  # noqa: A002 # the header's own name
    """What is to be signed (RFC 7515 §5.1): a header, and claims in JSON.

    Raises `JWTError` for a header longer than `verify` accepts.
    """
    return f"{_header_segment(type, kid, algorithm)}.{encode_base64url(payload)}".encode("ascii")


def signing_function(algorithm: str, private_key: PrivateKey) -> Callable[[bytes], bytes]:
    """What makes signatures in the form of RFC 7518 §3. Raises `JWTError` for a key that does not fit the algorithm."""
    if not fits(algorithm, private_key.public_key()):
        raise JWTError(f"the key does not fit the algorithm {_quote(algorithm)}")
    implementation = _IMPLEMENTATIONS[algorithm]
    return lambda message: implementation.sign(message, private_key)


def is_signature(message: bytes, signature: bytes, *, algorithm: str, public_key: PublicKey) -> bool:
    """Whether this key made this signature of the message with this algorithm."""
    return fits(algorithm, public_key) and _IMPLEMENTATIONS[algorithm].verify(message, public_key, signature)


def assemble(message: bytes, signature: bytes, *, max_length: int = MAX_TOKEN_LENGTH) -> str:
    """The token of a signing input and its signature. Raises `JWTError` for one longer than `verify` accepts."""
    token = f"{message.decode('ascii')}.{encode_base64url(signature)}"
    if len(token) > max_length:
        raise JWTError("the token would be too long")
    return token


@lru_cache(maxsize=64)
def _header_segment(type: str, kid: str, algorithm: str) -> str:  # noqa: A002 # the header's own name
    """One for all tokens of a key, so that in the steady state it is made once."""
    header = encode_base64url(to_payload({"alg": algorithm, "typ": type, "kid": kid}))
    if len(header) > MAX_HEADER_LENGTH:
        raise JWTError("the header would be too long")
    return header


def verify(
    token: str,
    keys: JWKSet,
    *,
    type: str | tuple[str | None, ...],  # noqa: A002 # the header's own name
    algorithms: Collection[str],
    max_length: int = MAX_TOKEN_LENGTH,
) -> VerifiedJWT:
    """Check a compact JWT of media type `type` (`at+jwt`) against a key set (RFC 7519 §7.2, RFC 8725 §3).

    Several types can be allowed, in lower case; None among them stands for a header without `typ`. `max_length` is in
    characters.

    (1) shape and size, (2) header, (3) key by `kid`, (4) signature, (5) payload. Nothing of the payload is decoded
    before the signature is good. Raises `JWTError`; its subclass `UnknownKey` says that fresh keys may help. The caller
    must still judge every claim.
    """
    header, message, payload, signature = _read(
        token, type=type, algorithms=algorithms, max_length=max_length
    )  # (1) (2)
    key = _find_key(header, keys)  # (3)
    if not _is_genuine(header.algorithm, key.public_key, message, signature):  # (4)
        raise BadSignatureError(f"the signature is not by the key {_quote(header.kid)}")
    return VerifiedJWT(header.members, _parse_object(payload, "payload"))  # (5)


def verify_proof(token: str, *, type: str, algorithms: Collection[str]) -> tuple[VerifiedJWT, PublicKey]:  # noqa: A002 # the header's own name
    """Check a compact JWT of media type `type` against the key in its own header `jwk` (RFC 7515 §4.1.3), and tell it.

    That shows that the sender holds the key, and nothing about who that is: only for proofs of possession, whose key is
    then compared with one that is known. As `verify`: (1) shape and size, (2) header, (3) the key, public and fit for
    the algorithm, (4) signature, (5) payload. Raises `JWTError`.
    """
    if len(token) > MAX_PROOF_LENGTH:  # (1)
        raise MalformedJWTError(f"the proof has {len(token)} characters")
    encoded_header, payload, signature = _segments(token)
    members = _parse_object(encoded_header, "header")  # (2)
    _refuse_forbidden(members.keys() - {"jwk"})
    algorithm, kind = members.get("alg"), _media_type(members)
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise MalformedJWTError(f"the algorithm is not one of {', '.join(algorithms)}")
    if kind != type:
        raise MalformedJWTError(f"the type is not {type}")
    key = _own_key(members, algorithm)  # (3)
    if not _is_genuine(algorithm, key, token[: -len(signature) - 1].encode("ascii"), signature):  # (4)
        raise BadSignatureError("the signature is not by the key in the header")
    claims = _parse_object(payload, "payload")  # (5)
    return VerifiedJWT(header=MappingProxyType(members), claims=claims), key


def verify_in_vain(
    token: str,
    public_keys: Mapping[str, PublicKey],
    *,
    type: str | tuple[str | None, ...],  # noqa: A002 # the header's own name
    algorithms: Collection[str],
) -> None:
    """Take as long as `verify` takes where the key is known, for a token that is refused for want of a key.

    `public_keys` are keys that nobody holds, by algorithm. Never raises: whether a name is known, and with which keys,
    is nothing to learn from a clock.
    """
    with contextlib.suppress(JWTError):
        header, message, _, signature = _read(token, type=type, algorithms=algorithms)
        _is_genuine(header.algorithm, public_keys[header.algorithm], message, signature)


def has_three_segments(token: str) -> bool:
    """Whether a text has the form of a compact JWT. No opaque token of this project has."""
    return len(token) <= MAX_TOKEN_LENGTH and _SHAPE.fullmatch(token) is not None


def unverified_claims(token: str) -> Mapping[str, object]:
    """What a token says before anybody has verified it: good for finding whose keys to verify it with, and no more.

    Raises `MalformedJWTError`.
    """
    return _parse_object(_segments(token)[1], "payload")


def _read(
    token: str,
    *,
    type: str | tuple[str | None, ...],  # noqa: A002 # the header's own name
    algorithms: Collection[str],
    max_length: int = MAX_TOKEN_LENGTH,
) -> tuple[_Header, bytes, str, str]:
    """Steps (1) and (2) of `verify`: all that can be refused without a key. Raises `MalformedJWTError`.

    What it gives is an acceptable header, what is signed, and payload and signature, neither decoded.
    """
    encoded_header, payload, signature = _segments(token, max_length)
    header = _parse_header(encoded_header)
    if header.algorithm not in _IMPLEMENTATIONS or header.algorithm not in algorithms:
        raise MalformedJWTError(f"the algorithm {_quote(header.algorithm)} is not allowed")
    if header.type != type and (isinstance(type, str) or header.type not in type):
        allowed = type if isinstance(type, tuple) else (type,)
        found = "there is no type" if header.type is None else f"the type {_quote(header.type)} is not the right one"
        raise MalformedJWTError(f"{found}: it is to be {' or '.join(map(str, allowed))}")
    return header, token[: -len(signature) - 1].encode("ascii"), payload, signature


def _segments(token: str, max_length: int = MAX_TOKEN_LENGTH) -> list[str]:
    """The three segments. Whoever decodes them finds what is not base64url."""
    if len(token) <= max_length and token.isascii():
        segments = token.split(".", 3)
        if len(segments) == _SEGMENTS and all(segments):
            return segments
    raise MalformedJWTError(f"the token ({len(token)} characters) is not three segments of base64url within bounds")


def _find_key(header: _Header, keys: JWKSet) -> JWK:
    """The key, by name alone, and fit for the algorithm."""
    known = keys.found_fit.get((header.kid, header.algorithm))
    if known is not None:
        return known
    key = keys.find(header.kid)
    if key is None:
        raise UnknownKey(header.kid)
    algorithm = header.algorithm
    if not _is_for(algorithm, key):
        raise UnfitKeyError(f"the key {_quote(header.kid)} is not for {algorithm} signatures")
    keys.found_fit[header.kid, algorithm] = key
    return key


def _own_key(header: Mapping[str, object], algorithm: str) -> PublicKey:
    try:
        key = parse_jwk(header.get("jwk"))
    except JWKError as error:
        raise MalformedJWTError(f"jwk: {error}") from None
    if not _is_for(algorithm, key):
        raise UnfitKeyError(f"the key in the header is not for {algorithm} signatures")
    return key.public_key


def _is_for(algorithm: str, key: JWK) -> bool:
    return key.use in (None, "sig") and key.algorithm in (None, algorithm) and fits(algorithm, key.public_key)


def _is_genuine(algorithm: str, public_key: PublicKey, message: bytes, signature: str) -> bool:
    try:
        octets = decode_base64url(signature)
    except Base64URLError as error:
        raise MalformedJWTError(f"signature: {error}") from None
    return _IMPLEMENTATIONS[algorithm].verify(message, public_key, octets)


@lru_cache(maxsize=64)
def _parse_header(segment: str) -> _Header:
    """All tokens of one key share their header segment, so that in the steady state it is read from the cache."""
    if len(segment) > MAX_HEADER_LENGTH:
        raise MalformedJWTError(f"the header has {len(segment)} characters")
    members = _parse_object(segment, "header")
    _refuse_forbidden(members.keys())
    algorithm, kid = members.get("alg"), members.get("kid")
    if not (isinstance(algorithm, str) and isinstance(kid, str)):
        raise MalformedJWTError("alg and kid are strings, and both must be there")
    return _Header(members=MappingProxyType(members), algorithm=algorithm, type=_media_type(members), kid=kid)


def _refuse_forbidden(names: Collection[str]) -> None:
    forbidden = sorted(_FORBIDDEN_HEADERS.intersection(names))
    if forbidden:
        raise MalformedJWTError(f"the header holds {', '.join(forbidden)}")


def _media_type(header: Mapping[str, object]) -> str | None:
    """`typ` in lower case and without `application/` (RFC 7515 §4.1.9), or None where there is none."""
    if "typ" not in header:
        return None
    kind = header["typ"]
    if not isinstance(kind, str):
        raise MalformedJWTError("typ is a string")
    return kind.lower().removeprefix("application/")


def _parse_object(segment: str, name: str) -> dict[str, object]:
    try:
        value = parse_json(decode_base64url(segment))
    except (Base64URLError, JSONError) as error:
        raise MalformedJWTError(f"{name}: {error}") from None
    if not isinstance(value, dict):
        raise MalformedJWTError(f"{name}: not an object")
    return value


def fits(algorithm: str, key: PublicKey) -> bool:
    """Whether the key is of the algorithm's own kind (RFC 8725 §3.1): the token never decides how a key is used."""
    match algorithm:
        case "ES256":
            return isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"  # RFC 7518 §3.4
        case "PS256":
            return isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS  # RFC 7518 §3.5
        case "EdDSA":
            return isinstance(key, ed25519.Ed25519PublicKey)  # RFC 8037 §3.1; Ed448 is left out
        case _ if algorithm in ML_DSA_ALGORITHMS:
            return isinstance(key, MLDSAPublicKey) and algorithm_of(key) == algorithm  # RFC 9964 §3
    return False


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def _quote(text: str) -> str:
    return ascii(text[:80])
