"""RFC 3986, the URLs this project fetches or sends clients to."""

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

MAX_URL_LENGTH: Final = 2048

_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")


def is_https_url(text: object) -> bool:
    """Whether this is an absolute `https` URL with a host, and without user information and fragment."""
    return _is_url(text, {"https"})


def is_http_url(text: object) -> bool:
    """Whether this is an absolute `http` or `https` URL, else as `is_https_url`: for what carries its own signature."""
    return _is_url(text, {"http", "https"})


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
