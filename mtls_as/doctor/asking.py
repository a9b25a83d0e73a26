"""Questions over HTTP, bounded as all of them are, and what is kept of the answers."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import Final, Self

import httpx

from mtls_as.doctor.observations import Answer, Document
from mtls_as.remote.bounded import AnswerError, build_request, send
from mtls_as.rfc.rfc9110_challenge import ChallengeError, parse_challenges

_OK: Final = 200
_MAX_SHOWN: Final = 300
_REDACTED: Final = "[the token]"


class Asker:
    """Asks over connections that present one certificate, or none: no redirects, no proxies, nothing kept open."""

    def __init__(self, context: ssl.SSLContext, *, seconds: float) -> None:
        self._seconds = seconds
        self._client = httpx.AsyncClient(
            verify=context,
            follow_redirects=False,
            trust_env=False,
            timeout=seconds,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def document(self, url: str) -> Document:
        """A JSON document."""
        try:
            answer = await send(self._client, build_request("GET", url), seconds=self._seconds)
        except AnswerError as error:
            return Document(url=url, failure=str(error))
        try:
            return Document(url=url, status=answer.status, content=answer.expect(_OK).json())
        except AnswerError as error:
            return Document(url=url, status=answer.status, failure=str(error))

    async def resource(self, url: str, token: str | None) -> Answer:
        """What a resource says to a request with a token, or without: the head of its answer, however long the rest."""
        headers = {"Accept": "*/*"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
        try:
            async with asyncio.timeout(self._seconds), self._client.stream("GET", url, headers=headers) as response:
                challenge = bearer_challenge(response.headers.get_list("www-authenticate"))
        except TimeoutError:
            return Answer(failure=f"no answer within {self._seconds:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            alert = _alert(error)
            return Answer(alert=alert) if alert else Answer(failure=_without(token, str(error) or type(error).__name__))
        if challenge is not None:
            challenge = {name: _without(token, value) for name, value in challenge.items()}
        return Answer(status=response.status_code, challenge=challenge)


def bearer_challenge(values: Sequence[str]) -> Mapping[str, str] | None:
    """The parameters of the Bearer challenge in `WWW-Authenticate` (RFC 6750 §3), {} without any, None without one."""
    try:
        challenges = parse_challenges(values)
    except ChallengeError:
        return None
    return next((challenge.parameters for challenge in challenges if challenge.scheme == "bearer"), None)


def _without(token: str | None, text: str) -> str:
    """A server may repeat what it was sent."""
    return (text if token is None else text.replace(token, _REDACTED))[:_MAX_SHOWN]


def _alert(error: Exception) -> str | None:
    """The alert by which a server ended the connection (RFC 8446 §6), whoever wrapped it on its way here."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError) and cause.reason and "ALERT_" in cause.reason:
            return cause.reason.partition("ALERT_")[2].lower()
        cause = cause.__cause__ or cause.__context__
    return None
