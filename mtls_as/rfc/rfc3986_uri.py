"""RFC 3986, the URLs this project fetches, sends clients to, or compares."""

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

MAX_URL_LENGTH: Final = 2048

_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
_ENCODED: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]")  # §2.3


def is_https_url(text: object) -> bool:
    """Whether this is an absolute `https` URL with a host, and without user information and fragment."""
    return _is_url(text, {"https"})


def is_http_url(text: object) -> bool:
    """Whether this is an absolute `http` or `https` URL, else as `is_https_url`: for what carries its own signature."""
    return _is_url(text, {"http", "https"})


def https_origin(url: str) -> str:
    """Scheme, host and port of what `is_https_url` knows as one, in the one spelling by which origins are compared."""
    parts = urlsplit(url)
    return f"https://{(parts.hostname or '').lower()}:{parts.port or 443}"


def normalise_https_url(text: str) -> str | None:
    """An `https` URL without query and fragment, in the form that all of its spellings share (§6.2.2, §6.2.3).

    Scheme and host are in lower case, the default port is left out, an empty path is `/`, what need not be encoded is
    not, and `.` and `..` are resolved. None for what is no such URL, or has user information.
    """
    bare = re.split("[?#]", text, maxsplit=1)[0]
    if not is_https_url(bare):
        return None
    parts = urlsplit(bare)
    host = parts.hostname or ""
    written = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, 443) else f":{parts.port}"
    return f"https://{written}{port}{_resolve_dots(_ENCODED.sub(_decode_unreserved, parts.path))}"


def _decode_unreserved(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if _UNRESERVED.fullmatch(character) else match[0].upper()


def _resolve_dots(path: str) -> str:
    """Remove dot segments of an absolute path (§5.2.4)."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


def _is_url(text: object, schemes: Collection[str]) -> bool:
    if not isinstance(text, str) or len(text) > MAX_URL_LENGTH or not _PRINTABLE.fullmatch(text):
        return False
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in schemes and bool(parts.hostname) and port != 0 and "@" not in parts.netloc and "#" not in text
    )
