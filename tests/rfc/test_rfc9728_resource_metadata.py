"""RFC 9728: where the metadata of a resource stand, what they say, and how they are read."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc9728_resource_metadata import (
    ResourceMetadata,
    ResourceMetadataError,
    metadata_url,
    parse_resource_metadata,
)

RESOURCE = "https://api.example/v1"
WELL_KNOWN = "https://api.example/.well-known/oauth-protected-resource"


@pytest.mark.parametrize(
    ("resource", "url"),
    [
        ("https://api.example", WELL_KNOWN),
        ("https://api.example/", WELL_KNOWN),
        ("https://api.example/v1", WELL_KNOWN + "/v1"),
        ("https://api.example/v1/", WELL_KNOWN + "/v1/"),
        ("https://api.example:8443/a/b", "https://api.example:8443/.well-known/oauth-protected-resource/a/b"),
    ],
)
def test_the_well_known_path_stands_between_host_and_path(resource: str, url: str) -> None:
    """§3.1: only the slash that follows the host is taken away."""
    assert metadata_url(resource) == url
    assert ResourceMetadata(resource=resource).path == "/" + url.split("/", 3)[3]


@pytest.mark.parametrize(
    "resource", ["", "urn:example:api", "http://api.example", "https://api.example#a", RESOURCE + "?a"]
)
def test_identifiers_that_have_no_metadata(resource: str) -> None:
    """§1.2: an https URL without a fragment; here without a query too."""
    with pytest.raises(ResourceMetadataError):
        ResourceMetadata(resource=resource)


def test_the_document() -> None:
    """§3.2: arrays for what may be several, and nothing for what has no value."""
    metadata = ResourceMetadata(
        resource=RESOURCE,
        authorization_servers=["https://as.example"],
        scopes_supported=["reports:read"],  # type: ignore[arg-type] # as people write it
    )
    assert metadata.document() == {
        "resource": RESOURCE,
        "authorization_servers": ["https://as.example"],
        "scopes_supported": ["reports:read"],
        "bearer_methods_supported": ["header"],
        "tls_client_certificate_bound_access_tokens": True,
    }
    assert parse_resource_metadata(metadata.document(), resource=RESOURCE) == metadata


def test_a_document_of_somebody_else() -> None:
    """§3.3: the resource must be the very one that was asked for."""
    for resource in (RESOURCE + "/", "https://api.example", None):
        with pytest.raises(ResourceMetadataError, match="another resource"):
            parse_resource_metadata({"resource": resource}, resource=RESOURCE)


def test_what_is_not_said_is_not_so() -> None:
    """§2: a document without the member does not bind its tokens."""
    metadata = parse_resource_metadata({"resource": RESOURCE, "unknown": 1}, resource=RESOURCE)
    assert not metadata.tls_client_certificate_bound_access_tokens
    assert metadata.authorization_servers == ()
    assert metadata.bearer_methods_supported == ()


BROKEN: list[Any] = [
    None,
    [],
    {"resource": RESOURCE, "authorization_servers": "https://as.example"},
    {"resource": RESOURCE, "authorization_servers": ["http://as.example"]},
    {"resource": RESOURCE, "authorization_servers": [1]},
    {"resource": RESOURCE, "scopes_supported": [""]},
    {"resource": RESOURCE, "jwks_uri": "http://as.example"},
    {"resource": RESOURCE, "resource_name": 1},
    {"resource": RESOURCE, "dpop_bound_access_tokens_required": "true"},
]


@pytest.mark.parametrize("document", BROKEN, ids=str)
def test_broken_documents(document: Any) -> None:
    with pytest.raises(ResourceMetadataError):
        parse_resource_metadata(document, resource=RESOURCE)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
MEMBERS = st.sampled_from(sorted(ResourceMetadata.__dataclass_fields__))


@given(st.dictionaries(MEMBERS, JSON) | JSON, st.booleans())
def test_one_error_for_whatever_it_holds(document: Any, ours: bool) -> None:
    if ours and isinstance(document, dict):
        document["resource"] = RESOURCE
    with contextlib.suppress(ResourceMetadataError):
        parse_resource_metadata(document, resource=RESOURCE)
