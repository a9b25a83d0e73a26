"""What a resource server knows of a request, and how it answers one that it does not let in; of no framework."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from mtls_as.rfc.rfc6750_bearer import BearerError

Headers = Sequence[tuple[bytes, bytes]]

UNKNOWN_PEER: Final = ""
"""The `peer` of a request of which the server does not say where it comes from: no hop is proven by it."""


class ResourceRequest(NamedTuple):  # made for each request: a frozen dataclass takes three times as long
    """A request to a protected resource, as its server received it. An adapter makes it; no part of it is guessed."""

    method: str
    path: str
    """As it was sent, percent-encoded, without the query."""
    headers: Headers
    """Names in any case. A header that came twice stands here twice, unless `headers_joined`."""
    secure: bool
    """Whether the server says that this request came over TLS."""
    peer: str | None
    """The address that the connection comes from; None on a unix socket."""
    connection: Mapping[str, Any]
    """What the server says of the request and its connection: the ASGI scope, the WSGI environ. For certificate
    sources, each of which reads the one place that it is named after."""
    query: bytes = b""
    headers_joined: bool = False
    """Whether the server joins the values of a repeated header with commas, as WSGI servers do."""

    def __repr__(self) -> str:
        """Without headers and the like, which hold tokens."""
        return f"ResourceRequest(method={self.method!a}, path={self.path!a}, peer={self.peer!a})"

    def header_values(self, name: bytes) -> list[bytes]:
        """All values of a header, its name in lower case."""
        return [value for key, value in self.headers if key.lower() == name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that takes the place of the application's."""

    status: int
    headers: tuple[tuple[str, str], ...]
    """Without Content-Length. Names in lower case; a name may stand twice."""
    body: bytes

    @property
    def header_map(self) -> dict[str, str]:
        """For frameworks that know each name once: values of one name with commas between them (RFC 9110 §5.3)."""
        joined: dict[str, str] = {}
        for name, value in self.headers:
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
        return joined


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal(Answer):
    """The answer to a request that is not let in (RFC 6750 §3). `description` is public; the reason is in the log."""

    error: BearerError | None
    description: str | None
    detail: str = ""
    """Why, for the log: it holds no token, and quoted input is escaped. Empty where nothing was presented."""
