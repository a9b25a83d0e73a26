"""HTTP answers as plain values, so that the Quart routes and the fast lane send the same."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

# JSON is never to be taken for anything else.
_ALWAYS = {"X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A status, headers and a body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def json_answer(
    document: Mapping[str, object],
    *,
    status: int = 200,
    headers: Mapping[str, str],
    content_type: str = "application/json",
) -> Answer:
    """An answer with a JSON body; every caller decides on caching in `headers`."""
    body = json.dumps(document, separators=(",", ":")).encode("ascii")
    length = {"Content-Type": content_type, "Content-Length": str(len(body))}
    return Answer(status=status, headers={**length, **_ALWAYS, **headers}, body=body)
