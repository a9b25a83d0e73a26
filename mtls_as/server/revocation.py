"""What a revocation is: which tokens it ends, and until when it must be remembered."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self

from mtls_as.server.clients import ACCESS_TOKEN_LIFETIMES

LONGEST_LIFE: Final = float(ACCESS_TOKEN_LIFETIMES[-1])
"""Seconds that any access token may live, whatever the configuration said when it was issued."""


class RevocationKind(StrEnum):
    """What the tokens that a revocation ends have in common."""

    TOKEN = "token"  # noqa: S105 # not a secret: the kind that ends one token, by its `jti`
    CLIENT = "client"
    CERTIFICATE = "certificate"
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """The end of some tokens before their time. Times are epoch seconds."""

    kind: RevocationKind
    value: str
    """The token's `jti`, the `client_id`, the certificate's `x5t#S256`; empty for everything."""
    issued_before: float
    """It ends tokens issued before this time; one token was issued before its end."""
    ends_at: float
    """No token that it could match lives on from here: it may be forgotten."""

    @classmethod
    def of_token(cls, token_id: str, *, expires_at: float) -> Self:
        """The end of one token, by its `jti` and its own end."""
        return cls(kind=RevocationKind.TOKEN, value=token_id, issued_before=expires_at, ends_at=expires_at)

    @classmethod
    def of_client(cls, client_id: str, *, before: float) -> Self:
        """The end of all tokens that were issued to a client before a time."""
        return cls._before(RevocationKind.CLIENT, client_id, before)

    @classmethod
    def of_certificate(cls, thumbprint: str, *, before: float) -> Self:
        """The end of all tokens that were bound to a certificate (`x5t#S256`) before a time."""
        return cls._before(RevocationKind.CERTIFICATE, thumbprint, before)

    @classmethod
    def of_everything(cls, *, before: float) -> Self:
        """The end of all tokens that were issued before a time."""
        return cls._before(RevocationKind.EVERYTHING, "", before)

    def and_also(self, other: "Revocation") -> "Revocation":
        """What both say together, of the same tokens: the later times."""
        return replace(
            self,
            issued_before=max(self.issued_before, other.issued_before),
            ends_at=max(self.ends_at, other.ends_at),
        )

    @classmethod
    def _before(cls, kind: RevocationKind, value: str, before: float) -> Self:
        return cls(kind=kind, value=value, issued_before=before, ends_at=before + LONGEST_LIFE)


def revocable_names(claims: Mapping[str, object]) -> list[tuple[RevocationKind, str]]:
    """By what a token with these claims can be revoked, in the order of `RevocationKind`."""
    confirmation = claims.get("cnf")
    # A dict first: an abstract class takes long to say so.
    thumbprint = confirmation.get("x5t#S256") if isinstance(confirmation, (dict, Mapping)) else None
    names = (
        (RevocationKind.TOKEN, claims.get("jti")),
        (RevocationKind.CLIENT, claims.get("client_id")),
        (RevocationKind.CERTIFICATE, thumbprint),
        (RevocationKind.EVERYTHING, ""),
    )
    return [(kind, name) for kind, name in names if isinstance(name, str)]
