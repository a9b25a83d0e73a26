"""The presented chain: only the leaf is read."""

import pytest

from mtls_as.pki.presented import present
from mtls_as.rfc.rfc5280_certificate import CertificateError
from tests.authority import Authority

CA = Authority.create("Test CA")
LEAF = CA.issue("reports")


def test_the_leaf_is_the_first_certificate() -> None:
    """And the rest is kept unread."""
    presented = present([LEAF.der, b"junk", CA.der])
    assert str(presented.leaf.subject) == "CN=reports"
    assert presented.unverified_chain == (b"junk", CA.der)


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        ([], "empty"),
        ([LEAF.der] * 11, "more than 10"),
        ([b"junk", LEAF.der], "element"),
        ([LEAF.der, bytes(65 * 1024)], "more than 65536 bytes"),
        ([bytes(65 * 1024)], "more than 65536 bytes"),
    ],
)
def test_bad_chains(chain: list[bytes], message: str) -> None:
    """Empty, long, heavy, or without a certificate at the head."""
    with pytest.raises(CertificateError, match=message):
        present(chain)
