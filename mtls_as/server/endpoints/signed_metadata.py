"""Metadata with the server's own signature beside it (RFC 8414 §2.1)."""

from collections.abc import Mapping
from typing import Final

from mtls_as.rfc.rfc6749_framework import OAuthError
from mtls_as.server.token_signing import TokenSigner

SIGNED_METADATA_TYPE: Final = "JWT"


class SignedMetadata:
    """The metadata document with `signed_metadata`: its members as claims, `iss` among them, signed by the active key.

    It is signed once for each key, at the first request.
    """

    def __init__(self, document: Mapping[str, object], *, signer: TokenSigner, algorithm: str) -> None:
        self._document = document
        self._signer = signer
        self._algorithm = algorithm
        self._kid: str | None = None
        self._signed: Mapping[str, object] = document

    async def current(self, at: float) -> Mapping[str, object]:
        """The document at this time (epoch seconds). Where nothing can sign now, without the optional signature."""
        try:
            key = self._signer.key(self._algorithm, at)
            if key.kid != self._kid:
                claims = {"iss": self._document["issuer"], "iat": int(at), **self._document}
                jwt = await self._signer.sign(claims, type=SIGNED_METADATA_TYPE, key=key)
                self._signed = {**self._document, "signed_metadata": jwt}
                self._kid = key.kid
        except OAuthError:
            return self._document
        return self._signed
