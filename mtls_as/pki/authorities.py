"""Which CA is meant: two certificates are of the same one if they have the same subject and the same key."""

from collections.abc import Hashable
from typing import NamedTuple

from mtls_as.rfc.rfc4517_matching import canonical_name
from mtls_as.rfc.rfc5280_certificate import Certificate


class AuthorityId(NamedTuple):
    """A CA, by what its lists and answers are verified with."""

    name: Hashable
    """Its subject, canonical."""
    public_key_info: bytes
    signs_lists: bool
    """Whether its certificate allows it to sign revocation lists."""


def authority_id(certificate: Certificate) -> AuthorityId:
    """The CA that a certificate is of."""
    usages = certificate.key_usages
    return AuthorityId(
        canonical_name(certificate.subject), certificate.public_key_info, usages is None or "cRLSign" in usages
    )
