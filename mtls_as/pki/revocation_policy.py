"""What a trust domain asks about revocation, and what was found out about the certificates of a path."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Literal

from msgspec import Struct

from mtls_as.pki.authorities import AuthorityId, authority_id
from mtls_as.rfc.rfc5280_certificate import Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationPolicy:
    """The revocation settings of one trust domain. Without lists and responder, nothing is checked."""

    lists: tuple[str, ...] = ()
    """Files, globs of files, and `http` or `https` URLs of revocation lists."""
    responder: str | None = None
    """The URL of an OCSP responder."""
    fails: Literal["closed", "open"] = "closed"
    """What happens to a certificate of which nothing is known: `closed` refuses it."""
    grace: float = 0
    """Seconds past its nextUpdate that a list or an answer is still used."""
    revokes_tokens: bool = False
    """Whether the tokens that are bound to a certificate end when it turns out revoked."""

    @property
    def is_configured(self) -> bool:
        return bool(self.lists or self.responder)


class RevocationStatus(StrEnum):
    """What is known of one certificate."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


class RevocationCheck(Struct, frozen=True, kw_only=True):  # some for each request, in a tenth of a dataclass's time
    """What was found out about one certificate of a path, and from what."""

    certificate: Certificate
    status: RevocationStatus
    policy: Literal["closed", "open"]
    kind: Literal["crl", "ocsp"] | None = None
    source: str | None = None
    """The file or the URL that it stands in; None if nothing is known."""
    number: int | None = None
    """The number of the revocation list."""
    this_update: datetime | None = None
    next_update: datetime | None = None
    detail: str = ""
    """Why it is not good, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListStatus:
    """One revocation list at hand."""

    domain: str
    source: str
    """The file or the URL."""
    issuer: str
    number: int | None
    is_delta: bool
    entries: int
    this_update: datetime
    next_update: datetime
    is_proven: bool
    """Whether its signature was verified with a CA of the domain; only then it is used."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate of a verified path, with the CA that issued it."""

    certificate: Certificate
    issuer: Certificate
    issuer_id: AuthorityId


def issued_certificates(path: Sequence[Certificate]) -> tuple[Issued, ...]:
    """Every certificate of a path, leaf first, but the anchor, which is trusted as it stands."""
    return tuple(Issued(certificate, issuer, authority_id(issuer)) for certificate, issuer in pairwise(path))
