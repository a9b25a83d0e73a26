"""RFC 7591, client metadata, with the members of RFC 8705: what a client registers about itself.

The members are read strictly: one that is unknown, misspelt or of the wrong type is an error, since a setting that is
silently ignored is worse. Every problem is reported, not only the first.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from mtls_as.rfc.member_reader import MemberReader
from mtls_as.rfc.rfc3986_uri import is_https_url
from mtls_as.rfc.rfc6749_framework import format_scope, parse_scope
from mtls_as.rfc.rfc7517_jwk import JWK, JWKError, JWKSet, parse_jwks, public_jwk
from mtls_as.rfc.rfc8705_mtls import ExpectedSubject, SubjectError, SubjectType, parse_expected_subject

TLS_CLIENT_AUTH: Final = "tls_client_auth"  # RFC 8705 §2.1.1
SELF_SIGNED_TLS_CLIENT_AUTH: Final = "self_signed_tls_client_auth"  # RFC 8705 §2.2.1
AUTHENTICATION_METHODS: Final = (TLS_CLIENT_AUTH, SELF_SIGNED_TLS_CLIENT_AUTH)
GRANT_TYPES: Final = ("client_credentials",)
"""The grant types a client may register for, also the default; RFC 7591's own default, authorization_code, is none."""

_SUBJECTS: Final = tuple(subject_type.value for subject_type in SubjectType)
_KEYS: Final = ("jwks", "jwks_uri")
METADATA_MEMBERS: Final = (
    "token_endpoint_auth_method",
    *_SUBJECTS,
    *_KEYS,
    "grant_types",
    "scope",
    "tls_client_certificate_bound_access_tokens",
    "client_name",
)


class ClientMetadataError(Exception):
    """A registration that cannot be accepted. `problems` are pairs of a member's name (or "") and what is wrong.

    Values are not quoted unless they are harmless; keys and secrets never are.
    """

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{member}: {message}" if member else message for member, message in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsClientAuth:
    """`tls_client_auth`: the certificate is trusted, and says exactly this subject (RFC 8705 §2.1)."""

    subject: ExpectedSubject


@dataclass(frozen=True, slots=True, kw_only=True)
class JWKSUri:
    """Where a client publishes its keys: an https URL with a host, without user and fragment."""

    url: str

    def __post_init__(self) -> None:
        if not is_https_url(self.url):
            raise ClientMetadataError([("jwks_uri", "must be an https URL with a host, without user and fragment")])


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfSignedTlsClientAuth:
    """`self_signed_tls_client_auth`: the certificate is one of the registered keys (RFC 8705 §2.2)."""

    keys: JWKSet | JWKSUri

    def __post_init__(self) -> None:
        if isinstance(self.keys, JWKSet) and not self.keys.keys:
            raise ClientMetadataError([("jwks", "holds no key that can be used")])


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientMetadata:
    """A registration: one way to authenticate, and what the client may ask for (RFC 7591 §2, RFC 8705 §2.1.2, §3.4)."""

    authentication: TlsClientAuth | SelfSignedTlsClientAuth
    grant_types: tuple[str, ...] = GRANT_TYPES
    scope: tuple[str, ...] = ()
    tls_client_certificate_bound_access_tokens: bool = True
    """True unless bearer tokens are asked for; RFC 8705 §3.4 has it the other way round."""
    client_name: str | None = None

    @property
    def token_endpoint_auth_method(self) -> str:
        """The method's registered name (RFC 7591 §2)."""
        match self.authentication:
            case TlsClientAuth():
                return TLS_CLIENT_AUTH
            case SelfSignedTlsClientAuth():
                return SELF_SIGNED_TLS_CLIENT_AUTH
            case _:
                assert_never(self.authentication)


def parse_client_metadata(members: Mapping[str, object]) -> ClientMetadata:
    """Read a client's metadata: the members of `METADATA_MEMBERS`, with JSON types.

    Raises `ClientMetadataError` and nothing else.
    """
    reader = MemberReader(members, METADATA_MEMBERS)
    metadata = read_client_metadata(reader)
    if reader.problems or metadata is None:
        raise ClientMetadataError(reader.problems)
    return metadata


def read_client_metadata(reader: MemberReader) -> ClientMetadata | None:
    """Read the metadata's members; problems stay in the reader. None if there is no way to authenticate."""
    authentication = _read_authentication(reader)
    grant_types = _read_grant_types(reader)
    scope = _read_scope(reader)
    bound = reader.flag("tls_client_certificate_bound_access_tokens", default=True)
    client_name = reader.text("client_name")
    if authentication is None:
        return None
    return ClientMetadata(
        authentication=authentication,
        grant_types=grant_types,
        scope=scope,
        tls_client_certificate_bound_access_tokens=bound,
        client_name=client_name,
    )


def format_client_metadata(metadata: ClientMetadata) -> dict[str, object]:
    """The members that `parse_client_metadata` reads back to the same value; JSON types only."""
    members: dict[str, object] = {"token_endpoint_auth_method": metadata.token_endpoint_auth_method}
    match metadata.authentication:
        case TlsClientAuth(subject=subject):
            members[subject.type.value] = subject.text
        case SelfSignedTlsClientAuth(keys=JWKSUri(url=url)):
            members["jwks_uri"] = url
        case SelfSignedTlsClientAuth(keys=JWKSet(keys=keys)):
            members["jwks"] = {"keys": [_format_jwk(key) for key in keys]}
    members["grant_types"] = list(metadata.grant_types)
    if metadata.scope:
        members["scope"] = format_scope(metadata.scope)
    members["tls_client_certificate_bound_access_tokens"] = metadata.tls_client_certificate_bound_access_tokens
    if metadata.client_name is not None:
        members["client_name"] = metadata.client_name
    return members


def _read_authentication(reader: MemberReader) -> TlsClientAuth | SelfSignedTlsClientAuth | None:
    method = reader.text("token_endpoint_auth_method", required=True)
    match method:
        case None:
            return None
        case "tls_client_auth":
            _refuse(reader, _KEYS, f"belongs to {SELF_SIGNED_TLS_CLIENT_AUTH}, not to {method}")
            return _read_subject(reader)
        case "self_signed_tls_client_auth":
            _refuse(reader, _SUBJECTS, f"belongs to {TLS_CLIENT_AUTH}, not to {method}")
            return _read_keys(reader)
        case _:
            choice = " or ".join(AUTHENTICATION_METHODS)
            reader.problem("token_endpoint_auth_method", f"must be {choice}")
            return None


def _refuse(reader: MemberReader, members: Iterable[str], message: str) -> None:
    for member in members:
        if reader.has(member):
            reader.problem(member, message)


def _read_subject(reader: MemberReader) -> TlsClientAuth | None:
    """Exactly one of the five subjects (RFC 8705 §2.1.2)."""
    given = [subject_type for subject_type in SubjectType if reader.has(subject_type.value)]
    if not given:
        reader.problem("", f"{TLS_CLIENT_AUTH} needs exactly one subject: one of {', '.join(_SUBJECTS)}")
        return None
    for extra in given[1:]:
        reader.problem(extra.value, f"a client has exactly one subject, and {given[0].value} is given too")
    text = reader.text(given[0].value)
    if text is None:
        return None
    try:
        return TlsClientAuth(subject=parse_expected_subject(given[0], text))
    except SubjectError as error:
        reader.problem(given[0].value, str(error))
        return None


def _read_keys(reader: MemberReader) -> SelfSignedTlsClientAuth | None:
    """`jwks` or `jwks_uri`, never both (RFC 7591 §2)."""
    if reader.has("jwks") and reader.has("jwks_uri"):
        reader.problem("jwks_uri", "must not be given together with jwks")
        return None
    try:
        if reader.has("jwks"):
            return SelfSignedTlsClientAuth(keys=_read_jwks(reader.value("jwks")))
        url = reader.text("jwks_uri") if reader.has("jwks_uri") else None
        if url is not None:
            return SelfSignedTlsClientAuth(keys=JWKSUri(url=url))
    except JWKError as error:
        reader.problem("jwks", str(error))
    except ClientMetadataError as error:
        reader.problems.extend(error.problems)
    if not reader.has("jwks") and not reader.has("jwks_uri"):
        reader.problem("", f"{SELF_SIGNED_TLS_CLIENT_AUTH} needs jwks or jwks_uri")
    return None


def _read_grant_types(reader: MemberReader) -> tuple[str, ...]:
    grant_types = reader.texts("grant_types")
    if grant_types is None:
        return GRANT_TYPES
    if not grant_types:
        reader.problem("grant_types", "must not be empty")
    for grant_type in grant_types:
        if grant_type not in GRANT_TYPES:
            reader.problem("grant_types", f"holds one that is not supported; supported: {', '.join(GRANT_TYPES)}")
    return grant_types


def _read_scope(reader: MemberReader) -> tuple[str, ...]:
    text = reader.text("scope")
    if text is None:
        return ()
    try:
        return parse_scope(text)
    except ValueError as error:
        reader.problem("scope", str(error))
        return ()


def _read_jwks(document: object) -> JWKSet:
    """All keys, or an error: a reader may skip what it cannot use (RFC 7517 §5), which a registration must not."""
    keys = parse_jwks(document)
    if isinstance(document, Mapping) and len(document["keys"]) != len(keys.keys):
        raise JWKError("holds a key that cannot be used: of an unknown type, malformed, too weak or not for signatures")
    return keys


def _format_jwk(key: JWK) -> dict[str, object]:
    material = public_jwk(key.public_key, kid="", algorithm="")
    named = {"kid": key.kid, "alg": key.algorithm, "use": key.use}
    members: dict[str, object] = {name: value for name, value in (material | named).items() if value is not None}
    if key.x5c:
        members["x5c"] = [base64.b64encode(der).decode() for der in key.x5c]  # RFC 7517 §4.7: base64, not base64url
    return members
