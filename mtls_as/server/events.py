"""One event per request: filled in as it proceeds, emitted once; log, metrics and audit read the same words."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import Certificate
from mtls_as.rfc.rfc6749_framework import OAuthError

_FAILURES: Final = frozenset({Refusal.INTERNAL_ERROR, Refusal.TEMPORARILY_UNAVAILABLE, Refusal.CLAIMS_HOOK_FAILED})


class Outcome(StrEnum):
    """How a request ended."""

    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(slots=True, kw_only=True)
class RequestEvent:
    """What happened in one request. `detail` is private, and may quote input: whoever writes it escapes and cuts."""

    endpoint: str
    peer: str | None = None
    unverified_forwarded_for: str | None = None
    """What `X-Forwarded-For` says behind a proxy, where `peer` is the proxy. Anybody may have written it."""
    counted_as: str = field(default="", metadata={"logged": False})
    """What that address counts as where requests are limited; empty where it stands for many."""
    tls_group: str | None = None
    """What agreed on the keys of this connection, such as `X25519MLKEM768`; behind a proxy, of the hop from there."""
    unverified_client_id: str | None = None
    client_id: str | None = None
    authentication_method: str | None = None
    certificate_thumbprint: str | None = None
    """The `x5t#S256` of the certificate on the connection (RFC 8705 §3.1)."""
    dpop_key: str | None = None
    """The `jkt` of the key that the request has a good DPoP proof of (RFC 9449 §6.1)."""
    certificate: Certificate | None = field(default=None, repr=False, metadata={"logged": False})
    """That certificate, once it has authenticated the client."""
    trust: str | None = None
    """The trust domain that vouched for it."""
    spiffe_id: str | None = None
    """The workload that the client proved to be, of those that it may be."""
    grant_type: str | None = None
    scope: str | None = None
    resource: str | None = None
    token_id: str | None = None
    subject: str | None = None
    """Whom the token speaks of, where a grant says so; else it is the client."""
    actor: str | None = None
    """Who acts for the subject in the token (RFC 8693 §4.1)."""
    source_token_id: str | None = None
    """The `jti` of the token or assertion that the new token was given for."""
    action: str | None = None
    """What an administrator does or tries to do: the name of the operation."""
    target: str | None = None
    """What the administrator does it to."""
    outcome: Outcome = Outcome.ANSWERED
    error: str | None = None
    refusal: Refusal | None = None
    detail: str | None = None
    note: str | None = None
    """What else an operator should know, however the request ended."""
    trace_id: str | None = None
    """The trace that the request is in, where there are traces."""
    latency_seconds: float | None = None
    line: bytes | None = field(default=None, repr=False, compare=False, metadata={"logged": False})
    """What was written of it: event log and audit trail say the same, and whoever comes first has made it for both."""

    def refuse(self, error: OAuthError) -> None:
        """Record a refusal with its private reason."""
        internal = error.refusal in _FAILURES
        self.outcome = Outcome.FAILED if internal else Outcome.REFUSED
        self.error = error.code
        self.refusal = error.refusal
        self.detail = error.detail

    def note_inactive(self, refusal: Refusal, detail: str, token_id: str | None) -> None:
        """Record why a token that was asked about counts for nothing; the request itself was in order."""
        self.refusal = refusal
        self.detail = detail
        self.token_id = token_id


class ReloadOutcome(StrEnum):
    """How a reload ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INCOMPLETE = "incomplete"
    """Not every process has told in time. No single process ends so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadEvent:
    """A reload of the configuration and the files it names. One that failed changed nothing."""

    event: str = field(default="reload", init=False)
    cause: str
    """`file change`, `signal`, or who asked for it."""
    outcome: ReloadOutcome
    generation: int
    """The number of the generation that is in force afterwards."""
    detail: str | None = None
    """Why it failed."""
    problems: tuple[str, ...] = field(default=(), metadata={"logged": False})
    """The same, one by one."""
    latency_seconds: float | None = None


ReloadSink = Callable[[ReloadEvent], None]
"""Takes each event once. Must neither raise nor block."""

EventSink = Callable[[RequestEvent], None]
"""Takes each event once, at the end of its request. Must neither raise nor block."""


def emit_to_all(*sinks: EventSink) -> EventSink:
    """One sink that hands each event to all of these, in their order."""

    def emit(event: RequestEvent) -> None:
        for sink in sinks:
            sink(event)

    return emit
