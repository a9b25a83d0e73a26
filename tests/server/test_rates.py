"""Token buckets: a burst, then a steady rate, and never more memory than was said."""

from hypothesis import given
from hypothesis import strategies as st

from mtls_as.server.rates import Buckets, Rate, RecentKeys

RATE = Rate(per_second=2, burst=5)


def test_a_burst_and_then_the_rate() -> None:
    """Five at once, then one each half second; what was refused costs nothing."""
    buckets = Buckets(RATE)
    assert [buckets.take("a", 100.0) for _ in range(5)] == [0.0] * 5
    assert [buckets.take("a", 100.0) for _ in range(3)] == [0.5] * 3
    assert buckets.take("a", 100.25) == 0.25
    assert buckets.take("a", 100.5) == 0.0
    assert buckets.take("a", 100.5) == 0.5
    assert [buckets.take("a", 110.0) for _ in range(6)] == [0.0] * 5 + [0.5]


def test_keys_have_buckets_of_their_own() -> None:
    """One that is empty is nobody else's."""
    buckets = Buckets(RATE)
    for _ in range(9):
        buckets.take("a", 0.0)
    assert buckets.take("b", 0.0) == 0.0
    assert buckets.left(0.0) == {"a": 0.0, "b": 0.8}
    assert buckets.left(2.5) == {}


def test_a_charge_empties_and_does_no_more() -> None:
    """It cannot lock anybody out for longer than an empty bucket does."""
    buckets = Buckets(RATE)
    buckets.charge("a", 0.0, 4)
    assert buckets.take("a", 0.0) == 0.0
    assert buckets.take("a", 0.0) == 0.5
    buckets.charge("a", 0.0, 1_000)
    assert buckets.take("a", 0.0) == 0.5


@given(st.lists(st.floats(0, 10), max_size=200), st.floats(0.1, 50), st.floats(1, 20))
def test_never_more_than_the_burst_and_the_rate(steps: list[float], per_second: float, burst: float) -> None:
    """Whenever the requests come: in no stretch of time more than the burst, and what the rate gives in it."""
    buckets, now, admitted = Buckets(Rate(per_second=per_second, burst=burst)), 0.0, list[float]()
    for step in steps:
        now += step / per_second
        if not buckets.take("a", now):
            admitted.append(now)
    for start in range(len(admitted)):
        for end in range(start, len(admitted)):
            assert end - start + 1 <= burst + (admitted[end] - admitted[start]) * per_second + 1e-6


def test_memory_is_bounded() -> None:
    """A flood of keys drops the least recently used, and keeps who comes often enough."""
    keys = RecentKeys[str, int](size=100)
    for number in range(10_000):
        keys.put(f"flood {number}", number)
        if number % 50 == 0:
            keys.put("regular", number)
        assert len(keys) <= 200
    assert keys.get("regular") is not None
    assert keys.get("flood 1") is None
    assert keys.get("flood 9999") == 9_999
