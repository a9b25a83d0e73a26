"""`[registration]`: its tables, what their keys mean, and what conflicts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from mtls_as.config.grant_tables import URL, Name, check_other_issuer, check_scope
from mtls_as.config.problems import Problem
from mtls_as.rfc.member_reader import did_you_mean
from mtls_as.rfc.rfc6749_framework import parse_scope
from mtls_as.rfc.rfc7517_jwk import JWKError, JWKSet, parse_jwks
from mtls_as.rfc.rfc7591_client_metadata import JWKSUri
from mtls_as.server.registration_policy import RegistrationPolicy, is_prefix


def check_prefix(text: str) -> str | None:
    """Where registrants may publish their keys."""
    if is_prefix(text):
        return None
    return "must be an https URL in its plainest form that ends with a slash, such as https://keys.partner.example/"


class _Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: unknown keys are errors."""


class AllowsTable(_Table, frozen=True):
    scope: Annotated[str, check_scope]
    trust: list[Name] = field(default_factory=list)
    grant_types: Annotated[
        list[Literal["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"]], Meta(min_length=1)
    ] = field(default_factory=lambda: ["client_credentials"])
    methods: Annotated[
        list[
            Literal[
                "tls_client_auth",
                "self_signed_tls_client_auth",
                "private_key_jwt",
                "client_secret_basic",
                "client_secret_post",
            ]
        ],
        Meta(min_length=1),
    ] = field(default_factory=lambda: ["tls_client_auth"])
    jwks_uri_prefixes: list[Annotated[str, check_prefix]] = field(default_factory=list)


class StatementIssuerTable(_Table, frozen=True):
    issuer: Annotated[str, check_other_issuer]
    jwks: dict[str, Any] | None = None
    jwks_uri: URL | None = None


class RegistrationTable(_Table, frozen=True):
    trust: Name | None = None
    allows: AllowsTable | None = None
    software_statement_issuers: list[StatementIssuerTable] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationSettings:
    """Who may register clients beside those with an initial access token, and whose software statements count."""

    trust: str | None
    """The trust domain whose certificates let their holders register clients by `policy`."""
    policy: RegistrationPolicy | None
    statement_issuers: Mapping[str, JWKSet | JWKSUri]


def registration_settings(table: RegistrationTable | None) -> RegistrationSettings | None:
    """The settings of a table without conflicts; None where clients cannot register themselves."""
    if table is None:
        return None
    allows = table.allows
    return RegistrationSettings(
        trust=table.trust,
        policy=None
        if allows is None
        else RegistrationPolicy(
            scope=parse_scope(allows.scope),
            trust=tuple(allows.trust),
            grant_types=tuple(allows.grant_types),
            methods=tuple(allows.methods),
            jwks_uri_prefixes=tuple(allows.jwks_uri_prefixes),
        ),
        statement_issuers={each.issuer: _keys(each) for each in table.software_statement_issuers},
    )


def find_registration_conflicts(table: Mapping[str, object]) -> Iterator[Problem]:
    """The problems of `[registration]` that its shape does not show. Works on the file's raw tables."""
    registration = table.get("registration")
    if not isinstance(registration, Mapping):
        return
    if ("trust" in registration) != ("allows" in registration):
        yield Problem("registration", "trust and allows come together: who may register, and what")
    domains = table.get("trust")
    known = list(domains) if isinstance(domains, Mapping) else []
    allows = registration.get("allows")
    allowed = allows.get("trust") if isinstance(allows, Mapping) else None
    named = [("trust", registration.get("trust"))]
    named += [("allows.trust", name) for name in (allowed if isinstance(allowed, list) else [])]
    for key, name in named:
        if isinstance(name, str) and name not in known:
            message = f'there is no trust domain "{name}"' + did_you_mean(name, known)
            yield Problem(f"registration.{key}", message)
    issuers = registration.get("software_statement_issuers")
    seen: set[object] = set()
    for index, issuer in enumerate(issuers if isinstance(issuers, list) else []):
        if isinstance(issuer, Mapping):
            yield from _find_issuer_conflicts(issuer, f"registration.software_statement_issuers[{index}]", seen)


def _find_issuer_conflicts(issuer: Mapping[str, object], place: str, seen: set[object]) -> Iterator[Problem]:
    name = issuer.get("issuer")
    if isinstance(name, str):
        if name in seen:
            yield Problem(f"{place}.issuer", "is there twice")
        seen.add(name)
    if ("jwks" in issuer) == ("jwks_uri" in issuer):
        yield Problem(place, "needs either jwks or jwks_uri")
    elif "jwks" in issuer:
        try:
            if not parse_jwks(issuer["jwks"]).keys:
                yield Problem(f"{place}.jwks", "holds no key that can be used")
        except JWKError as error:
            yield Problem(f"{place}.jwks", str(error))


def _keys(table: StatementIssuerTable) -> JWKSet | JWKSUri:
    return parse_jwks(table.jwks) if table.jwks_uri is None else JWKSUri(url=table.jwks_uri)
