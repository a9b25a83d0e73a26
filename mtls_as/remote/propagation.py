"""Headers that go out with every request to another server, so that a trace goes on there (W3C Trace Context)."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Final

OUTGOING_HEADERS: Final[ContextVar[Callable[[], Mapping[str, str]] | None]] = ContextVar(
    "outgoing_headers", default=None
)
"""Tells the headers that belong to the work that runs now; None where nothing is traced."""
