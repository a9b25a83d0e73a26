"""HTTP answers as plain values, so that the Quart routes and the fast lane send the same."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.json import Encoder

_encode = Encoder().encode
# JSON is never to be taken for anything else.
_ALWAYS = {"X-Content-Type-Options": "nosniff"}


class Answer(Struct, frozen=True, kw_only=True):  # made in a tenth of the time that a frozen dataclass takes
    """A status, headers and a body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    __repr__ = object.__repr__  # there are tokens in it


def json_answer(
    document: Mapping[str, object],
    *,
    status: int = 200,
    headers: Mapping[str, str],
    content_type: str = "application/json",
) -> Answer:
    """An answer with a JSON body; every caller decides on caching in `headers`."""
    body = _to_json(document)
    length = {"Content-Type": content_type, "Content-Length": str(len(body))}
    return Answer(status=status, headers={**length, **_ALWAYS, **headers}, body=body)


def _to_json(document: Mapping[str, object]) -> bytes:
    """UTF-8. A lone surrogate has no such form: only `json` takes it, and escapes it."""
    try:
        return _encode(document)
    except UnicodeEncodeError:
        return json.dumps(document, separators=(",", ":")).encode("ascii")


def text_answer(text: str, *, content_type: str, headers: Mapping[str, str]) -> Answer:
    """An answer whose body is ASCII text; every caller decides on caching in `headers`."""
    body = text.encode("ascii")
    length = {"Content-Type": content_type, "Content-Length": str(len(body))}
    return Answer(status=200, headers={**length, **_ALWAYS, **headers}, body=body)


async def send_answer(answer: Answer, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Send an answer by ASGI."""
    headers = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
