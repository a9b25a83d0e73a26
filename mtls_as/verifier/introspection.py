"""Tokens that their issuer is asked about (RFC 7662), over mutual TLS, with signed answers if wanted (RFC 9701)."""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple

from mtls_as.remote.bounded import Answer, AnswerError
from mtls_as.remote.documents import DocumentFetcher, DocumentUnavailable
from mtls_as.remote.introspection import SECONDS, IntrospectionClient
from mtls_as.remote.remembered import Remembered
from mtls_as.rfc.rfc3986_uri import is_https_url
from mtls_as.rfc.rfc7519_jwt import JWTError, VerifiedJWT
from mtls_as.rfc.rfc7662_introspection import read_introspection_answer
from mtls_as.rfc.rfc8414_metadata import MetadataError, metadata_url, parse_metadata
from mtls_as.rfc.rfc9068_at_jwt import AccessTokenClaims, ClaimsError, TokenExpired
from mtls_as.rfc.rfc9701_jwt_introspection import MEDIA_TYPE, read_introspection_claims
from mtls_as.verifier.errors import InvalidToken, TokenRefusal, VerificationUnavailable

MAX_AGE: Final = 10.0
INACTIVE_AGE: Final = 1.0
MAX_INACTIVE: Final = 10_000

SignatureCheck = Callable[[str], Awaitable[VerifiedJWT]]
"""Checks the signature of an answer. Raises `JWTError` or `DocumentUnavailable`."""


class Introspection:
    """How to ask the issuer about tokens; for the `introspection` of an `AccessTokenVerifier`, and of one alone.

    `client_id` is whom the issuer knows this resource server as, and `ssl_context` holds the certificate that proves
    it, beside whom to trust. The endpoint is found in the issuer's metadata, the alias for mutual TLS first (RFC 8705
    §5), unless `endpoint` names it. With `jwts`, JWTs that are good by themselves are asked about too. With `signed`,
    only signed answers count. What the issuer said counts for `max_age` seconds, and never past the token's end.
    `seconds` bounds an answer. Raises `ValueError` for settings that cannot work.
    """

    def __init__(
        self,
        *,
        client_id: str,
        ssl_context: ssl.SSLContext,
        endpoint: str | None = None,
        jwts: bool = False,
        signed: bool = False,
        max_age: float = MAX_AGE,
        seconds: float = SECONDS,
    ) -> None:
        if not client_id:
            raise ValueError("client_id must not be empty")
        if endpoint is not None and not is_https_url(endpoint):
            raise ValueError("endpoint is not an https URL")
        if not max_age >= 0:
            raise ValueError("max_age is zero seconds or more")
        self.client_id = client_id
        self.endpoint = endpoint
        self.jwts = jwts
        self.signed = signed
        self.max_age = max_age
        self.client = IntrospectionClient(ssl_context, seconds=seconds)

    async def aclose(self) -> None:
        """Close the connections that are kept."""
        await self.client.aclose()


class Verdict(NamedTuple):
    """An active token, and until when (epoch seconds) the issuer's word counts."""

    claims: AccessTokenClaims
    until: float


class Introspector:
    """Asks about the tokens of one issuer for one audience: once at a time for each token.

    That a token is not active is remembered for a second, so that a flood with one token is no flood for the issuer.
    """

    def __init__(
        self,
        settings: Introspection,
        *,
        issuer: str,
        audience: str,
        leeway: float,
        check_signature: SignatureCheck,
        fetcher: DocumentFetcher,
        clock: Callable[[], float],
    ) -> None:
        self.jwts = settings.jwts
        self._settings = settings
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway
        self._check_signature = check_signature
        self._clock = clock
        self._endpoint = None if settings.endpoint else _Endpoint(issuer, fetcher, clock=clock)
        self._asking: dict[bytes, asyncio.Task[Verdict | None]] = {}
        self._inactive: OrderedDict[bytes, float] = OrderedDict()

    async def verdict(self, token: str, digest: bytes) -> Verdict:
        """What the issuer says of a token, whose digest this is. Raises `InvalidToken` for one that is not active, and
        `VerificationUnavailable` for no answer, or one that is not right: it says nothing about the token.
        """
        if self._is_inactive(digest):
            raise _inactive()
        task = self._asking.get(digest)
        if task is None:
            task = self._asking[digest] = asyncio.create_task(self._ask(token))
            task.add_done_callback(partial(self._asked, digest))
        try:
            found = await asyncio.shield(task)  # a caller that goes away leaves the answer to the others
        except TokenExpired as error:
            raise InvalidToken(TokenRefusal.EXPIRED, str(error)) from None
        except ClaimsError as error:
            if error.claim in {"", "active"}:  # it is not even an answer
                raise VerificationUnavailable(f"introspection: {error}") from None
            raise InvalidToken(TokenRefusal.CLAIM_REFUSED, f"introspection: {error}") from None
        except (AnswerError, DocumentUnavailable, JWTError) as error:
            raise VerificationUnavailable(f"introspection: {error}") from None
        if found is None:
            self._note_inactive(digest)
            raise _inactive()
        return found

    def _asked(self, digest: bytes, task: "asyncio.Task[Verdict | None]") -> None:
        del self._asking[digest]
        if not task.cancelled():
            task.exception()  # seen, also where everybody who waited has gone away

    async def _ask(self, token: str) -> Verdict | None:
        settings = self._settings
        url = settings.endpoint or await self._discovered()
        asked_at = self._clock()
        answer = await settings.client.ask(
            url, token=token, client_id=settings.client_id, accept=MEDIA_TYPE if settings.signed else "application/json"
        )
        claims = read_introspection_answer(
            await self._content(answer),
            issuer=self._issuer,
            audience=self._audience,
            at=self._clock(),
            leeway=self._leeway,
        )
        return None if claims is None else Verdict(claims, asked_at + settings.max_age)

    async def _content(self, answer: Answer) -> object:
        if not self._settings.signed:
            if answer.media_type != "application/json":
                raise AnswerError("the answer is not JSON by its media type")
            return answer.json()
        signed = await self._check_signature(answer.text(MEDIA_TYPE))
        try:
            return read_introspection_claims(
                signed.claims,
                issuer=self._issuer,
                audience=self._settings.client_id,
                at=self._clock(),
                leeway=self._leeway,
            )
        except ClaimsError as error:
            raise AnswerError(f"the signed answer: {error}") from None

    async def _discovered(self) -> str:
        assert self._endpoint is not None  # noqa: S101 # there is none only with an endpoint that is configured
        return await self._endpoint.get()

    def _is_inactive(self, digest: bytes) -> bool:
        until = self._inactive.get(digest)
        now = self._clock()
        return until is not None and until - INACTIVE_AGE <= now < until

    def _note_inactive(self, digest: bytes) -> None:
        self._inactive[digest] = self._clock() + INACTIVE_AGE
        self._inactive.move_to_end(digest)
        if len(self._inactive) > MAX_INACTIVE:
            self._inactive.popitem(last=False)


class _Endpoint(Remembered[str]):
    """The introspection endpoint that the issuer's metadata names."""

    def __init__(self, issuer: str, fetcher: DocumentFetcher, *, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self._issuer = issuer
        self._url = metadata_url(issuer)
        self._fetcher = fetcher

    async def _load(self) -> str:
        try:
            metadata = parse_metadata(await self._fetcher.get_json(self._url), issuer=self._issuer)
        except MetadataError as error:
            raise DocumentUnavailable(f"{self._url}: {error}") from None
        if metadata.mtls_introspection_endpoint is None:
            raise DocumentUnavailable(f"{self._url}: there is no introspection_endpoint")
        return metadata.mtls_introspection_endpoint


def _inactive() -> InvalidToken:
    return InvalidToken(TokenRefusal.INACTIVE, "its issuer says that it is not active")
