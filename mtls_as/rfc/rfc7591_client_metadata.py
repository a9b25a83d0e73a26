"""RFC 7591, client metadata, with the members of RFC 8705, RFC 9396 and draft-ietf-oauth-spiffe-client-auth-02.

The members are read strictly: one that is unknown, misspelt or of the wrong type is an error, since a setting that is
silently ignored is worse. Every problem is reported, not only the first.
"""

import base64
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar, assert_never

from mtls_as.rfc.member_reader import MemberReader
from mtls_as.rfc.rfc3986_uri import is_https_url
from mtls_as.rfc.rfc6749_framework import format_scope, parse_scope
from mtls_as.rfc.rfc7517_jwk import JWK, JWKError, JWKSet, parse_jwks, public_jwk
from mtls_as.rfc.rfc7519_jwt import fits
from mtls_as.rfc.rfc7523_assertion import ALGORITHMS as ASSERTION_ALGORITHMS
from mtls_as.rfc.rfc7523_grant import GRANT_TYPE as JWT_BEARER
from mtls_as.rfc.rfc8693_token_exchange import GRANT_TYPE as TOKEN_EXCHANGE
from mtls_as.rfc.rfc8705_mtls import ExpectedSubject, SubjectError, SubjectType, parse_expected_subject
from mtls_as.rfc.spiffe_id import SpiffeIDError, SpiffeIDPattern, parse_spiffe_id_pattern

TLS_CLIENT_AUTH: Final = "tls_client_auth"  # RFC 8705 §2.1.1
SELF_SIGNED_TLS_CLIENT_AUTH: Final = "self_signed_tls_client_auth"  # RFC 8705 §2.2.1
SPIFFE_X509: Final = "spiffe_x509"  # draft-ietf-oauth-spiffe-client-auth-02 §4
SPIFFE_JWT: Final = "spiffe_jwt"  # the same
PRIVATE_KEY_JWT: Final = "private_key_jwt"  # RFC 8414 §2, OpenID Connect Core §9
CLIENT_SECRET_BASIC: Final = "client_secret_basic"  # noqa: S105 # RFC 7591 §2: a method's name
CLIENT_SECRET_POST: Final = "client_secret_post"  # noqa: S105 # the same
NONE: Final = "none"  # RFC 7591 §2
SPIFFE_METHODS: Final = (SPIFFE_X509, SPIFFE_JWT)
SECRET_METHODS: Final = (CLIENT_SECRET_BASIC, CLIENT_SECRET_POST)
CERTIFICATE_METHODS: Final = (TLS_CLIENT_AUTH, SELF_SIGNED_TLS_CLIENT_AUTH)
GENERAL_METHODS: Final = (*CERTIFICATE_METHODS, PRIVATE_KEY_JWT, *SECRET_METHODS)
"""The methods that need nothing of the server's configuration."""
AUTHENTICATION_METHODS: Final = (*GENERAL_METHODS, *SPIFFE_METHODS, NONE)
CERTIFICATE_PROOFS: Final = frozenset({*CERTIFICATE_METHODS, SPIFFE_X509})
"""The methods by which the certificate of the connection proves who the client is."""
DEFAULT_GRANT_TYPES: Final = ("client_credentials",)
"""RFC 7591's own default, authorization_code, is no grant of this server."""
GRANT_TYPES: Final = (*DEFAULT_GRANT_TYPES, TOKEN_EXCHANGE, JWT_BEARER)
"""The grant types a client may register for."""
PUBLIC_GRANT_TYPES: Final[frozenset[str]] = frozenset()
"""Those that a client may use without authenticating: none yet; client_credentials never is one (RFC 6749 §4.4.2)."""

_SUBJECTS: Final = tuple(subject_type.value for subject_type in SubjectType)
_KEYS: Final = ("jwks", "jwks_uri")
_SPIFFE_ID: Final = "spiffe_id"
_BOUND_TWICE: Final = "must not be true with tls_client_certificate_bound_access_tokens: a token has one binding"
METADATA_MEMBERS: Final = (
    "token_endpoint_auth_method",
    *_SUBJECTS,
    *_KEYS,
    _SPIFFE_ID,
    "grant_types",
    "scope",
    "authorization_details_types",
    "tls_client_certificate_bound_access_tokens",
    "dpop_bound_access_tokens",
    "client_name",
)
# The members that say who the client is, and the methods they belong to.
_OWNERS: Final = (
    *((member, (TLS_CLIENT_AUTH,)) for member in _SUBJECTS),
    *((member, (SELF_SIGNED_TLS_CLIENT_AUTH, PRIVATE_KEY_JWT)) for member in _KEYS),
    (_SPIFFE_ID, SPIFFE_METHODS),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKeyJwt:
    """`private_key_jwt`: an assertion signed with one of the registered keys (RFC 7523 §2.2), which names it by `kid`.

    Registered directly, each key has a `kid` and can make such signatures. Published keys are judged as they come.
    """

    keys: JWKSet | JWKSUri

    def __post_init__(self) -> None:
        if isinstance(self.keys, JWKSet) and (problem := _signing_keys_problem(self.keys)):
            raise ClientMetadataError([("jwks", problem)])


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSecret:
    """`client_secret_basic` or `client_secret_post`: a secret that the server made (RFC 6749 §2.3.1).

    The secret itself is no metadata: the server keeps it elsewhere.
    """

    method: Literal["client_secret_basic", "client_secret_post"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAuthentication:
    """`none`: a public client, which proves nothing but its certificate, if it has one (RFC 8705 §4)."""


Authentication = (
    TlsClientAuth | SelfSignedTlsClientAuth | PrivateKeyJwt | ClientSecret | SpiffeX509 | SpiffeJwt | NoAuthentication
)
"""How a client authenticates: exactly one way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientMetadata:
    """A registration: one way to authenticate, and what the client may ask for (RFC 7591 §2, RFC 8705 §2.1.2, §3.4)."""

    authentication: Authentication
    grant_types: tuple[str, ...] = DEFAULT_GRANT_TYPES
    scope: tuple[str, ...] = ()
    authorization_details_types: tuple[str, ...] = ()
    """The types of `authorization_details` that it may ask for (RFC 9396 §10)."""
    tls_client_certificate_bound_access_tokens: bool = True
    """True unless something else is asked for; RFC 8705 §3.4 has it the other way round."""
    dpop_bound_access_tokens: bool = False
    """Whether tokens are bound to the key of DPoP proofs instead (RFC 9449 §5.2). Neither asks for bearer tokens."""
    client_name: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.authentication, NoAuthentication) and not PUBLIC_GRANT_TYPES.issuperset(self.grant_types):
            raise ClientMetadataError([("token_endpoint_auth_method", _no_public_client())])
        if self.dpop_bound_access_tokens and self.tls_client_certificate_bound_access_tokens:
            raise ClientMetadataError([("dpop_bound_access_tokens", _BOUND_TWICE)])

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
            case PrivateKeyJwt():
                return PRIVATE_KEY_JWT
            case ClientSecret(method=method):
                return method
            case NoAuthentication():
                return NONE
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
    details_types = reader.texts("authorization_details_types") or ()
    by_dpop = reader.flag("dpop_bound_access_tokens", default=False)
    by_certificate = reader.flag("tls_client_certificate_bound_access_tokens", default=not by_dpop)
    client_name = reader.text("client_name")
    if isinstance(authentication, NoAuthentication) and not PUBLIC_GRANT_TYPES.issuperset(grant_types):
        reader.problem("token_endpoint_auth_method", _no_public_client())
        return None
    if by_dpop and by_certificate:
        reader.problem("dpop_bound_access_tokens", _BOUND_TWICE)
        return None
    if authentication is None:
        return None
    return ClientMetadata(
        authentication=authentication,
        grant_types=grant_types,
        scope=scope,
        authorization_details_types=details_types,
        tls_client_certificate_bound_access_tokens=by_certificate,
        dpop_bound_access_tokens=by_dpop,
        client_name=client_name,
    )


def format_client_metadata(metadata: ClientMetadata) -> dict[str, object]:
    """The members that `parse_client_metadata` reads back to the same value; JSON types only."""
    members: dict[str, object] = {"token_endpoint_auth_method": metadata.token_endpoint_auth_method}
    match metadata.authentication:
        case TlsClientAuth(subject=subject):
            members[subject.type.value] = subject.text
        case SelfSignedTlsClientAuth(keys=JWKSUri(url=url)) | PrivateKeyJwt(keys=JWKSUri(url=url)):
            members["jwks_uri"] = url
        case SelfSignedTlsClientAuth(keys=JWKSet(keys=keys)) | PrivateKeyJwt(keys=JWKSet(keys=keys)):
            members["jwks"] = {"keys": [_format_jwk(key) for key in keys]}
        case SpiffeX509(spiffe_id=pattern) | SpiffeJwt(spiffe_id=pattern):
            members[_SPIFFE_ID] = str(pattern)
    members["grant_types"] = list(metadata.grant_types)
    if metadata.scope:
        members["scope"] = format_scope(metadata.scope)
    if metadata.authorization_details_types:
        members["authorization_details_types"] = list(metadata.authorization_details_types)
    members["tls_client_certificate_bound_access_tokens"] = metadata.tls_client_certificate_bound_access_tokens
    if metadata.dpop_bound_access_tokens:
        members["dpop_bound_access_tokens"] = True
    if metadata.client_name is not None:
        members["client_name"] = metadata.client_name
    return members


def _read_authentication(reader: MemberReader) -> Authentication | None:
    method = reader.text("token_endpoint_auth_method", required=True)
    if method is None:
        return None
    if method not in AUTHENTICATION_METHODS:
        reader.problem("token_endpoint_auth_method", f"must be {' or '.join(AUTHENTICATION_METHODS)}")
        return None
    _refuse_others(reader, method)
    match method:
        case "tls_client_auth":
            return _read_subject(reader)
        case "self_signed_tls_client_auth":
            keys = _read_keys(reader, method)
            return None if keys is None else _made(reader, SelfSignedTlsClientAuth, keys)
        case "private_key_jwt":
            keys = _read_keys(reader, method)
            return None if keys is None else _made(reader, PrivateKeyJwt, keys)
        case "client_secret_basic" | "client_secret_post":
            return ClientSecret(method=method)
        case "none":
            return NoAuthentication()
        case _:
            pattern = _read_spiffe_id(reader)
            if pattern is None:
                return None
            return SpiffeX509(spiffe_id=pattern) if method == SPIFFE_X509 else SpiffeJwt(spiffe_id=pattern)


def _refuse_others(reader: MemberReader, method: str) -> None:
    """Members that say who the client is, and belong to another method."""
    for member, owners in _OWNERS:
        if method not in owners and reader.has(member):
            reader.problem(member, f"belongs to {' and '.join(owners)}, not to {method}")


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


def _read_keys(reader: MemberReader, method: str) -> JWKSet | JWKSUri | None:
    """`jwks` or `jwks_uri`, never both (RFC 7591 §2)."""
    if reader.has("jwks") and reader.has("jwks_uri"):
        reader.problem("jwks_uri", "must not be given together with jwks")
        return None
    try:
        if reader.has("jwks"):
            return _read_jwks(reader.value("jwks"))
        url = reader.text("jwks_uri") if reader.has("jwks_uri") else None
        if url is not None:
            return JWKSUri(url=url)
    except JWKError as error:
        reader.problem("jwks", str(error))
    except ClientMetadataError as error:
        reader.problems.extend(error.problems)
    if not reader.has("jwks") and not reader.has("jwks_uri"):
        reader.problem("", f"{method} needs jwks or jwks_uri")
    return None


_ByKeys = TypeVar("_ByKeys", SelfSignedTlsClientAuth, PrivateKeyJwt)


def _made(reader: MemberReader, method: type[_ByKeys], keys: JWKSet | JWKSUri) -> _ByKeys | None:
    try:
        return method(keys=keys)
    except ClientMetadataError as error:
        reader.problems.extend(error.problems)
        return None


def _signing_keys_problem(keys: JWKSet) -> str | None:
    if not keys.keys:
        return "holds no key that can be used"
    for key in keys.keys:
        if key.kid is None:
            return "holds a key without kid, by which assertions name the key that signed them"
        if key.use not in (None, "sig") or not any(
            fits(algorithm, key.public_key) for algorithm in ASSERTION_ALGORITHMS if key.algorithm in (None, algorithm)
        ):
            return f"holds a key that cannot sign with {', '.join(ASSERTION_ALGORITHMS)}"
    return None


def _no_public_client() -> str:
    allowed = ", ".join(sorted(PUBLIC_GRANT_TYPES))
    grants = f"only {allowed} may be used" if allowed else "no grant of this server may be used"
    return f"cannot be none: {grants} by a client that does not authenticate (RFC 6749 §4.4.2)"


def _read_grant_types(reader: MemberReader) -> tuple[str, ...]:
    grant_types = reader.texts("grant_types")
    if grant_types is None:
        return DEFAULT_GRANT_TYPES
    if not grant_types:
        reader.problem("grant_types", "must not be empty")
    for grant_type in grant_types:
        if grant_type not in GRANT_TYPES:
            reader.problem("grant_types", f"holds one that is not supported; supported: {', '.join(GRANT_TYPES)}")
    return grant_types


@functools.lru_cache(maxsize=256)
def _scope(text: str) -> tuple[str, ...]:
    """One tuple for all the clients with the same scope."""
    return parse_scope(text)


def _read_scope(reader: MemberReader) -> tuple[str, ...]:
    text = reader.text("scope")
    if text is None:
        return ()
    try:
        return _scope(text)
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
