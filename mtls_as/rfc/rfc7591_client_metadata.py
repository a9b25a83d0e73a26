"""RFC 7591, client metadata, with the members of RFC 8705 and of draft-ietf-oauth-spiffe-client-auth-02.

The members are read strictly: one that is unknown, misspelt or of the wrong type is an error, since a setting that is
silently ignored is worse. Every problem is reported, not only the first.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from mtls_as.rfc.member_reader import MemberReader
from mtls_as.rfc.rfc3986_uri import is_https_url
from mtls_as.rfc.rfc6749_framework import format_scope, parse_scope
from mtls_as.rfc.rfc7517_jwk import JWK, JWKError, JWKSet, parse_jwks, public_jwk
from mtls_as.rfc.rfc8705_mtls import ExpectedSubject, SubjectError, SubjectType, parse_expected_subject
from mtls_as.rfc.spiffe_id import SpiffeIDError, SpiffeIDPattern, parse_spiffe_id_pattern

TLS_CLIENT_AUTH: Final = "tls_client_auth"  # RFC 8705 §2.1.1
SELF_SIGNED_TLS_CLIENT_AUTH: Final = "self_signed_tls_client_auth"  # RFC 8705 §2.2.1
SPIFFE_X509: Final = "spiffe_x509"  # draft-ietf-oauth-spiffe-client-auth-02 §4
SPIFFE_JWT: Final = "spiffe_jwt"  # the same
SPIFFE_METHODS: Final = (SPIFFE_X509, SPIFFE_JWT)
CERTIFICATE_METHODS: Final = (TLS_CLIENT_AUTH, SELF_SIGNED_TLS_CLIENT_AUTH)
AUTHENTICATION_METHODS: Final = (*CERTIFICATE_METHODS, *SPIFFE_METHODS)
GRANT_TYPES: Final = ("client_credentials",)
"""The grant types a client may register for, also the default; RFC 7591's own default, authorization_code, is none."""

_SUBJECTS: Final = tuple(subject_type.value for subject_type in SubjectType)
_KEYS: Final = ("jwks", "jwks_uri")
_SPIFFE_ID: Final = "spiffe_id"
METADATA_MEMBERS: Final = (
    "token_endpoint_auth_method",
    *_SUBJECTS,
    *_KEYS,
    _SPIFFE_ID,
    "grant_types",
    "scope",
    "tls_client_certificate_bound_access_tokens",
    "client_name",
)
# The members that say who the client is, and the methods they belong to.
_OWNERS: Final = (
    *((member, TLS_CLIENT_AUTH) for member in _SUBJECTS),
    *((member, SELF_SIGNED_TLS_CLIENT_AUTH) for member in _KEYS),
    (_SPIFFE_ID, " and ".join(SPIFFE_METHODS)),
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
class SpiffeX509:
    """`spiffe_x509`: the certificate is the X.509-SVID of a workload that matches (SPIFFE draft §3.2, §5.1)."""

    spiffe_id: SpiffeIDPattern


@dataclass(frozen=True, slots=True, kw_only=True)
class SpiffeJwt:
    """`spiffe_jwt`: the assertion is the JWT-SVID of a workload that matches (SPIFFE draft §3.1, §5.1)."""

    spiffe_id: SpiffeIDPattern


Authentication = TlsClientAuth | SelfSignedTlsClientAuth | SpiffeX509 | SpiffeJwt
"""How a client authenticates: exactly one way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientMetadata:
    """A registration: one way to authenticate, and what the client may ask for (RFC 7591 §2, RFC 8705 §2.1.2, §3.4)."""

    authentication: Authentication
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
            case SpiffeX509():
                return SPIFFE_X509
            case SpiffeJwt():
                return SPIFFE_JWT
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
        case SpiffeX509(spiffe_id=pattern) | SpiffeJwt(spiffe_id=pattern):
            members[_SPIFFE_ID] = str(pattern)
    members["grant_types"] = list(metadata.grant_types)
    if metadata.scope:
        members["scope"] = format_scope(metadata.scope)
    members["tls_client_certificate_bound_access_tokens"] = metadata.tls_client_certificate_bound_access_tokens
    if metadata.client_name is not None:
        members["client_name"] = metadata.client_name
    return members


def _read_authentication(reader: MemberReader) -> Authentication | None:
    method = reader.text("token_endpoint_auth_method", required=True)
    match method:
        case None:
            return None
        case "tls_client_auth":
            _refuse_others(reader, method, _SUBJECTS)
            return _read_subject(reader)
        case "self_signed_tls_client_auth":
            _refuse_others(reader, method, _KEYS)
            return _read_keys(reader)
        case "spiffe_x509":
            _refuse_others(reader, method, (_SPIFFE_ID,))
            pattern = _read_spiffe_id(reader)
            return None if pattern is None else SpiffeX509(spiffe_id=pattern)
        case "spiffe_jwt":
            _refuse_others(reader, method, (_SPIFFE_ID,))
            pattern = _read_spiffe_id(reader)
            return None if pattern is None else SpiffeJwt(spiffe_id=pattern)
        case _:
            choice = " or ".join(AUTHENTICATION_METHODS)
            reader.problem("token_endpoint_auth_method", f"must be {choice}")
            return None


def _refuse_others(reader: MemberReader, method: str, own: Sequence[str]) -> None:
    for member, owner in _OWNERS:
        if member not in own and reader.has(member):
            reader.problem(member, f"belongs to {owner}, not to {method}")


def _read_spiffe_id(reader: MemberReader) -> SpiffeIDPattern | None:
    text = reader.text(_SPIFFE_ID, required=True)
    try:
        return None if text is None else parse_spiffe_id_pattern(text)
    except SpiffeIDError as error:
        reader.problem(_SPIFFE_ID, str(error))
        return None


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
