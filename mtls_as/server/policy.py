"""What a client may have: one resource, and of its scopes those which that resource knows (RFC 6749 §3.3, RFC 8707)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, Form, OAuthError, parse_scope
from mtls_as.server.clients import Client
from mtls_as.server.resources import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """What a token will allow: `scope` at the resource server `resource`, for at most `lifetime` seconds."""

    resource: str
    scope: tuple[str, ...]
    lifetime: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The resources there are, and the life of a token in seconds."""

    resources: Mapping[str, Resource]
    lifetime: int

    @classmethod
    def of(cls, resources: Iterable[Resource], *, lifetime: int) -> "Policy":
        """A policy over `resources`, each found by its identifier."""
        return cls(resources=MappingProxyType({r.identifier: r for r in resources}), lifetime=lifetime)

    def authorize(self, client: Client, form: Form) -> Authorization:
        """Decide resource and scope of a request.

        A token is for one resource, so that no resource server can use it at another (RFC 8707 §3). Without `resource`,
        the scopes asked for must belong to one; without `scope`, the client gets all that it holds at the resource.

        Raises `OAuthError` `invalid_scope` or `invalid_target`.
        """
        requested = _requested_scope(client, form)
        resource = self._resource(client, form, requested)
        held = set(client.metadata.scope)
        if requested is None:
            scope = tuple(token for token in resource.scopes if token in held)
        else:
            scope = requested
            foreign = [token for token in scope if token not in resource.scopes]
            if foreign:
                raise _invalid_scope(f"{foreign[0]} is no scope of {resource.identifier}")
        return Authorization(resource=resource.identifier, scope=scope, lifetime=self._lifetime(client))

    def _resource(self, client: Client, form: Form, requested: tuple[str, ...] | None) -> Resource:
        named = form.every("resource")
        if len(named) > 1:
            raise _invalid_target("a token is for one resource, and the request names several")
        if named:
            resource = self.resources.get(named[0])
            if resource is None or not set(client.metadata.scope) & set(resource.scopes):
                raise _invalid_target(f"{named[0]} is unknown, or the client holds no scope there")
            return resource
        wanted = set(client.metadata.scope if requested is None else requested)
        candidates = [resource for resource in self.resources.values() if wanted & set(resource.scopes)]
        if len(candidates) != 1:
            raise _invalid_target(f"the scope belongs to {len(candidates)} resources, and the request names none")
        return candidates[0]

    def _lifetime(self, client: Client) -> int:
        return self.lifetime if client.access_token_lifetime is None else client.access_token_lifetime


def _requested_scope(client: Client, form: Form) -> tuple[str, ...] | None:
    text = form.get("scope")
    if text is None:
        return None
    try:
        requested = parse_scope(text)
    except ValueError as error:
        raise _invalid_scope(str(error)) from None
    held = set(client.metadata.scope)
    for token in requested:
        if token not in held:
            raise _invalid_scope(f"the client does not hold {token}")
    return requested


def _invalid_scope(detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_SCOPE, Refusal.SCOPE_NOT_ALLOWED, detail)


def _invalid_target(detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_TARGET, Refusal.RESOURCE_NOT_ALLOWED, detail)
