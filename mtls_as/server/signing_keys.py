"""The keys that sign access tokens, and their rotation without a token that nobody can verify.

A key's state follows from times alone, so that every node agrees on it without being told:

    rotate at t            switch = t + publish_ahead               switch + overlap
    ────┼──────────────────────────┼───────────────────────────────────────┼──────▶
    old │ active                   │ retired: published, signs nothing     │ gone
    new │ next: published only     │ active                                │ active

Resource servers meet the new key before the first token it signs, and keep the old one until the last token it signed
has ended: `overlap` is at least the longest lifetime of a token plus the time for which anybody may work with an older
key set. A rotation that switches before a key still waiting to sign (an emergency, `publish_ahead=0`) takes that key's
place: the waiting key ends when it would have begun, and never signs.
"""

import math
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, field, replace
from enum import StrEnum
from typing import Final, Generic, TypeVar

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key

from mtls_as.rfc.rfc7517_jwk import JWK, JWKSet, PublicKey, public_jwk, thumbprint
from mtls_as.rfc.rfc7519_jwt import PrivateKey
from mtls_as.rfc.rfc9964_ml_dsa import ML_DSA_ALGORITHMS
from mtls_as.rfc.rfc9964_ml_dsa import generate_private_key as generate_ml_dsa_key

_RSA_BITS: Final = 3072  # 128 bits of security, like the other two (NIST SP 800-57 part 1 table 2)

_T = TypeVar("_T")


class NoSigningKey(Exception):  # noqa: N818 - it says what is missing, as the callers read it
    """No key of this algorithm may sign at this time."""


class KeyState(StrEnum):
    """What a signing key does at a time."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRED = "retired"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalKey:
    """A private key that somebody else holds, such as an HSM: its name there, and its public half."""

    uri: str
    """Such as `pkcs11:token=…;object=…` (RFC 7512)."""
    public: PublicKey = field(repr=False)

    def public_key(self) -> PublicKey:
        """The public half, as private keys in memory give theirs."""
        return self.public


KeyPair = PrivateKey | ExternalKey
"""What signing keys are made of: both have the public half, and the other one here or elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One signing key. All times are seconds since the epoch."""

    kid: str
    """The key's RFC 7638 thumbprint."""
    algorithm: str
    """One of `rfc7519_jwt.SUPPORTED_ALGORITHMS`."""
    private_key: KeyPair = field(repr=False, compare=False)
    created_at: float
    activates_at: float
    expires_at: float | None = None
    """When it leaves the key set; None as long as nothing takes its place."""

    def is_gone(self, at: float) -> bool:
        return self.expires_at is not None and at >= self.expires_at

    @property
    def never_signs(self) -> bool:
        """Another took its place while it waited."""
        return self.expires_at is not None and self.expires_at <= self.activates_at

    def has_begun(self, at: float) -> bool:
        """It signs at this time, unless a later key does."""
        return self.activates_at <= at and not self.is_gone(at)


@dataclass(frozen=True, slots=True)
class _Answer(Generic[_T]):
    """Something that is so from one time to another."""

    value: _T
    _: KW_ONLY
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """All keys of the server. What follows from them changes at few times, and is worked out once between two."""

    keys: tuple[SigningKey, ...] = ()
    _active: dict[str, _Answer[SigningKey]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _published: list[_Answer[dict[str, object]]] = field(default_factory=list, init=False, repr=False, compare=False)
    _verifying: list[_Answer[JWKSet]] = field(default_factory=list, init=False, repr=False, compare=False)

    def active(self, algorithm: str, at: float) -> SigningKey:
        """The one key of this algorithm that signs at this time: the latest that has begun. Raises `NoSigningKey`."""
        known = self._active.get(algorithm)
        if known is not None and known.since <= at < known.until:
            return known.value
        key = _latest(key for key in self.keys if key.algorithm == algorithm and key.has_begun(at))
        if key is None:
            raise NoSigningKey(f"there is no {algorithm} key that signs now; make one with: mtls-as keys rotate")
        self._active[algorithm] = self._answer(key, at)
        return key

    def state(self, key: SigningKey, at: float) -> KeyState:
        """What one of these keys does at this time."""
        if key.is_gone(at):
            return KeyState.GONE
        if at < key.activates_at:
            return KeyState.RETIRED if key.never_signs else KeyState.NEXT
        return KeyState.ACTIVE if self.active(key.algorithm, at).kid == key.kid else KeyState.RETIRED

    def published(self, at: float) -> dict[str, object]:
        """The JWK Set of every key that is not gone: next, active and retired (RFC 7517 §5). Not to be altered."""
        known = self._published[0] if self._published else None
        if known is None or not known.since <= at < known.until:
            alive = [key for key in self.keys if not key.is_gone(at)]
            jwks = [public_jwk(k.private_key.public_key(), kid=k.kid, algorithm=k.algorithm) for k in alive]
            known = self._answer({"keys": jwks}, at)
            self._published[:] = [known]
        return known.value

    def verifying(self, at: float) -> JWKSet:
        """The public keys of the same keys, for the server's own reading of what it has signed."""
        known = self._verifying[0] if self._verifying else None
        if known is None or not known.since <= at < known.until:
            alive = [key for key in self.keys if not key.is_gone(at)]
            jwks = [
                JWK(kid=k.kid, algorithm=k.algorithm, use="sig", public_key=k.private_key.public_key()) for k in alive
            ]
            known = self._answer(JWKSet(tuple(jwks)), at)
            self._verifying[:] = [known]
        return known.value

    def _answer(self, value: _T, at: float) -> _Answer[_T]:
        """An answer that holds until the next time at which any key begins or ends."""
        times = [t for key in self.keys for t in (key.activates_at, key.expires_at) if t is not None]
        since = max((t for t in times if t <= at), default=-math.inf)
        return _Answer(value, since=since, until=min((t for t in times if t > at), default=math.inf))


def generate_private_key(algorithm: str) -> PrivateKey:
    """P-256 for `ES256`, RSA 3072 for `PS256`, Ed25519 for `EdDSA`, ML-DSA for its three names.

    Raises `ValueError` for another, and `UnsupportedAlgorithm` where the library has no ML-DSA.
    """
    match algorithm:
        case "ES256":
            return generate_ec_key(SECP256R1())
        case "PS256":
            return generate_rsa_key(public_exponent=65537, key_size=_RSA_BITS)
        case "EdDSA":
            return Ed25519PrivateKey.generate()
        case _ if algorithm in ML_DSA_ALGORITHMS:
            return generate_ml_dsa_key(algorithm)
    raise ValueError(f"no signing key can be made for the algorithm {algorithm}")


def generate_signing_key(
    algorithm: str,
    *,
    created_at: float,
    activates_at: float,
    private_key: KeyPair | None = None,
) -> SigningKey:
    """A new key, of `generate_private_key` unless there is one already. Raises what that raises."""
    private_key = private_key or generate_private_key(algorithm)
    return SigningKey(
        kid=thumbprint(private_key.public_key()),
        algorithm=algorithm,
        private_key=private_key,
        created_at=created_at,
        activates_at=activates_at,
    )


def rotate(
    keys: SigningKeys,
    algorithm: str,
    *,
    at: float,
    publish_ahead: float,
    overlap: float,
    private_key: KeyPair | None = None,
) -> tuple[SigningKey, tuple[SigningKey, ...]]:
    """A new key that signs from `at + publish_ahead` on, and the existing keys whose end this changes.

    The new key is `private_key`, if there is one already, else one of this process.
    Both durations are seconds, not negative: `ValueError`. Where no key signs now, the new one signs at once.
    """
    if publish_ahead < 0 or overlap < 0:
        raise ValueError("publish_ahead and overlap are not negative")
    mine = [key for key in keys.keys if key.algorithm == algorithm and not key.is_gone(at)]
    switch = at + publish_ahead if any(key.has_begun(at) for key in mine) else at
    withdrawn = [key for key in mine if key.activates_at > at and key.activates_at >= switch]
    predecessor = _latest(key for key in mine if key not in withdrawn and key.has_begun(max(at, key.activates_at)))
    changed = []
    for key in mine:
        end = key.expires_at
        if key in withdrawn:
            end = key.activates_at
        elif key is predecessor or end is None:
            end = switch + overlap
        if end != key.expires_at:
            changed.append(replace(key, expires_at=end))
    made = generate_signing_key(algorithm, created_at=at, activates_at=switch, private_key=private_key)
    return made, tuple(changed)


def _latest(keys: Iterable[SigningKey]) -> SigningKey | None:
    """The one that began last; of several that began together, the one that nothing has replaced."""
    return max(keys, key=lambda key: (key.activates_at, key.expires_at or math.inf, key.kid), default=None)
