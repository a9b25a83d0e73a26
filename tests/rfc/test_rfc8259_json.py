"""JSON from others has one meaning or none."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc8259_json import JSONError, parse_json


def test_reads_what_everybody_reads() -> None:
    """Plain JSON, with text beyond ASCII written either way."""
    assert parse_json('{"a": [1, "é", "\\u00e9", "\\ud83d\\ude00"]}'.encode()) == {"a": [1, "é", "é", "😀"]}


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"nothing", b"{} {}", b"\xff", b'"\xed\xa0\x80"', b'"\\ud800"', b'{"\\udc00": 1}', b"\xef\xbb\xbf{}",
        b'{"a": 1, "a": 2}', b'[{"b": {"a": 1, "\\u0061": 1}}]', b"NaN", b"[Infinity]", b"[-Infinity]",
        b"1e999", b"[-1e400]", b'{"amount": 1e309}',
        b"[" * 10_000, b'{"a":' * 5_000, b"9" * 5_000, b"'a'", b'{"a": 1,}',
    ],
)  # fmt: skip
def test_refuses_what_readers_may_read_differently(data: bytes) -> None:
    """Repeated members, constants that JSON lacks, broken text, and nesting without end are all one error."""
    with pytest.raises(JSONError):
        parse_json(data)


@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:\\u0d8NaInf1e-.', max_size=60).map(str.encode))
def test_only_json_error_escapes(data: bytes) -> None:
    """Any bytes give a value or a `JSONError`."""
    with contextlib.suppress(JSONError):
        parse_json(data)
