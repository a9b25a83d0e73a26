"""Authorization server metadata, written and read."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc8414_metadata import (
    MetadataError,
    authorization_server_metadata,
    metadata_url,
    parse_metadata,
)

ISSUER = "https://as.example"


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://as.example", "https://as.example/.well-known/oauth-authorization-server"),
        ("https://as.example/", "https://as.example/.well-known/oauth-authorization-server"),
        ("https://as.example:8443/one", "https://as.example:8443/.well-known/oauth-authorization-server/one"),
        ("https://as.example/one/", "https://as.example/.well-known/oauth-authorization-server/one"),
    ],
)
def test_place_of_the_metadata(issuer: str, url: str) -> None:
    """Between host and path, a final slash removed (RFC 8414 §3.1)."""
    assert metadata_url(issuer) == url


@pytest.mark.parametrize(
    "issuer",
    ["", "http://as.example", "https://as.example?", "https://as.example?a", "https://as.example#", "https://u@a"],
)
def test_issuers_that_are_none(issuer: str) -> None:
    """RFC 8414 §2: https, without query and fragment."""
    with pytest.raises(MetadataError):
        metadata_url(issuer)


def build(**replaced: Any) -> dict[str, object]:
    arguments: dict[str, Any] = {
        "issuer": ISSUER,
        "endpoints": {"token_endpoint": ISSUER + "/token", "jwks_uri": ISSUER + "/jwks"},
        "aliases": None,
        "grant_types": ["client_credentials"],
        "token_endpoint_auth_methods": ["tls_client_auth"],
        "scopes": ("a", "b"),
        "certificate_bound": True,
    }
    return authorization_server_metadata(**arguments | replaced)


def test_document() -> None:
    """The members of RFC 8414 §2 and RFC 8705 §3.3; no aliases without a second listener."""
    assert build() == {
        "issuer": ISSUER,
        "token_endpoint": "https://as.example/token",
        "jwks_uri": "https://as.example/jwks",
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
        "scopes_supported": ["a", "b"],
        "token_endpoint_auth_methods_supported": ["tls_client_auth"],
        "tls_client_certificate_bound_access_tokens": True,
    }


def test_aliases_are_read_back_and_preferred() -> None:
    """RFC 8705 §5: clients take the alias when there is one."""
    document = build(aliases={"token_endpoint": "https://mtls.as.example/token"})
    assert parse_metadata(document, issuer=ISSUER).mtls_token_endpoint == "https://mtls.as.example/token"
    assert parse_metadata(build(), issuer=ISSUER).mtls_token_endpoint == "https://as.example/token"


@pytest.mark.parametrize(
    ("endpoints", "aliases"),
    [
        ({}, {"token_endpoint": "https://a/"}),
        ({"jwks_uri": "https://a/"}, {"jwks_uri": "https://a/"}),
        ({"authorization_endpoint": "https://a/"}, {"authorization_endpoint": "https://a/"}),
        ({"token_endpoint": "https://a/"}, {"token_endpoint": "http://a/"}),
        ({"token_endpoint": "http://a/"}, None),
    ],
)
def test_aliases_follow_the_rules(endpoints: dict[str, str], aliases: dict[str, str] | None) -> None:
    """RFC 8705 §5: only of endpoints that exist and can have one (never the authorization endpoint); all https."""
    with pytest.raises(MetadataError):
        build(endpoints=endpoints, aliases=aliases)


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": ISSUER + "/"}, {"issuer": None}, {"issuer": "https://AS.example"},
        {"token_endpoint": "http://as.example"},
        {"token_endpoint": 1}, {"jwks_uri": "file:///etc/passwd"}, {"jwks_uri": []}, {"mtls_endpoint_aliases": []},
        {"mtls_endpoint_aliases": {"token_endpoint": "http://as.example"}}, {"mtls_endpoint_aliases": None},
    ],
)  # fmt: skip
def test_metadata_of_others(changes: dict[str, object]) -> None:
    """Another issuer (RFC 8414 §3.3), even by a slash, and endpoints that are not https."""
    with pytest.raises(MetadataError):
        parse_metadata(build() | changes, issuer=ISSUER)


JSON = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=9)
    | st.just("https://a")
    | st.lists(st.text(), max_size=1)
)
NAMES = st.sampled_from(["issuer", "token_endpoint", "jwks_uri", "mtls_endpoint_aliases", "x"])


@given(JSON | st.dictionaries(NAMES, JSON | st.dictionaries(NAMES, JSON, max_size=3), max_size=4), st.booleans())
def test_only_metadata_error_escapes(document: Any, named: bool) -> None:
    """Any JSON gives metadata or a `MetadataError`."""
    if named and isinstance(document, dict):
        document = {**document, "issuer": ISSUER}
    with contextlib.suppress(MetadataError):
        parse_metadata(document, issuer=ISSUER)
