"""Paths of requests, read in the one way that no service behind the proxy can read differently.

The gateway decides by the path, and the service behind the proxy acts by it: what the two understand differently is a
way around the decision. So a path that has more than one reading is refused before anything is decided.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

Segments = tuple[str, ...]
"""What stands between the slashes, decoded; the last is empty for a path that ends with a slash."""

# RFC 3986 §3.3: pchar and the slash; without the semicolon, before which some servers end a segment.
_PATH: Final = re.compile(r"/(?:[A-Za-z0-9\-._~!$&'()*+,=:@/]|%[0-9A-Fa-f]{2})*+")
_ENCODED: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_FORBIDDEN: Final = re.compile(r"[/\\;\x00-\x1f\x7f]")


class AmbiguousPath(Exception):  # noqa: N818 # a property of the path, not a mistake of ours
    """The path can be read in several ways. The message quotes nothing."""


def read_path(raw: str) -> Segments:
    """The segments of a path as it was sent, without its query, decoded once (RFC 3986 §3.3).

    Raises `AmbiguousPath` for what a server may normalise or decode again: `.` and `..`, empty segments, an encoded
    slash, backslash, control character or percent sign that begins another code, semicolons, and what is no path.
    """
    if not _PATH.fullmatch(raw):
        raise AmbiguousPath("not a path of plain and percent-encoded characters")
    *inner, last = (_decode(segment) for segment in raw[1:].split("/"))
    if "" in inner:
        raise AmbiguousPath("an empty segment")
    return (*inner, last)


def _decode(segment: str) -> str:
    try:
        decoded = unquote_to_bytes(segment).decode("utf-8") if "%" in segment else segment
    except UnicodeDecodeError:
        raise AmbiguousPath("a segment that is not UTF-8") from None
    if decoded in {".", ".."}:
        raise AmbiguousPath("a segment of dots")
    if _FORBIDDEN.search(decoded):
        raise AmbiguousPath("an encoded slash, backslash, semicolon or control character")
    if _ENCODED.search(decoded):
        raise AmbiguousPath("a segment that is encoded twice")
    return decoded
