"""RFC 9110 §11.6.1: challenges of servers good and bad."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc9110_challenge import MAX_CHALLENGES_LENGTH, ChallengeError, parse_challenges

Found = list[tuple[str, dict[str, str]]]

GOOD: dict[str, tuple[list[str], Found]] = {
    "none": ([], []),
    "empty": (["", " , ,"], []),
    "a scheme": (["Negotiate"], [("negotiate", {})]),
    "a token68": (["Negotiate YWJj=="], [("negotiate", {})]),
    "parameters": (['Bearer realm="a", error=invalid_token'], [("bearer", {"realm": "a", "error": "invalid_token"})]),
    "spaces and case": (["BEARER  Error = invalid_token"], [("bearer", {"error": "invalid_token"})]),
    "several in one": (
        ['Basic realm="a, b", Negotiate, Bearer error="x"'],
        [("basic", {"realm": "a, b"}), ("negotiate", {}), ("bearer", {"error": "x"})],
    ),
    "several values": (["Basic realm=a", "Bearer error=x"], [("basic", {"realm": "a"}), ("bearer", {"error": "x"})]),
    "a token68 and another": (["A abc=, B x=y"], [("a", {}), ("b", {"x": "y"})]),
    "escapes": ([r'Bearer realm="a\"b, error=\"x\""'], [("bearer", {"realm": 'a"b, error="x"'})]),
    "an error within a quotation": (['Bearer d="error=invalid_token"'], [("bearer", {"d": "error=invalid_token"})]),
    "the example of the section": (
        ['Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""'],
        [("basic", {"realm": "simple"}), ("newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'})],
    ),
}


@pytest.mark.parametrize("case", GOOD.values(), ids=GOOD)
def test_challenges(case: tuple[list[str], Found]) -> None:
    values, expected = case
    assert [(found.scheme, found.parameters) for found in parse_challenges(values)] == expected


BAD = {
    "a parameter without a scheme": "error=invalid_token",
    "an open quotation": 'Bearer error="invalid_token',
    "an open quotation after another": 'Bearer a="b", error="invalid_token',
    "two parameters without a comma": "Bearer a=b error=invalid_token",
    "a repeated parameter": "Bearer error=a, Error=b",
    "a line end": "Bearer error=a\r\nX: y",
    "a bare equals sign": "Bearer =a",
    "a quoted scheme": '"Bearer" error=a',
    "too long": "Bearer a=" + "b" * MAX_CHALLENGES_LENGTH,
}


@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
def test_what_is_no_list_of_challenges(value: str) -> None:
    with pytest.raises(ChallengeError):
        parse_challenges([value])


@given(st.lists(st.text(alphabet='aB=", \\\t\x00\xe9', max_size=40) | st.text(max_size=40), max_size=3))
def test_one_error_for_everything(values: list[str]) -> None:
    try:
        found = parse_challenges(values)
    except ChallengeError:
        return
    assert all(challenge.scheme == challenge.scheme.lower() for challenge in found)
