"""SPIFFE-ID §2: what an ID is and is not; draft-ietf-oauth-spiffe-client-auth-02 §5.1: what a pattern matches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.spiffe_id import (
    SpiffeID,
    SpiffeIDError,
    parse_spiffe_id,
    parse_spiffe_id_pattern,
    patterns_above,
    trust_domain_problem,
)

segments = st.from_regex(r"[A-Za-z0-9._-]{1,12}", fullmatch=True).filter(lambda text: text not in {".", ".."})
ids = st.builds(
    lambda domain, path: f"spiffe://{domain}{''.join(f'/{segment}' for segment in path)}",
    st.from_regex(r"[a-z0-9._-]{1,30}", fullmatch=True),
    st.lists(segments, max_size=6),
)


@pytest.mark.parametrize(
    ("text", "trust_domain", "path"),
    [
        ("spiffe://prod.example", "prod.example", ""),
        ("spiffe://prod.example/a", "prod.example", "/a"),
        ("spiffe://prod_1.example/ns/Staging/sa/default-2", "prod_1.example", "/ns/Staging/sa/default-2"),
        ("spiffe://10.0.0.1/a", "10.0.0.1", "/a"),
        ("spiffe://prod.example/a/...", "prod.example", "/a/..."),
        ("spiffe://prod.example/.a/b.", "prod.example", "/.a/b."),
    ],
)
def test_ids(text: str, trust_domain: str, path: str) -> None:
    """§2.1, §2.2: letters, digits, dots, hyphens and underscores; an IPv4 address is a name like any other."""
    assert parse_spiffe_id(text) == SpiffeID(trust_domain, path)
    assert str(parse_spiffe_id(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "spiffe:",
        "spiffe://",
        "spiffe:///a",
        "spiffe:/prod.example/a",
        "SPIFFE://prod.example/a",
        "Spiffe://prod.example/a",
        " spiffe://prod.example/a",
        "spiffe://prod.example/a\n",
        "https://prod.example/a",
        "spiffe://Prod.example/a",
        "spiffe://prod.example:443/a",
        "spiffe://prod.example:/a",
        "spiffe://user@prod.example/a",
        "spiffe://@prod.example/a",
        "spiffe://[::1]/a",
        "spiffe://prod%2eexample/a",
        "spiffe://prod.exämple/a",
        "spiffe://prod.example?",
        "spiffe://prod.example#",
        "spiffe://prod.example/a?b",
        "spiffe://prod.example/a#b",
        "spiffe://prod.example/",
        "spiffe://prod.example/a/",
        "spiffe://prod.example//a",
        "spiffe://prod.example/a//b",
        "spiffe://prod.example/.",
        "spiffe://prod.example/a/../b",
        "spiffe://prod.example/a/..",
        "spiffe://prod.example/a/./b",
        "spiffe://prod.example/a%2fb",
        "spiffe://prod.example/a%2e%2e",
        "spiffe://prod.example/a b",
        "spiffe://prod.example/a*",
        "spiffe://prod.example/*",
        "spiffe://prod.example/a\\b",
        "spiffe://prod.example/a;b",
        "spiffe://prod.example/ａ",  # noqa: RUF001 # a full-width letter, on purpose
        "spiffe://prod.example/a\x00",
        f"spiffe://{'a' * 256}/a",
    ],
)
def test_what_is_no_id(text: str) -> None:
    """§2.1, §2.2: no port, user, query, fragment, percent-encoding, upper case, empty or relative segment."""
    with pytest.raises(SpiffeIDError):
        parse_spiffe_id(text)


def test_lengths() -> None:
    """§2.3: 2048 bytes in all, 255 of them the trust domain."""
    longest = "spiffe://" + "a" * 255 + "/"
    longest += "b" * (2048 - len(longest))
    assert str(parse_spiffe_id(longest)) == longest
    with pytest.raises(SpiffeIDError, match="2048"):
        parse_spiffe_id(longest + "b")
    with pytest.raises(SpiffeIDError, match="2048"):
        parse_spiffe_id_pattern(longest + "/*")
    assert trust_domain_problem("a" * 255) is None
    assert trust_domain_problem("a" * 256) is not None


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("spiffe://td.example/a", ["/a"], ["/a/b", "/ab", "/A", "", "/b"]),
        ("spiffe://td.example/a/*", ["/a/b", "/a/b/c", "/a/..."], ["/a", "/ab", "/ab/c", "/A/b", "/b/a/b", ""]),
        ("spiffe://td.example/a/b/*", ["/a/b/c"], ["/a/b", "/a/bc", "/a/c", "/a"]),
        ("spiffe://td.example/*", ["/a", "/a/b"], [""]),
    ],
)
def test_patterns_match_whole_segments(pattern: str, matching: list[str], others: list[str]) -> None:
    """Draft §5.1: exact, or a prefix of complete path segments."""
    parsed = parse_spiffe_id_pattern(pattern)
    assert str(parsed) == pattern
    assert all(parsed.matches(parse_spiffe_id(f"spiffe://td.example{path}")) for path in matching)
    assert not any(parsed.matches(parse_spiffe_id(f"spiffe://td.example{path}")) for path in others)
    assert not any(
        parsed.matches(parse_spiffe_id(f"spiffe://{domain}{path}"))
        for domain in ("td.exampl", "td.example.org", "a.td.example")
        for path in matching
    )


@pytest.mark.parametrize(
    "text",
    [
        "spiffe://td.example",
        "spiffe://td.example*",
        "spiffe://td.example/a*",
        "spiffe://td.example/*/a",
        "spiffe://td.example/a/*/*",
        "spiffe://td.example//*",
        "spiffe://td.example/a//*",
        "spiffe://td.example/a/../*",
        "spiffe://*/a",
        "spiffe:///*",
        "/*",
        "*",
    ],
)
def test_what_is_no_pattern(text: str) -> None:
    """A wildcard stands for whole segments at the end alone, and a workload has a path (X509-SVID §3.1)."""
    with pytest.raises(SpiffeIDError):
        parse_spiffe_id_pattern(text)


def test_patterns_above_are_the_longest_first() -> None:
    spiffe_id = parse_spiffe_id("spiffe://td.example/a/b/c")
    assert [str(pattern) for pattern in patterns_above(spiffe_id)] == [
        "spiffe://td.example/a/b/*",
        "spiffe://td.example/a/*",
        "spiffe://td.example/*",
    ]
    assert patterns_above(parse_spiffe_id("spiffe://td.example")) == ()


@given(st.text(max_size=60) | st.text(max_size=40).map(lambda text: f"spiffe://{text}"))
def test_any_text_is_an_id_or_the_one_error(text: str) -> None:
    """What is an ID has one spelling, itself."""
    for parse in (parse_spiffe_id, parse_spiffe_id_pattern):
        try:
            assert str(parse(text)) == text
        except SpiffeIDError:
            continue


@given(ids)
def test_every_pattern_above_matches_and_reads_back(text: str) -> None:
    spiffe_id = parse_spiffe_id(text)
    for pattern in patterns_above(spiffe_id):
        assert pattern.matches(spiffe_id)
        assert parse_spiffe_id_pattern(str(pattern)) == pattern


@given(ids, ids)
def test_an_exact_pattern_matches_itself_alone(first: str, second: str) -> None:
    one, other = parse_spiffe_id(first), parse_spiffe_id(second)
    if one.path:
        assert parse_spiffe_id_pattern(first).matches(other) == (one == other)
