"""The audit trail for operators: what was recorded, whether it is whole, and its end as something to keep elsewhere."""

import asyncio
import json
import re
from dataclasses import dataclass, field
from typing import Final, Protocol

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc3339_time import format_time
from mtls_as.rfc.rfc6749_framework import Form
from mtls_as.server.audit import AuditRecord, Checkpoint, CheckpointError, Sealer
from mtls_as.server.audit_verification import AuditSource, verify_trail
from mtls_as.server.endpoints.admin import routes
from mtls_as.server.endpoints.admin.call import AdminCall, AdministrationError, AdminResult, Handlers, page_limit
from mtls_as.server.events import RequestEvent

_NUMBER: Final = re.compile(r"[0-9]{1,15}")


class AuditTrailReader(AuditSource, Protocol):
    """Where the trail is read. Every method raises `StorageUnavailable`."""

    @property
    def sealer(self) -> Sealer:
        """What tells genuine seals."""
        ...

    async def list(
        self,
        *,
        since: float | None = None,
        client_id: str | None = None,
        kind: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> tuple[AuditRecord, ...]:
        """The newest records that fit, the newest first; `before` is the number that older pages begin below."""
        ...

    async def checkpoint(self) -> Checkpoint:
        """The end of the chain as it is now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditAdministration:
    """Shows and verifies the audit trail. Nothing here can change it."""

    trail: AuditTrailReader
    _verifying: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    """The whole trail is read for it: one at a time."""

    def handlers(self) -> Handlers:
        return {
            routes.LIST_AUDIT: self.list,
            routes.VERIFY_AUDIT: self.verify,
            routes.HEAD_OF_AUDIT: self.head,
        }

    async def list(self, call: AdminCall, _event: RequestEvent) -> AdminResult:
        """A page of records, the newest first: since a time (epoch seconds), of a client, of a kind."""
        limit, since = page_limit(call.query), _number(call.query, "since")
        found = await self.trail.list(
            since=None if since is None else float(since),
            client_id=call.query.get("client_id"),
            kind=call.query.get("kind"),
            before=_number(call.query, "cursor"),
            limit=limit,
        )
        document: dict[str, object] = {"records": [_described(record) for record in found]}
        if len(found) == limit:
            document["next_cursor"] = str(found[-1].link.sequence)
        return AdminResult(document=document)

    async def verify(self, call: AdminCall, _event: RequestEvent) -> AdminResult:
        """Whether every record is as it was written; `from` is a checkpoint that was kept elsewhere."""
        text = call.query.get("from")
        try:
            since = None if text is None else Checkpoint.parse(text)
        except CheckpointError as error:
            raise AdministrationError(Refusal.MALFORMED_REQUEST, f"from: {error}") from None
        async with self._verifying:
            verified = await verify_trail(self.trail, self.trail.sealer, since=since)
        damage = verified.damage
        return AdminResult(
            document={
                "first": verified.first,
                "last": verified.last,
                "records": verified.count,
                "damage": None if damage is None else {"sequence": damage.sequence, "problem": damage.problem},
            }
        )

    async def head(self, _call: AdminCall, _event: RequestEvent) -> AdminResult:
        """The checkpoint of now."""
        return AdminResult(document={"checkpoint": str(await self.trail.checkpoint())})


def _number(query: Form, name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise AdministrationError(Refusal.MALFORMED_REQUEST, f"{name}: must be a whole number")
    return int(text)


def _described(record: AuditRecord) -> dict[str, object]:
    entry = record.entry
    head = {
        "sequence": record.link.sequence,
        "time": format_time(entry.at),
        "kind": entry.kind,
        "client_id": entry.client_id,
    }
    return {**head, **_recorded(entry.text), **head}


def _recorded(text: str) -> dict[str, object]:
    """What was recorded. Somebody may have altered it: then what there is."""
    try:
        members = json.loads(text)
    except ValueError:
        members = None
    return members if isinstance(members, dict) else {"detail": f"not a record: {text[:200]}"}
