"""RFC 9440: `Client-Cert` and `Client-Cert-Chain`."""

import contextlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc9440_client_cert import ClientCertFieldError, parse_client_cert, parse_client_cert_chain

FIELDS = st.binary(max_size=200) | st.text(":,=;ABab+/ \t", max_size=80).map(str.encode)


@given(FIELDS)
def test_any_value_parses_or_is_one_error(value: bytes) -> None:
    """Hostile fields end in `ClientCertFieldError` and in nothing else."""
    with contextlib.suppress(ClientCertFieldError):
        parse_client_cert(value)
    with contextlib.suppress(ClientCertFieldError):
        parse_client_cert_chain(value)


@given(st.binary(max_size=200))
def test_an_item_is_read_back(data: bytes) -> None:
    """§2.2: an Item that is a Byte Sequence."""
    assert parse_client_cert(b":" + b64encode(data) + b":") == data


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=6), st.sampled_from([b",", b", ", b"\t, "]))
def test_a_list_is_read_back(members: list[bytes], comma: bytes) -> None:
    """§2.3: a List of Byte Sequences, in order."""
    value = comma.join(b":" + b64encode(member) + b":" for member in members)
    assert parse_client_cert_chain(value) == tuple(members)


def test_an_empty_list() -> None:
    """RFC 9651 §4.2: an empty field is an empty List."""
    assert parse_client_cert_chain(b"  ") == ()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"AAAA",
        b":AAAA",
        b"AAAA:",
        b":AAA:",  # padding is missing
        b":AAB=:",  # unused bits are set
        b":AA AA:",
        b":AA-_:",  # base64url
        b":AAAA:;leaf",  # a parameter
        b":AAAA:, :AAAA:",  # a list
        b'"AAAA"',
        b"\xff:AAAA:",
    ],
)
def test_what_is_no_byte_sequence(value: bytes) -> None:
    """§2.2 and RFC 9651 §3.3.5: one Byte Sequence, canonical, nothing around it."""
    with pytest.raises(ClientCertFieldError):
        parse_client_cert(value)


@pytest.mark.parametrize("value", [b",", b":AAAA:,", b",:AAAA:", b":AAAA: :AAAA:", b"(:AAAA:)", b":AAAA:,,:AAAA:"])
def test_what_is_no_list(value: bytes) -> None:
    """RFC 9651 §4.2.1: no empty members, no trailing comma; no inner lists here."""
    with pytest.raises(ClientCertFieldError):
        parse_client_cert_chain(value)
