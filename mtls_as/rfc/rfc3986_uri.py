"""RFC 3986, the URLs this project fetches or sends clients to."""

import re
from typing import Final
from urllib.parse import urlsplit

MAX_URL_LENGTH: Final = 2048

_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")


def is_https_url(text: object) -> bool:
    """Whether this is an absolute `https` URL with a host, and without user information and fragment."""
    if not isinstance(text, str) or len(text) > MAX_URL_LENGTH or not _PRINTABLE.fullmatch(text):
        return False
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme == "https" and bool(parts.hostname) and port != 0 and "@" not in parts.netloc and "#" not in text
    )
