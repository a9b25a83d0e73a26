"""RFC 6749: forms, scopes and error answers."""

import contextlib
import re
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import (
    MAX_FORM_BYTES,
    MAX_FORM_PARAMETERS,
    ErrorCode,
    Form,
    OAuthError,
    format_scope,
    parse_form,
    parse_scope,
)


@given(st.binary(max_size=400))
def test_any_bytes_parse_or_are_one_error(body: bytes) -> None:
    """Hostile bodies end in `OAuthError` and in nothing else."""
    with contextlib.suppress(OAuthError):
        parse_form(body)


@given(st.dictionaries(st.text(min_size=1).filter(lambda t: "\0" not in t), st.text(min_size=1), max_size=20))
def test_what_a_browser_would_send_is_read_back(fields: dict[str, str]) -> None:
    """Appendix B: UTF-8, percent-encoding, + for a space."""
    expected = {name: value for name, value in fields.items() if "\0" not in value}
    form = parse_form(urlencode(expected).encode())
    assert {name: form.get(name) for name in expected} == expected


def test_empty_values_count_as_omitted() -> None:
    """§3.2: parameters sent without a value are treated as if they were omitted."""
    form = parse_form(b"scope=&client_id=c1&resource=&resource=https%3A%2F%2Fa.example")
    assert form.get("scope") is None
    assert "scope" not in form
    assert form.every("resource") == ("https://a.example",)


@pytest.mark.parametrize("body", [b"a=1&a=2", b"a=1&a=", b"a&a", b"%61=1&a=2"])
def test_repetition_in_any_disguise(body: bytes) -> None:
    """§3.2: parameters must not be included more than once."""
    with pytest.raises(OAuthError) as caught:
        parse_form(body)
    assert caught.value.refusal is Refusal.REPEATED_PARAMETER


def test_limits() -> None:
    """Work is bounded before anything is decoded."""
    assert parse_form(b"&".join(b"p%d=1" % i for i in range(MAX_FORM_PARAMETERS))).get("p0") == "1"
    for body in (b"&".join(b"p%d=1" % i for i in range(MAX_FORM_PARAMETERS + 1)), b"a=" + b"x" * MAX_FORM_BYTES):
        with pytest.raises(OAuthError) as caught:
            parse_form(body)
        assert caught.value.refusal is Refusal.REQUEST_TOO_LARGE


@pytest.mark.parametrize("text", ["", " ", "a ", " a", "a  b", 'a"', "a\\", "ä", "a\tb", "a\nb", "\x7f"])
def test_malformed_scopes(text: str) -> None:
    """§3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E ), one space between."""
    with pytest.raises(ValueError, match="scope"):
        parse_scope(text)


def test_scopes_keep_their_order_and_lose_repetitions() -> None:
    assert parse_scope("b a b") == ("b", "a")
    assert format_scope(("b", "a")) == "b a"


@pytest.mark.parametrize("code", list(ErrorCode))
def test_descriptions_use_the_legal_alphabet(code: ErrorCode) -> None:
    """§5.2: %x20-21 / %x23-5B / %x5D-7E, so neither quotes nor line breaks."""
    error = OAuthError(code, Refusal.INTERNAL_ERROR, "private")
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", error.description)
    assert "private" not in error.description


def test_a_value_may_hold_separators_once_encoded() -> None:
    assert parse_form(f"a={quote_plus('x&y=z +')}".encode()).get("a") == "x&y=z +"


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, Form]:
    """The forms that are remembered: none yet."""
    forms: dict[bytes, Form] = {}
    monkeypatch.setattr("mtls_as.rfc.rfc6749_framework._remembered", forms)
    return forms


def test_a_form_that_comes_again_is_not_read_again(remembered: dict[bytes, Form]) -> None:
    """It is known by all its octets."""
    body = b"grant_type=client_credentials&client_id=c1&scope=a+b&resource=https%3A%2F%2Fa.example"
    form = parse_form(body)
    assert form.get("scope") == "a b"
    assert parse_form(bytes(bytearray(body))) is form
    assert parse_form(body.replace(b"c1", b"c2")).get("client_id") == "c2"
    assert set(remembered) == {body, body.replace(b"c1", b"c2")}


@pytest.mark.parametrize(
    "member",
    [
        *(b"client_secret=s", b"client_assertion=s", b"assertion=s", b"token=s", b"subject_token=s"),
        *(b"authorization_details=[]", b"client_secret=", b"c=s", b"s", b"=s", b"client%5Fsecret=s", b"Client_id=s"),
    ],
    ids=ascii,
)
def test_a_form_that_may_hold_a_secret_is_not_remembered(remembered: dict[bytes, Form], member: bytes) -> None:
    """Every parameter that is not known to hold none may."""
    parse_form(b"client_id=c1&" + member)
    parse_form(member + b"&client_id=c1")
    assert not remembered


def test_what_is_remembered_of_forms_is_bounded(remembered: dict[bytes, Form]) -> None:
    """However many forms a client thinks of, and however long they are."""
    for number in range(1000):
        assert parse_form(b"client_id=%d" % number).get("client_id") == str(number)
        assert 0 < len(remembered) <= 256
    remembered.clear()
    assert parse_form(b"client_id=" + b"x" * 1015).get("client_id") == "x" * 1015
    assert not remembered


@pytest.mark.parametrize("body", [b"client_id=a&client_id=a", b"scope=%00", b"scope=\xff"], ids=ascii)
def test_a_form_that_is_refused_is_refused_again(remembered: dict[bytes, Form], body: bytes) -> None:
    """Nothing is remembered of it."""
    for _ in range(2):
        with pytest.raises(OAuthError):
            parse_form(body)
    assert not remembered
