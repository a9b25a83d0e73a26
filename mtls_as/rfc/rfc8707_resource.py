"""RFC 8707, Resource Indicators: the syntax of a resource identifier."""

import re
from typing import Final

MAX_RESOURCE_LENGTH: Final = 2048

# RFC 3986 §4.3: an absolute URI, by the characters and escapes that its parts may hold. Nothing is normalised:
# identifiers compare character by character, so that no two readers can disagree on what equals what.
_ABSOLUTE_URI: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*):"
    r"(?P<rest>(?:[A-Za-z0-9\-._~:/?@!$&'()*+,;=\[\]]|%[0-9A-Fa-f]{2})+)",
)


class ResourceError(Exception):
    """The text is not a resource identifier. The message says why and does not quote the text."""


def parse_resource(text: str) -> str:
    """The resource identifier as given: an absolute URI without fragment, ≤ 2048 characters (RFC 8707 §2).

    `https` and `http` identifiers must name a host and no user. The caller must still check that the resource is known.
    Raises `ResourceError` and nothing else.
    """
    if len(text) > MAX_RESOURCE_LENGTH:
        raise ResourceError(f"a resource identifier has {MAX_RESOURCE_LENGTH} characters at most")
    if "#" in text:
        raise ResourceError("a resource identifier has no fragment")
    match = _ABSOLUTE_URI.fullmatch(text)
    if match is None:
        raise ResourceError("a resource identifier is an absolute URI such as https://api.example")
    if match["scheme"].lower() in {"http", "https"}:
        _check_authority(match["rest"])
    return text


def _check_authority(rest: str) -> None:
    authority = re.match(r"//([^/?]*)", rest)
    if authority is None or authority[1].partition(":")[0] == "":
        raise ResourceError("a resource identifier with the scheme http or https names a host")
    if "@" in authority[1]:
        raise ResourceError("a resource identifier names no user")
