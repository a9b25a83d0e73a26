"""What every operation of the administration takes and gives, whichever way it is called.

HTTP → guard ─┐
              ├→ AdminCall → operation → AdminResult, or AdministrationError
command line ─┘
"""

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from mtls_as.rfc.member_reader import MemberReader
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, Form, OAuthError, parse_form
from mtls_as.rfc.rfc8259_json import JSONError, parse_json
from mtls_as.server.endpoints.admin.routes import AdminRoute, AdminScope
from mtls_as.server.events import RequestEvent

_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_NO_QUERY: Final = parse_form(b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Administrator:
    """Who may do what is asked: a client with a good token, or whoever has the database."""

    name: str
    """The `client_id`, or a word that can be none since it has a space."""
    scopes: Collection[str]
    """What it holds, of `AdminScope` and others."""


ON_THE_MACHINE: Final = Administrator(name="command line", scopes=frozenset(AdminScope))
"""Whoever can read the configuration, the database and its key needs no token for anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminCall:
    """One call. What it says is not checked yet, but for its size."""

    caller: Administrator
    parameters: Mapping[str, str] = field(default_factory=dict)
    """The parts of the path, by name."""
    query: Form = _NO_QUERY
    body: bytes = field(default=b"", repr=False)
    version: str | None = None
    """What the caller takes the present version to be, or None if it does not care (RFC 9110 §13.1.1)."""
    at: float
    """Epoch seconds."""

    def members(self, known: Collection[str]) -> MemberReader:
        """The body as a JSON object with no other members than these. Raises `AdministrationError`."""
        reader = MemberReader(self.any_members(), tuple(known))
        self.refuse_problems(reader)
        return reader

    def any_members(self) -> Mapping[str, object]:
        """The body as a JSON object, for whoever is strict about its members. Raises `AdministrationError`."""
        try:
            document = parse_json(self.body)
        except JSONError as error:
            raise AdministrationError(Refusal.MALFORMED_REQUEST, f"the body: {error}") from None
        if not isinstance(document, dict):
            raise AdministrationError(Refusal.MALFORMED_REQUEST, "the body is not a JSON object")
        return document

    @staticmethod
    def refuse_problems(reader: MemberReader) -> None:
        """Raises `AdministrationError` if the reader found any problem."""
        if reader.problems:
            text = "\n".join(f"{member}: {problem}" for member, problem in reader.problems)
            raise AdministrationError(Refusal.MALFORMED_REQUEST, text)


class AdminOutcome(Enum):
    """What became of a call."""

    DONE = auto()
    CREATED = auto()
    INCOMPLETE = auto()
    """Not everywhere yet."""
    IMPOSSIBLE = auto()
    """The server is as it was; the document says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminResult:
    """What a call gives: a JSON object, or None where there is nothing to say."""

    document: Mapping[str, object] | None = None
    outcome: AdminOutcome = AdminOutcome.DONE
    version: str | None = None
    """Of what the document shows, if it can be changed."""


class AdministrationError(OAuthError):
    """A refusal to an administrator who has proved to be one: what is wrong is told, not only logged."""

    def __init__(self, refusal: Refusal, detail: str, *, code: ErrorCode = ErrorCode.INVALID_REQUEST) -> None:
        super().__init__(code, refusal, detail)
        self.description = detail

    def __str__(self) -> str:
        """What is wrong, for people."""
        return self.detail


def require_power(call: AdminCall, scope: Iterable[str]) -> None:
    """Nobody gives away, takes away or takes over more of the administration than he holds himself.

    Whoever may register clients could else register one that may do everything. Raises `AdministrationError`.
    """
    missing = {str(each) for each in AdminScope} & set(scope) - set(call.caller.scopes)
    if missing:
        detail = f"this is about a client with {' '.join(sorted(missing))}, which the token does not have"
        raise AdministrationError(Refusal.SCOPE_NOT_ALLOWED, detail, code=ErrorCode.INSUFFICIENT_SCOPE)


def page_limit(query: Form, *, default: int = 100, most: int = 1_000) -> int:
    """How many the caller wants to see at once. Raises `AdministrationError`."""
    text = query.get("limit")
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= most:
        raise AdministrationError(Refusal.MALFORMED_REQUEST, f"limit: must be between 1 and {most}")
    return int(text)


Handler = Callable[[AdminCall, RequestEvent], Awaitable[AdminResult]]
"""Does what is asked and notes in the event what it is about. Raises `OAuthError`, mostly `AdministrationError`."""


Handlers = Mapping[AdminRoute, Handler]
"""What does each of some operations."""
