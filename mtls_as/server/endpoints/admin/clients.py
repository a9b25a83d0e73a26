"""Clients by operators: the stored ones are added, replaced and deleted, the declared ones are shown beside them."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc4648_base64url import Base64URLError, decode_base64url, encode_base64url
from mtls_as.rfc.rfc6749_framework import ErrorCode
from mtls_as.rfc.rfc7591_client_metadata import SECRET_METHODS, ClientMetadataError
from mtls_as.server.client_secrets import StoredSecret, make_secret
from mtls_as.server.clients import Client, ClientSource, is_client_id, parse_client
from mtls_as.server.endpoints.admin import routes
from mtls_as.server.endpoints.admin.call import (
    AdminCall,
    AdministrationError,
    AdminOutcome,
    AdminResult,
    Handler,
    Handlers,
    page_limit,
    require_power,
)
from mtls_as.server.endpoints.admin.client_documents import client_version, describe_client
from mtls_as.server.events import RequestEvent
from mtls_as.server.ports import ClientChanged, ClientExists, ClientHasNoSecrets, ClientNotFound

_OVERLAPS: Final = range(366 * 86_400 + 1)
_DEFAULT_OVERLAP: Final = 86_400
_T = TypeVar("_T")
_DECLARED, _STORED = "d", "s"


class ClientStore(Protocol):
    """Where the clients are that are not declared. Every method raises `StorageUnavailable`."""

    async def find(self, client_id: str) -> Client | None:
        """The client, or None."""
        ...

    async def page(self, *, after: str | None, limit: int) -> tuple[Client, ...]:
        """So many clients in the order of their names, from the one behind `after` on."""
        ...

    async def add(self, client: Client) -> None:
        """Store a new client, with its secrets. Raises `ClientExists`."""
        ...

    async def replace(self, client: Client, *, expected: Client | None = None) -> None:
        """Store another registration under the same name. Raises `ClientNotFound`, `ClientChanged`."""
        ...

    async def add_secret(self, client_id: str, new: StoredSecret, *, at: float, overlap: float) -> Client:
        """The client with a new secret. Raises `ClientNotFound`, `ClientHasNoSecrets`."""
        ...

    async def set_enabled(self, client_id: str, enabled: bool) -> None:  # noqa: FBT001 - the value to set
        """Let a client in, or keep it out. Raises `ClientNotFound`."""
        ...

    async def delete(self, client_id: str) -> None:
        """Forget a client, and end its tokens. Raises `ClientNotFound`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAdministration:
    """Does what operators want done to clients. Nobody gives a client more of the administration than he has."""

    store: ClientStore
    declared: Mapping[str, Client]
    find_problems: Callable[[Client], tuple[tuple[str, str], ...]]
    """What keeps a client from working here: names of things that do not exist."""
    forget: Callable[[Iterable[str]], None]
    """Tells this node which clients have changed; the others notice by themselves."""

    def handlers(self) -> Handlers:
        return {
            routes.LIST_CLIENTS: self.list,
            routes.ADD_CLIENT: self.add,
            routes.SHOW_CLIENT: self.show,
            routes.REPLACE_CLIENT: self.replace,
            routes.DELETE_CLIENT: self.delete,
            routes.ENABLE_CLIENT: self._setting(enabled=True),
            routes.DISABLE_CLIENT: self._setting(enabled=False),
            routes.ROTATE_SECRET: self.rotate_secret,
        }

    async def list(self, call: AdminCall, _event: RequestEvent) -> AdminResult:
        """A page of the declared clients, then of the stored ones, each in the order of their names."""
        limit = page_limit(call.query)
        kind, after = _read_cursor(call.query.get("cursor"))
        # One more than is shown tells whether there is a next page.
        found: list[Client] = []
        if kind == _DECLARED:
            names = sorted(name for name in self.declared if after is None or name > after)
            found += [self.declared[name] for name in names[: limit + 1]]
            after = None
        if len(found) <= limit:
            found += await self.store.page(after=after, limit=limit + 1 - len(found))
        document: dict[str, object] = {"clients": [describe_client(each) for each in found[:limit]]}
        if len(found) > limit:
            document["next_cursor"] = _cursor(found[limit - 1])
        return AdminResult(document=document)

    async def show(self, call: AdminCall, event: RequestEvent) -> AdminResult:
        """One client, with its version."""
        client_id = event.target = call.parameters["client_id"]
        return _shown(self.declared.get(client_id) or await self._stored(client_id))

    async def add(self, call: AdminCall, event: RequestEvent) -> AdminResult:
        """Register a client; one that authenticates with a secret gets it here, and nobody can show it again."""
        new = self._parsed(call.any_members())
        event.target = new.client_id
        require_power(call, new.metadata.scope)
        self._require_undeclared(new.client_id)
        secret = None
        if new.metadata.token_endpoint_auth_method in SECRET_METHODS:
            secret, kept = make_secret(at=call.at)
            new = replace(new, secrets=(kept,))
        await _translated(self.store.add(new))
        self.forget([new.client_id])
        return _shown(new, secret=secret, outcome=AdminOutcome.CREATED)

    async def replace(self, call: AdminCall, event: RequestEvent) -> AdminResult:
        """Replace the registration of a client. Its secrets stay; so does, if nothing is said of it, `enabled`.

        (1) The client is stored, (2) and what the caller takes it for; (3) the caller may decide about what it could do
        before and afterwards; (4) it is stored unless somebody else was faster.
        """
        client_id = event.target = call.parameters["client_id"]
        before = await self._changeable(client_id)  # (1)
        if call.version is not None and call.version != client_version(before):  # (2)
            raise AdministrationError(Refusal.TARGET_CHANGED, f"the client {client_id} has been changed meanwhile")
        members = call.any_members()
        if members.get("client_id", client_id) != client_id:
            raise AdministrationError(Refusal.MALFORMED_REQUEST, "client_id: is that of another client")
        new = self._parsed({"enabled": before.enabled, **members, "client_id": client_id})
        require_power(call, before.metadata.scope + new.metadata.scope)  # (3)
        new = replace(new, secrets=before.secrets if new.metadata.token_endpoint_auth_method in SECRET_METHODS else ())
        await _translated(self.store.replace(new, expected=before))  # (4)
        self.forget([client_id])
        return _shown(new)

    async def delete(self, call: AdminCall, event: RequestEvent) -> AdminResult:
        """Forget a client, and end its tokens."""
        client_id = event.target = call.parameters["client_id"]
        require_power(call, (await self._changeable(client_id)).metadata.scope)
        await _translated(self.store.delete(client_id))
        self.forget([client_id])
        return AdminResult()

    async def rotate_secret(self, call: AdminCall, event: RequestEvent) -> AdminResult:
        """Make a new secret, and show it once; the one before stays valid for `overlap` seconds, by default a day."""
        client_id = event.target = call.parameters["client_id"]
        reader = call.members(["overlap"])
        overlap = reader.whole_number("overlap", _OVERLAPS)
        call.refuse_problems(reader)
        require_power(call, (await self._changeable(client_id)).metadata.scope)
        secret, kept = make_secret(at=call.at)
        seconds = _DEFAULT_OVERLAP if overlap is None else overlap
        changed = await _translated(self.store.add_secret(client_id, kept, at=call.at, overlap=seconds))
        self.forget([client_id])
        return _shown(changed, secret=secret)

    def _setting(self, *, enabled: bool) -> Handler:
        async def set_enabled(call: AdminCall, event: RequestEvent) -> AdminResult:
            client_id = event.target = call.parameters["client_id"]
            before = await self._changeable(client_id)
            require_power(call, before.metadata.scope)
            await _translated(self.store.set_enabled(client_id, enabled))
            self.forget([client_id])
            return _shown(replace(before, enabled=enabled))

        return set_enabled

    def _parsed(self, members: Mapping[str, object]) -> Client:
        try:
            client = parse_client(members, ClientSource.STORAGE)
        except ClientMetadataError as error:
            raise _invalid(error) from None
        if problems := self.find_problems(client):
            raise _invalid(ClientMetadataError(problems))
        return client

    def _require_undeclared(self, client_id: str) -> None:
        if client_id in self.declared:
            message = f"the client {client_id} is declared in the configuration file, and is changed there alone"
            raise AdministrationError(Refusal.TARGET_CONFLICT, message)

    async def _changeable(self, client_id: str) -> Client:
        self._require_undeclared(client_id)
        return await self._stored(client_id)

    async def _stored(self, client_id: str) -> Client:
        found = await self.store.find(client_id)
        if found is None:
            raise AdministrationError(Refusal.TARGET_UNKNOWN, f"there is no client {client_id}")
        return found


def _invalid(error: ClientMetadataError) -> AdministrationError:
    code = ErrorCode.INVALID_CLIENT_METADATA
    return AdministrationError(Refusal.CLIENT_METADATA_INVALID, str(error), code=code)


def _shown(client: Client, *, secret: str | None = None, outcome: AdminOutcome = AdminOutcome.DONE) -> AdminResult:
    document = describe_client(client) | ({} if secret is None else {"client_secret": secret})
    return AdminResult(document=document, version=client_version(client), outcome=outcome)


async def _translated(change: Awaitable[_T]) -> _T:
    try:
        return await change
    except (ClientExists, ClientHasNoSecrets) as error:
        raise AdministrationError(Refusal.TARGET_CONFLICT, str(error)) from None
    except ClientNotFound as error:
        raise AdministrationError(Refusal.TARGET_UNKNOWN, str(error)) from None
    except ClientChanged as error:
        raise AdministrationError(Refusal.TARGET_CHANGED, str(error)) from None


def _cursor(last: Client) -> str:
    kind = _DECLARED if last.source is ClientSource.CONFIGURATION else _STORED
    return encode_base64url(f"{kind}{last.client_id}".encode())


def _read_cursor(text: str | None) -> tuple[str, str | None]:
    """Of which kind the next client is, and behind which name it comes."""
    if text is None:
        return _DECLARED, None
    try:
        decoded = decode_base64url(text).decode("ascii")
    except (Base64URLError, UnicodeDecodeError):
        decoded = ""
    if decoded[:1] not in {_DECLARED, _STORED} or not is_client_id(decoded[1:]):
        raise AdministrationError(Refusal.MALFORMED_REQUEST, "cursor: is none that this server gave")
    return decoded[0], decoded[1:]
