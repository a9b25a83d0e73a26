"""The port through which lists and answers come from configured URLs. A URL out of a certificate never passes it."""

from typing import Protocol


class SourceUnavailable(Exception):  # noqa: N818 # a state of the world, not a mistake
    """Nothing usable came just now. The message names the URL and why."""


class Fetcher(Protocol):
    """Fetches octets that carry a signature of their own, bounded in size and time, over `http` or `https`."""

    async def get_list(self, url: str) -> bytes:
        """A revocation list. Raises `SourceUnavailable`."""
        ...

    async def ask_responder(self, url: str, question: bytes) -> bytes:
        """The answer of an OCSP responder (RFC 6960 appendix A). Raises `SourceUnavailable`."""
        ...


class NoFetcher:
    """Fetches nothing: for commands that judge by the files at hand."""

    async def get_list(self, url: str) -> bytes:
        """Raises `SourceUnavailable`."""
        raise SourceUnavailable(f"{url}: not fetched here")

    async def ask_responder(self, url: str, question: bytes) -> bytes:
        """Raises `SourceUnavailable`."""
        del question
        raise SourceUnavailable(f"{url}: not asked here")
