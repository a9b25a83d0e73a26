"""Reading an HTTP answer from somebody else: bounded in size and in total time, never decompressed."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Self

import httpx

from mtls_as.remote.propagation import OUTGOING_HEADERS
from mtls_as.rfc.rfc8259_json import JSONError, parse_json

MAX_DOCUMENT_BYTES: Final = 512 * 1024
TOTAL_SECONDS: Final = 5.0

# An answer in no encoding cannot be a compression bomb; one that comes encoded all the same is refused unread.
_HEADERS: Final[Mapping[str, str]] = MappingProxyType({"Accept-Encoding": "identity"})
# UnicodeError: the resolver's word for a host name with an empty or too long label.
_TRANSPORT_ERRORS: Final = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, UnicodeError)


class AnswerError(Exception):
    """No usable answer came. The message says why, for the log, and quotes nothing of the answer's body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that was read to its end."""

    status: int
    media_type: str
    body: bytes = field(repr=False)

    def expect(self, status: int) -> Self:
        """This answer, if it has the status. Raises `AnswerError`."""
        if self.status != status:
            raise AnswerError(f"status {self.status}")
        return self

    def text(self, media_type: str) -> str:
        """The body as ASCII text. Raises `AnswerError` if it is not, or is not labelled as this media type."""
        if self.media_type != media_type:
            raise AnswerError(f"the answer is not {media_type} by its media type")
        try:
            return self.body.decode("ascii")
        except UnicodeDecodeError:
            raise AnswerError("the answer is not ASCII") from None

    def json(self) -> object:
        """The body as JSON. Raises `AnswerError` if it is not, or is not labelled as JSON."""
        if self.media_type != "application/json" and not self.media_type.endswith("+json"):
            raise AnswerError("the answer is not JSON by its media type")
        try:
            return parse_json(self.body)
        except JSONError as error:
            raise AnswerError(f"the answer is not acceptable JSON: {error}") from None


def build_request(
    method: str,
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    json: bytes | None = None,
    accept: str = "application/json",
) -> httpx.Request:
    """A request for JSON, or another media type, with a form or JSON as its body if there is one.

    Raises `AnswerError` for a URL without a host.
    """
    headers = {**_HEADERS, "Accept": accept} | ({} if json is None else {"Content-Type": "application/json"})
    try:
        return httpx.Request(method, url, headers=headers, data=form, content=json)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise AnswerError(f"not a usable URL: {error}") from None


async def send(
    client: httpx.AsyncClient,
    request: httpx.Request,
    *,
    seconds: float = TOTAL_SECONDS,
    limit: int = MAX_DOCUMENT_BYTES,
) -> Answer:
    """Send a request and read its whole answer, `limit` bytes and `seconds` at most. Raises `AnswerError` alone."""
    outgoing = OUTGOING_HEADERS.get()
    if outgoing is not None:
        request.headers.update(outgoing())
    try:
        async with asyncio.timeout(seconds):
            response = await client.send(request, stream=True)
            try:
                body = _Body(response, limit)
                async for chunk in response.aiter_raw():
                    body.add(chunk)
            finally:
                await response.aclose()
    except TimeoutError:
        raise AnswerError(f"no complete answer within {seconds:g} s") from None
    except _TRANSPORT_ERRORS as error:
        raise AnswerError(f"{type(error).__name__}: {str(error)[:200]!a}") from error
    return body.finish()


class _Body:
    """Collects the chunks of an answer as they come; what Content-Length promises is not relied on."""

    def __init__(self, response: httpx.Response, limit: int) -> None:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise AnswerError("the answer is compressed, which was not asked for")
        self._response = response
        self._limit = limit
        self._bytes = bytearray()

    def add(self, chunk: bytes) -> None:
        self._bytes += chunk
        if len(self._bytes) > self._limit:
            raise AnswerError(f"the answer has more than {self._limit} bytes")

    def finish(self) -> Answer:
        media_type = self._response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return Answer(status=self._response.status_code, media_type=media_type, body=bytes(self._bytes))
