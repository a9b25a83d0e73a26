"""RFC 9701: who asks for a signed answer, and what stands in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc9701_jwt_introspection import MEDIA_TYPE, introspection_claims, wants_signed_answer


def test_the_claims_of_the_example_of_section_5() -> None:
    """Those of the figure, but for the personal data."""
    answer = {
        "active": True,
        "iss": "https://as.example.com/",
        "aud": "https://rs.example.com/resource",
        "iat": 1514797822,
        "exp": 1514797942,
        "client_id": "paiB2goo0a",
        "scope": "read write dolphin",
        "sub": "Z5O3upPC88QrAjx00dis",
        "jti": "t1FoCCaZd4Xv4ORJUWVUeTZfsKhW30CQCrWDDjwXy6w",
    }
    claims = introspection_claims(
        issuer="https://as.example.com/",
        audience="https://rs.example.com/resource",
        issued_at=1514797892,
        answer=answer,
    )
    assert claims == {
        "iss": "https://as.example.com/",
        "aud": "https://rs.example.com/resource",
        "iat": 1514797892,
        "token_introspection": answer,
    }


@pytest.mark.parametrize(
    ("accept", "wants"),
    [
        (MEDIA_TYPE, True),
        (MEDIA_TYPE.upper(), True),
        (f"text/html, {MEDIA_TYPE} ; q=0.3", True),
        (f"{MEDIA_TYPE};q=1.0, application/json;q=1.000", True),
        (f"{MEDIA_TYPE};q=0.2, application/json;q=0.3", False),
        (f"{MEDIA_TYPE};q=0.000", False),
        (f"{MEDIA_TYPE}x", False),
        ("application/jwt", False),
        ("*/*", False),
        ("", False),
        (None, False),
    ],
)
def test_the_accept_header(accept: str | None, wants: bool) -> None:
    """§4, with the weights of RFC 9110 §12.5.1."""
    assert wants_signed_answer(accept) is wants


@given(st.text() | st.from_regex(r"([a-z/+-]+;q=[0-9.]*,?)*", fullmatch=True))
def test_any_header_has_an_answer(accept: str) -> None:
    """Nothing is raised, whatever stands there."""
    assert wants_signed_answer(accept) in {True, False}
