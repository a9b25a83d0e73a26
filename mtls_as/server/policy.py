"""What a client may have: one resource, and there what it and the resource are registered for.

That is scope (RFC 6749 §3.3, RFC 8707) and authorization details (RFC 9396), both within what an earlier token or an
assertion leaves, where a grant has one.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, Form, OAuthError, parse_scope
from mtls_as.rfc.rfc8693_token_exchange import Chain, format_chain
from mtls_as.rfc.rfc9396_rar import (
    AuthorizationDetailsError,
    Details,
    equals,
    is_location_within,
    parse_authorization_details,
    types_of,
)
from mtls_as.server.authorization_details import AuthorizationDetailsTypes
from mtls_as.server.clients import Client
from mtls_as.server.resources import Resource

_MAX_REMEMBERED: Final = 4096
"""Decisions, each of them positive, and for a client that has authenticated."""
_MAX_REMEMBERED_SCOPE: Final = 256
"""Characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """What a token will say and allow: `scope` at the resource server `resource`, for at most `lifetime` seconds."""

    resource: str
    scope: tuple[str, ...]
    lifetime: int
    ends_by: float | None = None
    """Its latest end, in epoch seconds, beside that of its lifetime."""
    subject: str | None = None
    """Whom the token speaks of; None for the client itself."""
    actors: Chain = ()
    """Who acts for the subject (RFC 8693 §4.1)."""
    authorization_details: Details = ()
    claims: Mapping[str, object] = field(default_factory=dict)
    """Further claims, none of them reserved."""
    issued_token_type: str | None = None
    """What the answer of an exchange calls the token (RFC 8693 §2.2.1)."""
    source_token_id: str | None = None
    """The `jti` of the token or assertion that it was given for."""

    def further_claims(self, issuer: str) -> Mapping[str, object]:
        """The claims of a token by `issuer` that RFC 9068 does not know."""
        if not (self.claims or self.actors or self.authorization_details):
            return self.claims
        members = dict(self.claims)
        actor = format_chain(self.actors, issuer=issuer)
        if actor is not None:
            members["act"] = actor
        if self.authorization_details:
            members["authorization_details"] = list(self.authorization_details)
        return members


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """What a new token is never to go beyond: that of the token or assertion it is given for."""

    scope: Collection[str]
    authorization_details: Details


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The resources there are, the life of a token in seconds, and the types of authorization details."""

    resources: Mapping[str, Resource]
    lifetime: int
    details_types: AuthorizationDetailsTypes = field(default_factory=AuthorizationDetailsTypes)
    _decided: dict[tuple[str, str | None, tuple[str, ...]], tuple[Client, Authorization]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def of(
        cls, resources: Iterable[Resource], *, lifetime: int, details_types: AuthorizationDetailsTypes | None = None
    ) -> "Policy":
        """A policy over `resources`, each found by its identifier."""
        return cls(
            resources=MappingProxyType({r.identifier: r for r in resources}),
            lifetime=lifetime,
            details_types=details_types or AuthorizationDetailsTypes(),
        )

    def authorize(
        self, client: Client, form: Form, *, within: Ceiling | None = None, targets: Collection[str] | None = None
    ) -> Authorization:
        """Decide resource, scope and authorization details of a request; `targets` are its `resource`s by default.

        A token is for one resource, so that no resource server can use it at another (RFC 8707 §3). Without one, what
        is asked for must belong to one. Without `scope`, the client gets all that it holds at the resource and that
        `within` leaves; but nothing beside the authorization details that it asks for, since those are exact. Without
        `authorization_details`, it gets those of `within` that fit there.

        Raises `OAuthError` `invalid_scope`, `invalid_target` or `invalid_authorization_details`.
        """
        scope = form.get("scope")
        is_plain = within is None and targets is None and "authorization_details" not in form
        if not is_plain or len(scope or "") > _MAX_REMEMBERED_SCOPE:
            return self._decide(client, form, within=within, targets=targets)
        # What follows from registrations alone is decided once; a client that has changed is another object.
        question = (client.client_id, scope, form.every("resource"))
        decided_for, authorization = self._decided.get(question, _UNDECIDED)
        if authorization is None or decided_for is not client:
            authorization = self._decide(client, form, within=None, targets=None)
            if len(self._decided) >= _MAX_REMEMBERED:
                self._decided.clear()
            self._decided[question] = (client, authorization)
        return authorization

    def _decide(
        self, client: Client, form: Form, *, within: Ceiling | None, targets: Collection[str] | None
    ) -> Authorization:
        held = tuple(token for token in client.metadata.scope if within is None or token in within.scope)
        scope = _requested_scope(held, form)
        details = self._requested_details(form)
        if details and within is not None:
            _check_within(details, within.authorization_details)
        resource = self._resource(client, form.every("resource") if targets is None else targets, scope, details)
        if details:
            _check_fit(details, client, resource)
        elif within is not None:
            details = tuple(d for d in within.authorization_details if _misfit(d, client, resource) is None)
        if scope is None:
            asked_for_details = "authorization_details" in form
            scope = () if asked_for_details else tuple(token for token in resource.scopes if token in held)
        for token in scope:
            if token not in resource.scopes:
                raise _invalid_scope(f"{token} is no scope of {resource.identifier}")
        if not scope and not details:
            raise _invalid_scope(f"nothing is left of what the client holds at {resource.identifier}")
        return Authorization(
            resource=resource.identifier,
            scope=scope,
            lifetime=self.lifetime if client.access_token_lifetime is None else client.access_token_lifetime,
            authorization_details=details,
            claims={**resource.claims, **client.claims} if resource.claims or client.claims else _NO_CLAIMS,
        )

    def _requested_details(self, form: Form) -> Details:
        text = form.get("authorization_details")
        if text is None:
            return ()
        try:
            details = parse_authorization_details(text)
            self.details_types.check(details)
        except AuthorizationDetailsError as error:
            raise _invalid_details(str(error)) from None
        return details

    def _resource(
        self, client: Client, targets: Collection[str], scope: tuple[str, ...] | None, details: Details
    ) -> Resource:
        if len(targets) > 1:
            raise _invalid_target("a token is for one resource, and the request names several")
        for target in targets:
            resource = self.resources.get(target)
            if resource is None or not _may_use(client, resource):
                raise _invalid_target(f"{target} is unknown, or the client holds nothing there")
            return resource
        types = set(types_of(details))
        wanted = set(scope or ()) if scope is not None or details else set(client.metadata.scope)
        candidates = [
            resource
            for resource in self.resources.values()
            if (wanted & set(resource.scopes) or types & set(resource.authorization_details_types))
            and _may_use(client, resource)
        ]
        if len(candidates) != 1:
            raise _invalid_target(f"the scope belongs to {len(candidates)} resources, and the request names none")
        return candidates[0]


_UNDECIDED: Final = (None, None)
_NO_CLAIMS: Mapping[str, object] = MappingProxyType({})


def _may_use(client: Client, resource: Resource) -> bool:
    if client.resources and resource.identifier not in client.resources:
        return False
    types = set(client.metadata.authorization_details_types)
    holds_type = bool(types) and not types.isdisjoint(resource.authorization_details_types)
    return holds_type or not set(client.metadata.scope).isdisjoint(resource.scopes)


def _requested_scope(held: tuple[str, ...], form: Form) -> tuple[str, ...] | None:
    text = form.get("scope")
    if text is None:
        return None
    try:
        requested = parse_scope(text)
    except ValueError as error:
        raise _invalid_scope(str(error)) from None
    for token in requested:
        if token not in held:
            raise _invalid_scope(f"the client, or what it asks with, does not hold {token}")
    return requested


def _check_within(details: Details, granted: Details) -> None:
    """Each object is one of those that were granted, to the last member: what is narrower nobody here can tell."""
    for detail in details:
        if not any(equals(detail, other) for other in granted):
            raise _invalid_details(f"an object of the type {detail['type']} is not among those that were granted")


def _check_fit(details: Details, client: Client, resource: Resource) -> None:
    for detail in details:
        misfit = _misfit(detail, client, resource)
        if misfit is not None:
            raise _invalid_details(misfit)


def _misfit(detail: Mapping[str, object], client: Client, resource: Resource) -> str | None:
    """Why an object is not for this client, or not for this resource."""
    kind, locations = str(detail["type"]), detail.get("locations", [])
    if kind not in client.metadata.authorization_details_types:
        return f"the client is not registered for the type {kind}"
    if kind not in resource.authorization_details_types:
        return f"{resource.identifier} does not know the type {kind}"
    if isinstance(locations, list) and not all(
        is_location_within(str(location), resource.identifier) for location in locations
    ):
        return f"locations name something outside of {resource.identifier}"
    return None


def _invalid_scope(detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_SCOPE, Refusal.SCOPE_NOT_ALLOWED, detail)


def _invalid_target(detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_TARGET, Refusal.RESOURCE_NOT_ALLOWED, detail)


def _invalid_details(detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_AUTHORIZATION_DETAILS, Refusal.AUTHORIZATION_DETAILS_INVALID, detail)
