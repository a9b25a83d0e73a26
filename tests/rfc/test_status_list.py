"""Token status lists: the draft's own examples, and what is refused."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc4648_base64url import encode_base64url
from mtls_as.rfc.status_list import (
    StatusList,
    StatusListError,
    StatusReference,
    parse_status_claim,
    parse_status_list,
    read_status_list_claims,
    status_list_claims,
)

URI = "https://as.example/status/1"
ISSUER = "https://as.example"


def encoded(octets: bytes, bits: int = 1) -> dict[str, object]:
    return {"bits": bits, "lst": encode_base64url(zlib.compress(octets, 9))}


@pytest.mark.parametrize(
    ("value", "statuses"),
    [
        ({"bits": 1, "lst": "eNrbuRgAAhcBXQ"}, [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]),
        ({"bits": 2, "lst": "eNo76fITAAPfAgc"}, [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]),
    ],
    ids=["1 bit", "2 bits"],
)
def test_examples_of_the_draft(value: dict[str, object], statuses: list[int]) -> None:
    """§4.1 and §4.2: packed from the least significant bit on."""
    found = parse_status_list(value)
    assert [found.status(index) for index in range(len(statuses))] == statuses
    assert found.encode() == value
    for beyond in (len(statuses), 10**9, -1):
        with pytest.raises(StatusListError):
            found.status(beyond)


@given(st.sampled_from([1, 2, 4, 8]), st.lists(st.integers(0, 255), min_size=1, max_size=40))
def test_every_width_comes_back(bits: int, octets: list[int]) -> None:
    """Encoded and read again, each entry is the same."""
    before = StatusList(bits, bytes(octets))
    after = parse_status_list(before.encode())
    assert after == before
    assert all(0 <= after.status(index) < 1 << bits for index in range(len(octets) * 8 // bits))


def test_bits_that_are_set_and_no_others() -> None:
    """One for each index, in a list whose size is no whole number of octets too."""
    made = StatusList.of_bits(19, [0, 7, 8, 18])
    assert [index for index in range(19) if made.status(index)] == [0, 7, 8, 18]


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"bits": 3, "lst": "eNrbuRgAAhcBXQ"},
        {"bits": True, "lst": "eNrbuRgAAhcBXQ"},
        {"bits": 1.0, "lst": "eNrbuRgAAhcBXQ"},
        {"bits": "1", "lst": "eNrbuRgAAhcBXQ"},
        {"bits": 1},
        {"bits": 1, "lst": 5},
        {"bits": 1, "lst": "eNrbuRgAAhcBXQ=="},
        {"bits": 1, "lst": "####"},
        {"bits": 1, "lst": ""},
        {"bits": 1, "lst": "AAAA"},
        {"bits": 1, "lst": encode_base64url(zlib.compress(b"abcdef")[:-3])},
        {"bits": 1, "lst": encode_base64url(zlib.compress(b"a") + b"b")},
        {"bits": 1, "lst": encode_base64url(zlib.compress(b"a") * 2)},
    ],
    ids=str,
)
def test_malformed_lists(value: object) -> None:
    """One ZLIB stream in canonical base64url, and a known width."""
    with pytest.raises(StatusListError):
        parse_status_list(value)


def test_a_bomb_is_not_inflated() -> None:
    """A gigabyte in a megabyte: nothing is inflated beyond the bound."""
    bomb = zlib.compressobj(9)
    data = b"".join([*(bomb.compress(bytes(1 << 20)) for _ in range(64)), bomb.flush()])
    assert len(data) < 100_000
    with pytest.raises(StatusListError, match="more than"):
        parse_status_list({"bits": 1, "lst": encode_base64url(data)})
    assert len(parse_status_list(encoded(bytes(1024)), limit=1024).octets) == 1024
    with pytest.raises(StatusListError):
        parse_status_list(encoded(bytes(1025)), limit=1024)


def test_a_reference_comes_back() -> None:
    """§6.2, with members that are not known here."""
    reference = StatusReference(URI, 7)
    assert parse_status_claim(reference.claim()) == reference
    assert parse_status_claim({"status_list": {"idx": 0, "uri": URI, "x": 1}, "other": {}}) == StatusReference(URI, 0)


@pytest.mark.parametrize(
    "status",
    [
        None,
        {},
        [],
        {"status_list": []},
        {"other": {"idx": 1, "uri": URI}},
        {"status_list": {"uri": URI}},
        {"status_list": {"idx": -1, "uri": URI}},
        {"status_list": {"idx": True, "uri": URI}},
        {"status_list": {"idx": 1.0, "uri": URI}},
        {"status_list": {"idx": "1", "uri": URI}},
        {"status_list": {"idx": 1}},
        {"status_list": {"idx": 1, "uri": 5}},
        {"status_list": {"idx": 1, "uri": "http://as.example/status/1"}},
        {"status_list": {"idx": 1, "uri": "file:///etc/passwd"}},
        {"status_list": {"idx": 1, "uri": f"{URI}?time=1"}},
        {"status_list": {"idx": 1, "uri": f"{URI}#x"}},
        {"status_list": {"idx": 1, "uri": "https://user@as.example/"}},
        {"status_list": {"idx": 1, "uri": URI + "x" * 3_000}},
    ],
    ids=lambda value: str(value)[:60],
)
def test_malformed_references(status: object) -> None:
    """What is not understood says nothing."""
    with pytest.raises(StatusListError):
        parse_status_claim(status)


def claims(**changed: object) -> dict[str, object]:
    made = status_list_claims(
        issuer=ISSUER, uri=URI, issued_at=1_000, expires_at=2_000, ttl=60, statuses=StatusList.of_bits(16, [3])
    )
    return {name: value for name, value in (made | changed).items() if value is not ...}


def test_claims_come_back() -> None:
    """§5.1; `iss`, `exp` and `ttl` may be missing."""
    read = read_status_list_claims(claims(), issuer=ISSUER, uri=URI)
    assert (read.issued_at, read.expires_at, read.ttl, read.statuses.status(3)) == (1_000, 2_000, 60, 1)
    bare = read_status_list_claims(claims(iss=..., exp=..., ttl=...), issuer=ISSUER, uri=URI)
    assert (bare.expires_at, bare.ttl) == (None, None)


@pytest.mark.parametrize(
    "changed",
    [
        {"sub": ...},
        {"sub": URI + "0"},
        {"iss": "https://other.example"},
        {"iat": ...},
        {"iat": "1000"},
        {"iat": True},
        {"exp": "soon"},
        {"exp": float("inf")},
        {"ttl": 0},
        {"ttl": -1},
        {"ttl": "60"},
        {"status_list": ...},
        {"status_list": "x"},
    ],
    ids=str,
)
def test_claims_that_are_refused(changed: dict[str, object]) -> None:
    """§8.3: each claim that is there is checked."""
    with pytest.raises(StatusListError):
        read_status_list_claims(claims(**changed), issuer=ISSUER, uri=URI)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["bits", "lst", "idx", "uri"]), inner),
    max_leaves=6,
)


@given(json_values)
def test_nothing_else_is_raised(value: object) -> None:
    """Whatever is said."""
    for read in (parse_status_claim, parse_status_list):
        try:
            read(value)
        except StatusListError:
            continue
