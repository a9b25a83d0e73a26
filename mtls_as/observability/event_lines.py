"""An event as one line of JSON that nothing in it can break: control characters are escaped, long text is cut."""

import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

import msgspec

from mtls_as.server.events import ReloadEvent, RequestEvent

MAX_TEXT_LENGTH: Final = 400

Event = RequestEvent | ReloadEvent | Mapping[str, object]
"""A request, a reload, or the members of what else there is to tell."""

LOGGED: Final = {
    kind: tuple(f.name for f in dataclasses.fields(kind) if f.metadata.get("logged", True))
    for kind in (RequestEvent, ReloadEvent)
}
_GETTERS: Final = {kind: attrgetter(*names) for kind, names in LOGGED.items()}
_TEXTS: Final = tuple(name for name in LOGGED[RequestEvent] if name != "latency_seconds")
_texts: Final = attrgetter(*_TEXTS)
_Line: Final = msgspec.defstruct(
    "_Line", [("time", str), *((name, Any, None) for name in (*_TEXTS, "latency_seconds"))], omit_defaults=True
)
"""A request as it is encoded: the encoder leaves out what is absent, and that costs less than to do so before."""
_DELETE: Final = 0x7F  # the one control character of ASCII that JSON need not escape
_encode: Final = msgspec.json.Encoder().encode


def event_line(at: float, event: Event) -> bytes:
    """One line of printable ASCII, without its end; absent members are left out. `at` is in seconds since the epoch.

    A request has one line, with the time that was given first: it must not be changed afterwards.
    """
    if not isinstance(event, RequestEvent):
        return _line(at, event)
    if event.line is None:
        event.line = _plain_line(at, event) or _line(at, event)
    return event.line


def _plain_line(at: float, event: RequestEvent) -> bytes | None:
    """The line of a request in which nothing is to be cut or escaped, which nearly all are; None for others."""
    texts, latency = _texts(event), event.latency_seconds
    try:
        if max(map(len, filter(None, texts))) > MAX_TEXT_LENGTH:
            return None
        encoded = _encode(_Line(_time(at), *texts, latency if latency is None else round(latency, 6)))
    except (UnicodeEncodeError, TypeError):  # a lone surrogate, or no text
        return None
    return encoded if encoded.isascii() and _DELETE not in encoded else None


def _line(at: float, event: Event) -> bytes:
    line: dict[str, object] = {"time": _time(at)}
    for name, value in _members(event):
        if value is None:
            continue
        is_short = type(value) is str and len(value) <= MAX_TEXT_LENGTH  # most are, and a call costs more than that
        line[name] = value if is_short else _bounded(value)
    try:
        encoded = _encode(line)
    except UnicodeEncodeError:
        encoded = b"\x80"  # a lone surrogate: as good as any other character beyond ASCII
    if not encoded.isascii():
        encoded = json.dumps(line).encode("ascii")  # slower, and the only one of the two that escapes those
    return encoded.replace(bytes([_DELETE]), b"\\u007f") if _DELETE in encoded else encoded


def _time(at: float) -> str:
    milliseconds = int(at * 1000)
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03}+00:00"


@lru_cache(maxsize=4)
def _second(at: int) -> str:
    """RFC 3339 without fraction and offset: thousands of events have the same."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _members(event: Any) -> Any:  # noqa: ANN401 # of `Event`; told apart by a look-up, which costs the least
    kind = type(event)
    getter = _GETTERS.get(kind)
    return event.items() if getter is None else zip(LOGGED[kind], getter(event), strict=True)


def _bounded(value: object) -> object:
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT_LENGTH else _cut(value)
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, int):
        return value
    if isinstance(value, dict):
        return {_bounded(name): _bounded(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_bounded(member) for member in value]
    return _bounded(str(value))


def _cut(text: str) -> str:
    return f"{text[:MAX_TEXT_LENGTH]}… ({len(text)} characters)"
