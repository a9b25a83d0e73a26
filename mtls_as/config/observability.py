"""`[events]`, `[audit]` and `[tracing]`: their tables, and what their keys mean."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from mtls_as.config.grant_tables import Name
from mtls_as.rfc.rfc3986_uri import is_http_url

STANDARD_OUTPUT: Final = "-"
_DAY_SECONDS: Final = 86_400.0

AuditedRequests = Literal["token", "introspection", "revocation", "registration", "administration"]


def check_collector(text: str) -> str | None:
    """Where spans go."""
    return None if is_http_url(text) else "must be an http or https URL with a host, without user and fragment"


class _Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: unknown keys are errors."""


class EventsTable(_Table, frozen=True):
    file: Name = STANDARD_OUTPUT
    max_bytes: Annotated[int, Meta(ge=0)] = 0
    keep: Annotated[int, Meta(ge=1, le=1_000)] = 5
    diagnostics: Literal["text", "json"] = "text"


class AuditTable(_Table, frozen=True):
    enabled: bool = True
    requests: list[AuditedRequests] = field(
        default_factory=lambda: ["token", "revocation", "registration", "administration"]
    )
    keep_days: Annotated[int, Meta(ge=1, le=3_650)] = 90
    keep_records: Annotated[int, Meta(ge=1_000)] = 500_000


class TracingTable(_Table, frozen=True):
    endpoint: Annotated[str, check_collector]
    ca: Name | None = None
    service_name: Name = "mtls-as"
    sample: Annotated[float, Meta(ge=0, le=1)] = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsSettings:
    """The event log: its file, or None for standard output; rotated beyond `max_bytes`, if that is not 0."""

    file: Path | None
    max_bytes: int
    keep: int
    """How many rotated files are kept."""
    diagnostics: str
    """`text` or `json`: the form of what the program says about itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """What is recorded in the database, and for how long."""

    enabled: bool
    requests: tuple[str, ...]
    """The endpoints whose requests are recorded."""
    keep_seconds: float
    keep_records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingSettings:
    """Where spans are sent (OTLP over HTTP), and the share of requests, 0 to 1, that have them."""

    endpoint: str
    ca: Path | None
    service_name: str
    sample: float


def events_settings(table: EventsTable, folder: Path) -> EventsSettings:
    """The settings of a table; a relative path is relative to `folder`."""
    return EventsSettings(
        file=None if table.file == STANDARD_OUTPUT else folder / table.file,
        max_bytes=table.max_bytes,
        keep=table.keep,
        diagnostics=table.diagnostics,
    )


def audit_settings(table: AuditTable) -> AuditSettings:
    """The settings of a table."""
    return AuditSettings(
        enabled=table.enabled,
        requests=tuple(table.requests),
        keep_seconds=table.keep_days * _DAY_SECONDS,
        keep_records=table.keep_records,
    )


def tracing_settings(table: TracingTable | None, folder: Path) -> TracingSettings | None:
    """The settings of a table, None where there is none; a relative path is relative to `folder`."""
    if table is None:
        return None
    return TracingSettings(
        endpoint=table.endpoint,
        ca=None if table.ca is None else folder / table.ca,
        service_name=table.service_name,
        sample=table.sample,
    )
