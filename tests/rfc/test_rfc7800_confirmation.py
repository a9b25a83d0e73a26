"""What a token can be bound to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc7800_confirmation import (
    CertificateBinding,
    Confirmation,
    DPoPBinding,
    format_confirmation,
    parse_confirmation,
)
from mtls_as.rfc.rfc8705_mtls import ConfirmationError, x5t_s256

# RFC 9449 §6.1, figure 8.
JKT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
X5T = x5t_s256(b"a certificate")


@pytest.mark.parametrize(
    ("cnf", "confirmation"),
    [({"jkt": JKT}, DPoPBinding(JKT)), ({"x5t#S256": X5T}, CertificateBinding(X5T))],
)
def test_a_token_has_one_binding(cnf: dict[str, str], confirmation: Confirmation) -> None:
    """RFC 8705 §3.1 and RFC 9449 §6.1; written and read again, each stays what it is."""
    assert parse_confirmation(cnf) == confirmation
    assert format_confirmation(confirmation) == cnf


def test_the_kinds_never_mix() -> None:
    """A thumbprint of one kind is no thumbprint of the other, even of the same octets."""
    assert CertificateBinding(JKT) != DPoPBinding(JKT)


@pytest.mark.parametrize(
    "cnf",
    [
        None, JKT, [], {}, {"jkt": None}, {"jkt": [JKT]}, {"jkt": ""}, {"jkt": JKT + "="}, {"jkt": JKT[:-1]},
        {"jkt": JKT + "\n"}, {"JKT": JKT}, {"jkt": JKT, "x5t#S256": X5T}, {"x5t#S256": X5T, "jkt": JKT},
        {"jkt": JKT, "kid": "1"}, {"jwk": {}}, {"kid": "1"},
    ],
)  # fmt: skip
def test_what_is_not_one_binding_is_none(cnf: object) -> None:
    """RFC 7800 §3.1: a member that is not understood, or a second one, would go unchecked."""
    with pytest.raises(ConfirmationError):
        parse_confirmation(cnf)


@given(
    st.dictionaries(st.sampled_from(["jkt", "x5t#S256", "x"]), st.sampled_from([JKT, X5T]) | st.text(max_size=50))
    | st.none()
    | st.text(max_size=5)
)
def test_only_confirmation_error_escapes(cnf: object) -> None:
    try:
        confirmation = parse_confirmation(cnf)
    except ConfirmationError:
        return
    assert format_confirmation(confirmation) == cnf
