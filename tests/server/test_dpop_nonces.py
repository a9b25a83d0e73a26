"""Nonces without memory: who has the secret knows them all, and nobody else does."""

from hypothesis import given
from hypothesis import strategies as st

from mtls_as.server.dpop_nonces import PERIOD, DPoPNonces
from mtls_as.storage import EncryptionKey

NONCES = DPoPNonces(bytes(32))
NOW = 1_800_000_000.0  # the beginning of a period


def test_a_nonce_is_good_for_a_period_and_what_is_left_of_its_own() -> None:
    nonce = NONCES.current(NOW)
    for later in (0, PERIOD - 1, PERIOD, 2 * PERIOD - 1):
        assert NONCES.is_good(nonce, NOW + later)
    for later in (2 * PERIOD, 3 * PERIOD, 1e6):
        assert not NONCES.is_good(nonce, NOW + later)


def test_nodes_whose_clocks_differ_agree() -> None:
    """One is ahead of the other, by less than a period."""
    ahead = NONCES.current(NOW + 10)
    assert NONCES.is_good(ahead, NOW - 10)
    assert not NONCES.is_good(NONCES.current(NOW + 2 * PERIOD), NOW)


def test_each_period_has_its_own_nonce() -> None:
    assert len({NONCES.current(NOW + number * PERIOD) for number in range(100)}) == 100
    assert NONCES.current(NOW) == NONCES.current(NOW + PERIOD - 1)


def test_nodes_with_the_same_storage_key_agree_and_no_others() -> None:
    """The secret is derived from the storage key, and is neither this key nor that of another purpose."""
    first, again, other = (EncryptionKey(secret=bytes([octet] * 32), origin="") for octet in (1, 1, 2))
    assert first.derive(b"a") == again.derive(b"a")
    assert len({first.derive(b"a"), first.derive(b"b"), other.derive(b"a"), first.secret}) == 4
    assert len(first.derive(b"a")) == 32
    assert not DPoPNonces(other.derive(b"a")).is_good(DPoPNonces(first.derive(b"a")).current(NOW), NOW)


def test_the_secret_is_not_shown() -> None:
    assert "secret" not in repr(DPoPNonces(b"secret" * 6))


@given(st.text(max_size=30))
def test_nothing_else_is_a_nonce(text: str) -> None:
    """Any text is judged, and none raises."""
    assert not NONCES.is_good(text, NOW)
    assert not NONCES.is_good("\ud800" + text, NOW)
