"""What a token says beyond its scope: who acts for its subject, and what exactly was authorized."""

from collections.abc import Collection

from mtls_as.rfc.rfc8693_token_exchange import ActorError, Chain, Party, parse_chain
from mtls_as.rfc.rfc9068_at_jwt import AccessTokenClaims
from mtls_as.rfc.rfc9396_rar import AuthorizationDetailsError, Details, read_authorization_details, types_of
from mtls_as.verifier.errors import InvalidToken, TokenRefusal

__all__ = ["Chain", "Details", "InsufficientAuthorization", "Party", "actors_of", "details_of", "require_detail"]


class InsufficientAuthorization(Exception):  # noqa: N818 # named as RFC 6750 §3.1 describes it
    """The token is good, and has not what this request needs beside scopes: HTTP 403 `insufficient_scope`.

    `description` is public; the message is for the log.
    """

    def __init__(self, description: str, detail: str) -> None:
        super().__init__(detail)
        self.description = description


def actors_of(claims: AccessTokenClaims) -> Chain:
    """Who acts for the subject (RFC 8693 §4.1): first who acts now; empty if the subject does.

    Raises `InvalidToken` for an `act` claim that cannot be read.
    """
    try:
        return parse_chain(claims.other, issuer=claims.issuer)
    except ActorError as error:
        raise InvalidToken(TokenRefusal.CLAIM_REFUSED, f"act: {error}") from None


def details_of(claims: AccessTokenClaims) -> Details:
    """The authorization details (RFC 9396 §9.1), or none. Raises `InvalidToken` for such that cannot be read."""
    if "authorization_details" not in claims.other:
        return ()
    try:
        return read_authorization_details(claims.other["authorization_details"])
    except AuthorizationDetailsError as error:
        raise InvalidToken(TokenRefusal.CLAIM_REFUSED, f"authorization_details: {error}") from None


def require_detail(claims: AccessTokenClaims, kind: str) -> Details:
    """The authorization details of one type. Raises `InsufficientAuthorization` if there are none.

    What stands in them (`actions`, `locations` …) is for the caller to hold the request against.
    """
    found = tuple(detail for detail in details_of(claims) if detail["type"] == kind)
    if not found:
        raise InsufficientAuthorization(
            "The access token does not have the authorization details that this request needs.",
            f"there is no authorization detail of the type {kind!a}",
        )
    return found


def check_requirements(
    claims: AccessTokenClaims, *, authorization_details: Collection[str], actors: Collection[str] | None
) -> None:
    """Hold a token to what a resource asks for beside scopes; claims that cannot be read are refused in any case.

    `authorization_details` are types of which the token has at least one each. `actors` are those who may act for
    others, by `sub` among the names of the token's issuer: the one who acts now must be one of them. None asks nothing;
    nobody at all means that the subject itself must act. Raises `InsufficientAuthorization`, `InvalidToken`.
    """
    if authorization_details or "authorization_details" in claims.other:
        present = types_of(details_of(claims))
        for kind in authorization_details:
            if kind not in present:
                require_detail(claims, kind)
    if actors is None and "act" not in claims.other:
        return
    chain = actors_of(claims)
    if actors is None:
        return
    acting = chain[0] if chain else None
    allowed = acting is None if not actors else acting is not None and _is_one_of(acting, actors, claims.issuer)
    if not allowed:
        raise InsufficientAuthorization(
            "The access token may not be used by whoever acts with it here.",
            "the token's subject acts for itself" if acting is None else f"{acting.subject[:200]!a} acts",
        )


def _is_one_of(party: Party, actors: Collection[str], issuer: str) -> bool:
    return party.issuer == issuer and party.subject in actors
