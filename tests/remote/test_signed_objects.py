"""Fetching what carries its own signature: bounded, without redirects, over http and https."""

import time
from collections.abc import AsyncIterator

import pytest

from mtls_as.remote.documents import DocumentUnavailable
from mtls_as.remote.signed_objects import SignedObjectFetcher
from tests.origin import Origin
from tests.remote.https_server import HTTPSServer, answer


@pytest.fixture
async def fetcher() -> AsyncIterator[SignedObjectFetcher]:
    fetcher = SignedObjectFetcher(list_seconds=1.0, max_list_bytes=1000)
    yield fetcher
    await fetcher.aclose()


async def test_plain_http(fetcher: SignedObjectFetcher) -> None:
    """A list by GET, an answer by POST with its media type."""
    with Origin() as origin:
        assert await fetcher.get(origin.serve("/a.crl", b"list")) == b"list"
        origin.answers["/ocsp"] = lambda question: (200, b"answer to " + question)
        assert await fetcher.ask(f"{origin.url}/ocsp", b"question") == b"answer to question"


async def test_https() -> None:
    """The server's certificate is verified."""
    with HTTPSServer(lambda request: answer(b"list", media_type="application/pkix-crl")) as server:
        known = SignedObjectFetcher(ssl_context=server.client_context())
        assert await known.get(f"{server.url}/a.crl") == b"list"
        await known.aclose()
        unknown = SignedObjectFetcher()
        with pytest.raises(DocumentUnavailable):
            await unknown.get(f"{server.url}/a.crl")
        await unknown.aclose()


async def test_bounds(fetcher: SignedObjectFetcher) -> None:
    """Size, status, and time from the first to the last byte."""

    def slow(_body: bytes) -> tuple[int, bytes]:
        time.sleep(2)
        return 200, b""

    with Origin(answers={"/slow": slow}) as origin:
        with pytest.raises(DocumentUnavailable, match="more than 1000 bytes"):
            await fetcher.get(origin.serve("/large", bytes(1001)))
        for status in (301, 404, 500):
            with pytest.raises(DocumentUnavailable, match=f"status {status}"):
                await fetcher.get(origin.serve("/status", b"", status))
        with pytest.raises(DocumentUnavailable, match="/slow: "):
            await fetcher.get(f"{origin.url}/slow")
        with pytest.raises(DocumentUnavailable, match="more than"):
            await fetcher.ask(origin.serve("/ocsp", bytes(70_000)), b"question")


@pytest.mark.parametrize(
    "url", ["", "ftp://localhost/a", "file:///etc/passwd", "http://", "http://user@localhost/", "http://a..b/"]
)
async def test_unusable_urls(fetcher: SignedObjectFetcher, url: str) -> None:
    """One error for all of them."""
    with pytest.raises(DocumentUnavailable):
        await fetcher.get(url)
