"""RFC 7591 and RFC 7592, dynamic registration: what a registrant sends. The metadata itself is read elsewhere.

Unlike a person who registers a client, a registrant may send members that this server does not know: they are ignored
(RFC 7591 §2). Those it knows are read as strictly as ever.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mtls_as.rfc.rfc7519_claims import numeric_date
from mtls_as.rfc.rfc7519_jwt import JWTError
from mtls_as.rfc.rfc7591_client_metadata import METADATA_MEMBERS, ClientMetadataError
from mtls_as.rfc.rfc8259_json import JSONError, parse_json

STATEMENT_TYPES: Final = ("jwt", None)
"""The header `typ` of software statements: RFC 7591 §2.3 names none of its own."""
STATEMENT_LEEWAY: Final = 10.0

_SERVER_ANSWERS: Final = (
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
)
_OWN_MEMBERS: Final = (*METADATA_MEMBERS, "trust")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationRequest:
    """The members that this server knows, as they came, and the software statement, which nobody has verified."""

    unverified_members: Mapping[str, object]
    unverified_software_statement: str | None = None
    client_id: str | None = None
    """In updates alone."""
    client_secret: str | None = None
    """The same."""

    def with_claims(self, claims: Mapping[str, object]) -> Mapping[str, object]:
        """The members where those of a verified software statement win (RFC 7591 §2.3)."""
        return {**self.unverified_members, **_known(claims)}


def parse_registration_request(body: bytes) -> RegistrationRequest:
    """Read a request to register (RFC 7591 §3.1). Raises `ClientMetadataError` and nothing else."""
    members = _members(body)
    return RegistrationRequest(
        unverified_members=_known(members), unverified_software_statement=_text(members, "software_statement")
    )


def parse_update_request(body: bytes) -> RegistrationRequest:
    """Read a request to update a registration (RFC 7592 §2.2). Raises `ClientMetadataError` and nothing else."""
    members = _members(body)
    for name in _SERVER_ANSWERS:
        if name in members:
            raise ClientMetadataError([(name, "must not be sent back (RFC 7592 §2.2)")])
    client_id = _text(members, "client_id")
    if client_id is None:
        raise ClientMetadataError([("client_id", "is missing (RFC 7592 §2.2)")])
    return RegistrationRequest(
        unverified_members=_known(members),
        unverified_software_statement=_text(members, "software_statement"),
        client_id=client_id,
        client_secret=_text(members, "client_secret"),
    )


def judge_statement(claims: Mapping[str, object], *, issuer: str, audience: str, at: float) -> None:
    """Judge the claims of a statement whose signature is good (RFC 7591 §2.3). Raises `JWTError`.

    `exp`, `nbf`, `iat` and `aud` are optional there; one that is given must hold. `at` is in epoch seconds.
    """
    if claims.get("iss") != issuer:
        raise JWTError("iss is not who signed it")
    expires_at, not_before = numeric_date(claims, "exp"), numeric_date(claims, "nbf")
    issued_at = numeric_date(claims, "iat")
    if expires_at is not None and at >= expires_at:
        raise JWTError("it has expired")
    if any(time is not None and time > at + STATEMENT_LEEWAY for time in (not_before, issued_at)):
        raise JWTError("it is not valid yet")
    if "aud" in claims:
        named = claims["aud"]
        audiences = named if isinstance(named, list) else [named]
        if audience not in audiences:
            raise JWTError("it is for another server")


def _members(body: bytes) -> Mapping[str, object]:
    try:
        document = parse_json(body)
    except JSONError as error:
        raise ClientMetadataError([("", str(error))]) from None
    if not isinstance(document, dict):
        raise ClientMetadataError([("", "the body is not a JSON object")])
    # A member that is null counts as omitted (RFC 7592 §2.2).
    return {name: value for name, value in document.items() if value is not None}


def _known(members: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if name in _OWN_MEMBERS and value is not None}


def _text(members: Mapping[str, object], name: str) -> str | None:
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise ClientMetadataError([(name, "must be a string")])
    return value
