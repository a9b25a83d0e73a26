"""Signing keys: at every time one key signs, and every key that signed a living token is published."""

import itertools
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc7517_jwk import parse_jwks, thumbprint
from mtls_as.server import signing_keys
from mtls_as.server.signing_keys import (
    KeyState,
    NoSigningKey,
    SigningKey,
    SigningKeys,
    generate_signing_key,
    rotate,
)

START = 1_000.0
LIFETIME = 300.0
AHEAD = 600.0
OVERLAP = 400.0


def rotated(keys: SigningKeys, at: float, *, ahead: float = AHEAD, overlap: float = OVERLAP) -> SigningKeys:
    """The keys after a rotation at a time."""
    new, changed = rotate(keys, "EdDSA", at=at, publish_ahead=ahead, overlap=overlap)
    updated = {key.kid: key for key in changed}
    return SigningKeys((*(updated.get(key.kid, key) for key in keys.keys), new))


def states(keys: SigningKeys, at: float) -> list[str]:
    """What each key does, oldest first."""
    return [keys.state(key, at) for key in keys.keys]


def published(keys: SigningKeys, at: float) -> set[str]:
    return {str(key.kid) for key in parse_jwks(keys.published(at)).keys}


@pytest.mark.parametrize(("algorithm", "kind"), [("ES256", "EC"), ("PS256", "RSA"), ("EdDSA", "OKP")])
def test_a_key_is_published_without_its_private_part(algorithm: str, kind: str) -> None:
    """RFC 7517 §5: the set holds public keys, named by their RFC 7638 thumbprint."""
    key = generate_signing_key(algorithm, created_at=START, activates_at=START)
    assert key.kid == thumbprint(key.private_key.public_key())
    (jwk,) = SigningKeys((key,)).published(START)["keys"]  # type: ignore[misc] # a JWK Set has a list here
    assert jwk["kty"] == kind
    assert jwk["alg"] == algorithm
    assert jwk["kid"] == key.kid
    assert jwk["use"] == "sig"
    assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & set(jwk)
    assert "private_key" not in repr(key)


def test_an_unknown_algorithm_makes_no_key() -> None:
    """`none` and HS256 are not signatures."""
    with pytest.raises(ValueError, match="HS256"):
        generate_signing_key("HS256", created_at=START, activates_at=START)


def test_without_keys_nothing_signs() -> None:
    """There is no fallback."""
    with pytest.raises(NoSigningKey, match="EdDSA"):
        SigningKeys().active("EdDSA", START)
    with pytest.raises(NoSigningKey, match="ES256"):
        rotated(SigningKeys(), START).active("ES256", START)


def test_the_first_key_signs_at_once() -> None:
    """There is nothing to overlap with, and no reason to wait."""
    keys = rotated(SigningKeys(), START)
    assert states(keys, START) == [KeyState.ACTIVE]
    assert keys.keys[0].expires_at is None


def test_a_rotation_follows_the_time_line() -> None:
    """New: next, then active. Old: active, then retired until the last token it signed has ended, then gone."""
    keys = rotated(rotated(SigningKeys(), START), START + 50)
    switch = START + 50 + AHEAD
    assert states(keys, START + 50) == ["active", "next"]
    assert states(keys, switch - 0.001) == ["active", "next"]
    assert states(keys, switch) == ["retired", "active"]
    assert states(keys, switch + OVERLAP - 0.001) == ["retired", "active"]
    assert states(keys, switch + OVERLAP) == ["gone", "active"]
    assert len(published(keys, switch)) == 2
    assert published(keys, switch + OVERLAP) == {keys.keys[1].kid}


def test_two_rotations_in_a_row_take_turns() -> None:
    """The second new key waits for its own time; the first one still gets its turn."""
    keys = rotated(rotated(rotated(SigningKeys(), START), START + 50), START + 80)
    assert states(keys, START + 80) == ["active", "next", "next"]
    assert states(keys, START + 50 + AHEAD) == ["retired", "active", "next"]
    assert states(keys, START + 80 + AHEAD) == ["retired", "retired", "active"]
    assert states(keys, START + 50 + AHEAD + OVERLAP) == ["gone", "retired", "active"]
    assert states(keys, START + 80 + AHEAD + OVERLAP) == ["gone", "gone", "active"]


def test_an_emergency_takes_the_turn_of_a_waiting_key() -> None:
    """`publish_ahead=0` while a key is `next`: the newest signs at once, and the waiting one never does."""
    keys = rotated(rotated(rotated(SigningKeys(), START), START + 50), START + 80, ahead=0)
    assert states(keys, START + 80) == ["retired", "retired", "active"]
    assert states(keys, START + 50 + AHEAD) == ["gone", "gone", "active"]
    assert states(keys, START + 80 + OVERLAP) == ["gone", "retired", "active"]


def test_an_emergency_without_overlap_ends_the_old_key_at_once() -> None:
    """A stolen key is not published any longer."""
    keys = rotated(rotated(SigningKeys(), START), START + 50, ahead=0, overlap=0)
    assert states(keys, START + 50) == ["gone", "active"]
    assert published(keys, START + 50) == {keys.keys[1].kid}


def test_rotations_in_the_same_instant_have_a_winner() -> None:
    """The key that nothing has replaced signs, whatever its name."""
    for _ in range(5):
        keys = rotated(rotated(rotated(SigningKeys(), START, ahead=0), START, ahead=0), START, ahead=0)
        assert states(keys, START) == ["retired", "retired", "active"]


def test_a_gap_is_filled_at_once() -> None:
    """Where every key has ended, waiting would only prolong it."""
    (key,) = rotated(SigningKeys(), START).keys
    keys = rotated(SigningKeys((replace(key, expires_at=START + 10),)), START + 20)
    assert states(keys, START + 20) == ["gone", "active"]


def test_other_algorithms_are_left_alone() -> None:
    """Each algorithm has its own line of keys."""
    other = generate_signing_key("ES256", created_at=START, activates_at=START)
    keys = rotated(SigningKeys((other,)), START + 5)
    assert keys.active("ES256", START + 5) == other
    assert keys.active("EdDSA", START + 5) == keys.keys[1]


@pytest.mark.parametrize("times", [{"publish_ahead": -1.0, "overlap": 0.0}, {"publish_ahead": 0.0, "overlap": -1.0}])
def test_durations_are_not_negative(times: dict[str, float]) -> None:
    """A rotation into the past would take back what was signed."""
    with pytest.raises(ValueError, match="negative"):
        rotate(SigningKeys(), "EdDSA", at=START, **times)


@dataclass
class _History:
    """Signs at every step, and remembers what each key signed last."""

    keys: SigningKeys = field(default_factory=SigningKeys)
    signed: dict[str, float] = field(default_factory=dict)

    def step(self, at: float) -> None:
        active = [key for key in self.keys.keys if self.keys.state(key, at) is KeyState.ACTIVE]
        assert active == [self.keys.active("EdDSA", at)]
        self.signed[active[0].kid] = at
        living = {kid for kid, last in self.signed.items() if at < last + LIFETIME}
        assert living <= published(self.keys, at)


def _numbered_key(
    counter: "itertools.count[int]", _algorithm: str, *, created_at: float, activates_at: float, private_key: None
) -> SigningKey:
    """Cheap keys whose names do not follow their order, as thumbprints do not."""
    number = next(counter)
    private_key = Ed25519PrivateKey.from_private_bytes(number.to_bytes(32))
    kid = thumbprint(private_key.public_key())
    return SigningKey(
        kid=kid, algorithm="EdDSA", private_key=private_key, created_at=created_at, activates_at=activates_at
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.5, 10.0, 299.0, 300.0, 600.0, 2000.0]),
            st.sampled_from([0.0, 0.0, 5.0, 60.0, 600.0]),
            st.sampled_from([LIFETIME, LIFETIME + 30, 1000.0]),
        ),
        max_size=8,
    )
)
def test_any_sequence_of_rotations_keeps_one_active_key_and_publishes_what_signed(
    rotations: list[tuple[float, float, float]],
) -> None:
    """Whenever, however often and however urgently keys are rotated: one signs, and no living token is orphaned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signing_keys, "generate_signing_key", partial(_numbered_key, itertools.count(1)))
        history = _History()
        history.keys = rotated(history.keys, START)
        at = START
        for pause, ahead, overlap in [*rotations, (5000.0, 0.0, LIFETIME)]:
            marks = {at + pause * part / 4 for part in range(5)}
            marks |= {
                m for k in history.keys.keys for m in (k.activates_at, k.expires_at or at) if at <= m <= at + pause
            }
            for mark in sorted(marks):
                history.step(mark)
            at += pause
            history.keys = rotated(history.keys, at, ahead=ahead, overlap=overlap)
            history.step(at)
