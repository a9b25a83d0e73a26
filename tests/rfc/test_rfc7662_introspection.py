"""RFC 7662: answers."""

from mtls_as.rfc.rfc7662_introspection import INACTIVE, introspection_answer, token_type

CLAIMS = {
    "scope": "read write dolphin",
    "client_id": "l238j323ds-23ij4",
    "sub": "Z5O3upPC88QrAjx00dis",
    "aud": "https://protected.example.net/resource",
    "iss": "https://server.example.com/",
    "exp": 1419356238,
    "iat": 1419350238,
}


def test_the_example_of_section_2_2() -> None:
    """But for `username`, which a machine has not, and an extension of the example's own."""
    assert introspection_answer(CLAIMS) == CLAIMS | {"active": True, "token_type": "Bearer"}


def test_the_example_of_an_inactive_token() -> None:
    """§2.2: nothing else stands there."""
    assert dict(INACTIVE) == {"active": False}


def test_the_confirmation_of_rfc_8705() -> None:
    """RFC 8705 §3.2, with the thumbprint of its figure."""
    confirmation = {"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}
    answer = introspection_answer(CLAIMS | {"cnf": confirmation})
    assert (answer["cnf"], answer["token_type"]) == (confirmation, "Bearer")


def test_a_token_that_is_bound_to_a_key_says_so() -> None:
    """RFC 9449 §6.2."""
    assert token_type({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}) == "DPoP"
    assert token_type({"cnf": "jkt"}) == "Bearer"


def test_no_claim_stands_for_what_the_server_says() -> None:
    """A claims hook could name its claims so."""
    answer = introspection_answer(CLAIMS | {"active": False, "token_type": "N_A"})
    assert (answer["active"], answer["token_type"]) == (True, "Bearer")
