"""Revocation lists and OCSP answers over the network: the adapter of `mtls_as.pki.revocation_fetching.Fetcher`."""

from dataclasses import dataclass, field

from mtls_as.pki.revocation_fetching import SourceUnavailable
from mtls_as.remote.documents import DocumentUnavailable
from mtls_as.remote.signed_objects import SignedObjectFetcher


@dataclass(frozen=True, slots=True)
class RevocationFetcher:
    """Fetches what carries its own signature, from configured URLs alone."""

    fetcher: SignedObjectFetcher = field(default_factory=SignedObjectFetcher)

    async def get_list(self, url: str) -> bytes:
        """A revocation list. Raises `SourceUnavailable`."""
        try:
            return await self.fetcher.get(url)
        except DocumentUnavailable as error:
            raise SourceUnavailable(str(error)) from None

    async def ask_responder(self, url: str, question: bytes) -> bytes:
        """The answer of an OCSP responder. Raises `SourceUnavailable`."""
        try:
            return await self.fetcher.ask(url, question)
        except DocumentUnavailable as error:
            raise SourceUnavailable(str(error)) from None

    async def aclose(self) -> None:
        """Close what is still open."""
        await self.fetcher.aclose()
