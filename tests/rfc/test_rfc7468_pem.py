"""One certificate in PEM or DER, as a TLS layer hands it on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc7468_pem import PEMError, certificate_der
from tests.authority import self_signed


def test_pem_and_der_are_the_same_certificate() -> None:
    """DER, PEM text, PEM bytes, and PEM with other line ends or without the last one."""
    identity = self_signed()
    forms: list[str | bytes] = [
        identity.der, identity.pem, identity.pem.encode(), identity.pem.replace("\n", "\r\n"), identity.pem.strip()
    ]  # fmt: skip
    assert [certificate_der(form) for form in forms] == [identity.der] * len(forms)


def test_anything_else_is_refused() -> None:
    """Two certificates, junk around or inside, a cut block, another label, text beyond ASCII."""
    pem = self_signed().pem
    for text in (
        "", "x", pem + pem, "junk\n" + pem, pem + "junk", pem.replace("M", "!", 1), pem[:-10], pem.replace("A", "é", 1),
        pem.replace("CERTIFICATE", "PUBLIC KEY"), pem.replace("\n-----END", "=\n-----END"), pem[:100] + "=" + pem[100:],
    ):  # fmt: skip
        with pytest.raises(PEMError):
            certificate_der(text)


@given(st.text(max_size=50) | st.binary(max_size=50).filter(lambda data: data[:1] != b"0"))
def test_only_pem_error_escapes(text: str | bytes) -> None:
    with pytest.raises(PEMError):
        certificate_der(text)
