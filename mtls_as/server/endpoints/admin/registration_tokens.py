"""Initial access tokens by operators: they let others register clients (RFC 7591 §1.2)."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Protocol

from mtls_as.rfc.member_reader import MemberReader, did_you_mean
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc3339_time import format_time
from mtls_as.rfc.rfc4648_base64url import decode_base64url
from mtls_as.rfc.rfc6749_framework import parse_scope
from mtls_as.rfc.rfc7591_client_metadata import TLS_CLIENT_AUTH
from mtls_as.rfc.rfc8693_token_exchange import GRANT_TYPE as TOKEN_EXCHANGE
from mtls_as.server.endpoints.admin import routes
from mtls_as.server.endpoints.admin.call import (
    AdminCall,
    AdministrationError,
    AdminOutcome,
    AdminResult,
    Handlers,
    require_power,
)
from mtls_as.server.events import RequestEvent
from mtls_as.server.registration_policy import REGISTRABLE_METHODS, RegistrationPolicy, is_prefix
from mtls_as.server.registrations import InitialAccessToken, make_token

CLIENT_CREDENTIALS: Final = "client_credentials"
REGISTRABLE_GRANTS: Final = (CLIENT_CREDENTIALS, TOKEN_EXCHANGE)
"""The grants that a token can allow: others need what no registrant can register."""
_MEMBERS: Final = ("scope", "trust", "methods", "grant_types", "jwks_uri_prefixes", "expires_in", "uses")
_LIVES: Final = range(1, 10 * 366 * 86_400)
_USES: Final = range(1, 1_000_001)
_DAY: Final = 86_400
_NAME_LENGTH: Final = 12


class InitialAccessTokenStore(Protocol):
    """Where the tokens are. Every method raises `StorageUnavailable`."""

    async def add_initial_access_token(self, token: InitialAccessToken) -> None:
        """Store a new token."""
        ...

    async def initial_access_tokens(self) -> tuple[InitialAccessToken, ...]:
        """Every token, the one that ends first at the beginning."""
        ...

    async def delete_initial_access_token(self, digest: str) -> None:
        """Forget a token, if it is there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationTokenAdministration:
    """Makes, lists and deletes initial access tokens. None allows more of the administration than its maker holds."""

    store: InitialAccessTokenStore
    is_open: bool
    """Whether clients can register themselves at all."""
    scopes: Collection[str]
    """Of all resources."""
    domains: Collection[str]
    """The trust domains."""

    def handlers(self) -> Handlers:
        return {
            routes.LIST_REGISTRATION_TOKENS: self.list,
            routes.ADD_REGISTRATION_TOKEN: self.add,
            routes.DELETE_REGISTRATION_TOKEN: self.delete,
        }

    async def list(self, _call: AdminCall, _event: RequestEvent) -> AdminResult:
        """Every token, by the beginning of its hash."""
        return AdminResult(document={"tokens": [_described(each) for each in await self.store.initial_access_tokens()]})

    async def add(self, call: AdminCall, event: RequestEvent) -> AdminResult:
        """Make a token, and show it once. Raises `AdministrationError`."""
        if not self.is_open:
            message = "clients cannot register themselves: the configuration has no [registration]"
            raise AdministrationError(Refusal.TARGET_CONFLICT, message)
        reader = call.members(_MEMBERS)
        policy = self._policy(reader)
        lives, uses = reader.whole_number("expires_in", _LIVES), reader.whole_number("uses", _USES)
        call.refuse_problems(reader)
        require_power(call, policy.scope)
        text, digest = make_token()
        ends = call.at + (_DAY if lives is None else lives)
        token = InitialAccessToken(digest=digest, policy=policy, uses_left=uses or 1, expires_at=ends)
        event.target = f"{_name(token)} for {' '.join(policy.scope)}"
        await self.store.add_initial_access_token(token)
        return AdminResult(
            document={
                "initial_access_token": text,
                "name": _name(token),
                "expires_at": format_time(ends),
                "uses": token.uses_left,
            },
            outcome=AdminOutcome.CREATED,
        )

    async def delete(self, call: AdminCall, event: RequestEvent) -> AdminResult:
        """Forget a token; clients that were registered with it stay."""
        name = event.target = call.parameters["name"]
        for token in await self.store.initial_access_tokens():
            if _name(token) == name:
                await self.store.delete_initial_access_token(token.digest)
                return AdminResult()
        raise AdministrationError(Refusal.TARGET_UNKNOWN, f"there is no initial access token {name}")

    def _policy(self, reader: MemberReader) -> RegistrationPolicy:
        """What the token is to allow; its problems are noted in the reader."""
        scope = self._scope(reader)
        trust = reader.texts("trust") or ()
        methods = reader.texts("methods") or (TLS_CLIENT_AUTH,)
        grants = reader.texts("grant_types") or (CLIENT_CREDENTIALS,)
        prefixes = reader.texts("jwks_uri_prefixes") or ()
        for name in trust:
            if name not in self.domains:
                problem = f'there is no trust domain "{name}"' + did_you_mean(name, self.domains)
                reader.problem("trust", problem)
        for member, given, known in (
            ("methods", methods, REGISTRABLE_METHODS),
            ("grant_types", grants, REGISTRABLE_GRANTS),
        ):
            for name in given:
                if name not in known:
                    reader.problem(member, f"{name} is none that registrants can have" + did_you_mean(name, known))
        for prefix in prefixes:
            if not is_prefix(prefix):
                message = f"{prefix} is no https URL in its plainest form that ends with a slash"
                reader.problem("jwks_uri_prefixes", message)
        if TLS_CLIENT_AUTH in methods and not trust:
            reader.problem("trust", f"is missing: with {TLS_CLIENT_AUTH} clients need a trust domain")
        return RegistrationPolicy(
            scope=scope, trust=trust, methods=methods, grant_types=grants, jwks_uri_prefixes=prefixes
        )

    def _scope(self, reader: MemberReader) -> tuple[str, ...]:
        text = reader.text("scope", required=True)
        if text is None:
            return ()
        try:
            scope = parse_scope(text)
        except ValueError as error:
            reader.problem("scope", str(error))
            return ()
        for token in scope:
            if token not in self.scopes:
                reader.problem("scope", f'no resource knows the scope "{token}"' + did_you_mean(token, self.scopes))
        return scope


def _described(token: InitialAccessToken) -> dict[str, object]:
    return {
        "name": _name(token),
        "uses_left": token.uses_left,
        "expires_at": format_time(token.expires_at),
        "trust": " ".join(token.policy.trust),
        "scope": " ".join(token.policy.scope),
        "methods": " ".join(token.policy.methods),
    }


def _name(token: InitialAccessToken) -> str:
    """In hexadecimal digits: the digest itself may begin with a hyphen, as options do."""
    return decode_base64url(token.digest).hex()[:_NAME_LENGTH]
