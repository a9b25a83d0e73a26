"""The plain form of an HTTP/1.1 request, which can be read in one way only.

Nothing is refused here. A head of this form is one that h11 takes, and reads the same way; every other head, good or
bad, complete or not, is left to h11. So there is one judge of what is refused, and what parsers could disagree about
never comes to a second one. `tests/tls/test_plain_request.py` compares the two.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

# RFC 9112 §3, §5: one space each, no query, no fold, no bare CR or LF, no space before a colon, at least one field. The
# quantifiers are possessive, so that a head which does not match costs no second look.
_HEAD: Final = re.compile(
    rb"(GET|POST) (/[!-\"$->@-~]*+) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t -~\x80-\xff]*+\r\n)++)\r\n"
)
_FIELD: Final = re.compile(rb"([^:]++):[\t ]*+([^\r]*+)\r\n")
_END: Final = b"\r\n\r\n"
_MAX_HEAD_BYTES: Final = 8 * 1024
_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,8}")
# What frames a body in another way, or asks for more than an answer.
_NOT_PLAIN: Final = frozenset({b"transfer-encoding", b"upgrade", b"http2-settings", b"expect", b"te", b"trailer"})
_CONNECTION: Final = {None: False, b"keep-alive": False, b"close": True}

# Clients send the same head again and again. What is in one that is remembered is no secret of anybody: other fields
# hold passwords, proofs, tokens, or whatever a client likes.
_WITHOUT_SECRETS: Final = frozenset({
    b"accept", b"accept-charset", b"accept-encoding", b"accept-language", b"cache-control", b"connection",
    b"content-length", b"content-type", b"host", b"pragma", b"user-agent",
})  # fmt: skip
_MAX_REMEMBERED_BYTES: Final = 1024
_MAX_REMEMBERED: Final = 256
_remembered: Final[dict[bytes, "PlainHead"]] = {}
"""By all their bytes: reading them again would tell nothing else."""


class PlainHead(NamedTuple):
    """The head of a plain request."""

    method: bytes
    target: bytes
    """A path, with nothing decoded."""
    scope: Mapping[str, Any]
    """What ASGI says of it: names of headers in lower case, each once; values without the white space around them.
    Requests share it.
    """
    body_length: int
    closes: bool
    """The client wants the connection to end after the answer."""
    size: int
    """Of the head itself, in bytes."""


def read_plain_head(data: bytes) -> PlainHead | None:
    """The head at the beginning of `data`, if it is there to its end, and plain."""
    end = data.find(_END, 0, _MAX_HEAD_BYTES)
    if end < 0:
        return None
    octets = data[: end + len(_END)]
    head = _remembered.get(octets)
    if head is None and (head := _read(octets)) is not None:
        _remember(octets, head)
    return head


def _remember(octets: bytes, head: PlainHead) -> None:
    names = [name for name, _ in head.scope["headers"]]
    if len(octets) <= _MAX_REMEMBERED_BYTES and _WITHOUT_SECRETS.issuperset(names):
        if len(_remembered) >= _MAX_REMEMBERED:
            _remembered.clear()
        _remembered[octets] = head


def _read(octets: bytes) -> PlainHead | None:
    match = _HEAD.fullmatch(octets)
    if match is None:
        return None
    method, target, lines = match.groups()
    headers = tuple([(name.lower(), value.rstrip(b"\t ")) for name, value in _FIELD.findall(lines)])
    members = dict(headers)
    if len(members) != len(headers) or b"host" not in members or not _NOT_PLAIN.isdisjoint(members):
        return None
    length = members.get(b"content-length", b"0")
    connection = members.get(b"connection")
    closes = _CONNECTION.get(connection if connection is None else connection.lower())
    if closes is None or not _LENGTH.fullmatch(length):
        return None
    scope = {
        "method": method.decode("ascii"), "path": target.decode("ascii"), "raw_path": target, "headers": headers
    }  # fmt: skip
    return PlainHead(method, target, scope, int(length), closes, len(octets))
