"""Tokens of one client, kept by scope, resource and certificate: what stands under every adapter."""

import asyncio
import logging
import os
import random
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mtls_as.client.certificate_files import CertificateFiles
from mtls_as.client.credentials import CertificateSource, Credentials
from mtls_as.client.errors import ClientConfigurationError, ClientError
from mtls_as.client.exchange import AccessToken, TokenRequest, fetch
from mtls_as.client.renewed_context import RenewedContext
from mtls_as.rfc.rfc8414_metadata import MetadataError, metadata_url

_log = logging.getLogger("mtls_as.client")

PATIENCE: Final = 1.0
"""Seconds to wait for the next token while the one at hand is still good."""
COOL_DOWN: Final = 5.0
"""Seconds between two attempts to replace a token that is still good."""
MAX_TOKENS: Final = 1000

_LAST_SECONDS: Final = 2.0  # a token that ends so soon could end on its way


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundToken:
    """A token, and what it is bound to: the credentials of the connections that it may go over."""

    token: AccessToken
    credentials: Credentials

    @property
    def header(self) -> str:
        """The value for `Authorization` (RFC 6750 §2.1)."""
        return f"Bearer {self.token.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    """What tokens are kept by."""

    scope: str | None
    resource: str | None
    x5t_s256: str


_Flight = Future[AccessToken]


class TokenSource:
    """Gets tokens for one client of one authorization server, and keeps them fresh, for threads and tasks alike.

    `certificate` and `private_key` are PEM files, which are followed when they change (`CertificateFiles`), or
    `certificate` alone is a `CertificateSource`; `ca` is a PEM file with the only CAs to trust. The token endpoint is
    found through the issuer's metadata (RFC 8414).

    For each scope and resource one token is asked for at a time, whoever needs it. A token is replaced some time before
    it ends, and used until its end where that fails. A renewed certificate is used from its first token on, and the one
    before it until then, as long as its tokens are good: so an outage of the server meanwhile is not noticed either.

    Raises `ClientConfigurationError` here; later `TokenRequestError` and `AuthorizationServerError`.
    """

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        certificate: str | Path | CertificateSource,
        private_key: str | Path | None = None,
        ca: str | Path | None = None,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        try:
            metadata_url(issuer)
        except MetadataError as error:
            raise ClientConfigurationError(f"issuer: {error}") from None
        self.issuer = issuer
        self.client_id = client_id
        self._certificates = _certificates(certificate, private_key, ca)
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._tokens: dict[_Key, AccessToken] = {}
        # By process as well, since threads do not live on in one that was forked.
        self._flights: dict[tuple[_Key, int], _Flight] = {}
        self._newest: Credentials | None = None
        self._settled: Credentials | None = None
        self._not_before: dict[_Key, float] = {}
        self._context = RenewedContext(_Moment(self))
        self._fetching: tuple[Credentials, ssl.SSLContext] | None = None

    def credentials(self) -> Credentials:
        """The certificate and key of the moment: the newest, or those before as long as only they have tokens."""
        newest, settled = self._certificates.current(), self._settled
        self._newest = newest
        if settled is not newest and (settled is None or not self._has_tokens(settled)):
            settled = self._settled = newest
        return settled

    def ssl_context(self) -> RenewedContext:
        """A context for connections to resource servers: each new one presents the certificate of its moment."""
        return self._context

    def token(
        self, *, scope: str | None = None, resource: str | None = None, rejected: AccessToken | None = None
    ) -> AccessToken:
        """A token that is still good: the one at hand, unless it is `rejected` or about to end, else a new one."""
        return self.bound(scope=scope, resource=resource, rejected=rejected).token

    async def token_async(
        self, *, scope: str | None = None, resource: str | None = None, rejected: AccessToken | None = None
    ) -> AccessToken:
        """`token` for asynchronous callers."""
        return (await self.bound_async(scope=scope, resource=resource, rejected=rejected)).token

    def bound(
        self,
        *,
        scope: str | None = None,
        resource: str | None = None,
        rejected: AccessToken | None = None,
        credentials: Credentials | None = None,
    ) -> BoundToken:
        """`token`, together with the credentials that it is bound to; of the moment, unless others are given.

        Tokens for credentials that were renewed are not kept.
        """
        renewal = self._renewal(scope, resource)
        if renewal is not None and credentials is None:
            try:
                renewal.result(PATIENCE)
            except (ClientError, TimeoutError) as error:
                _warn("certificate", error)
        credentials = credentials or self.credentials()
        usable, flight = self._look(scope, resource, credentials, rejected)
        if flight is not None:
            try:
                usable = flight.result(PATIENCE if usable else None)
            except (ClientError, TimeoutError) as error:
                usable = _despite(error, usable)
        assert usable is not None  # noqa: S101 # for the type checker
        return BoundToken(token=usable, credentials=credentials)

    async def bound_async(
        self,
        *,
        scope: str | None = None,
        resource: str | None = None,
        rejected: AccessToken | None = None,
        credentials: Credentials | None = None,
    ) -> BoundToken:
        """`bound` for asynchronous callers."""
        renewal = self._renewal(scope, resource)
        if renewal is not None and credentials is None:
            try:
                await asyncio.wait_for(asyncio.wrap_future(renewal), PATIENCE)
            except (ClientError, TimeoutError) as error:
                _warn("certificate", error)
        credentials = credentials or self.credentials()
        usable, flight = self._look(scope, resource, credentials, rejected)
        if flight is not None:
            try:
                # A caller that goes away leaves the flight to the others: one that has started cannot be cancelled.
                usable = await asyncio.wait_for(asyncio.wrap_future(flight), PATIENCE if usable else None)
            except (ClientError, TimeoutError) as error:
                usable = _despite(error, usable)
        assert usable is not None  # noqa: S101 # for the type checker
        return BoundToken(token=usable, credentials=credentials)

    def reject(self, token: AccessToken) -> None:
        """Forget a token that was called invalid, so that the next caller gets another one."""
        with self._lock:
            self._tokens = {key: held for key, held in self._tokens.items() if held != token}

    def _has_tokens(self, credentials: Credentials) -> bool:
        now = self._clock()
        with self._lock:
            held = (token for key, token in self._tokens.items() if key.x5t_s256 == credentials.x5t_s256)
            return any(now < token.expires_at - _margin(token) for token in held)

    def _renewal(self, scope: str | None, resource: str | None) -> _Flight | None:
        """The request for the first token of a renewed certificate, for the one caller that should wait for it."""
        settled, newest = self.credentials(), self._newest
        if newest is None or newest.x5t_s256 == settled.x5t_s256:
            return None
        key = _Key(scope=scope, resource=resource, x5t_s256=newest.x5t_s256)
        with self._lock:
            if (key, os.getpid()) in self._flights or self._clock() < self._not_before.get(key, 0):
                return None
            flight = self._flights[key, os.getpid()] = Future()
            flight.set_running_or_notify_cancel()
        self._start(key, newest, flight)
        return flight

    def _look(
        self, scope: str | None, resource: str | None, credentials: Credentials, rejected: AccessToken | None
    ) -> tuple[AccessToken | None, _Flight | None]:
        """The token that could be used, and the request for the next one if the caller should wait for that."""
        key = _Key(scope=scope, resource=resource, x5t_s256=credentials.x5t_s256)
        with self._lock:
            held = self._tokens.get(key)
            if held is not None and (held == rejected or self._clock() >= held.expires_at - _margin(held)):
                del self._tokens[key]
                held = None
            now = self._clock()
            if held is not None and (now < held.refresh_at or now < self._not_before.get(key, 0)):
                return held, None
            flight = self._flights.get((key, os.getpid()))
            if flight is not None:
                return (held, None) if held is not None else (None, flight)
            flight = self._flights[key, os.getpid()] = Future()
            flight.set_running_or_notify_cancel()
        self._start(key, credentials, flight)
        return held, flight

    def _start(self, key: _Key, credentials: Credentials, flight: _Flight) -> None:
        """A request runs in a thread of its own, since it serves threads and tasks of any event loop.

        Only in an event loop is its whole time bounded: a blocking socket starts its time-out anew with each byte.
        """
        thread = threading.Thread(target=self._fly, args=(key, credentials, flight), name="token", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads
            self._land(key, flight, error)

    def _fly(self, key: _Key, credentials: Credentials, flight: _Flight) -> None:
        wanted = TokenRequest(issuer=self.issuer, client_id=self.client_id, scope=key.scope, resource=key.resource)
        try:
            context = self._context_for(credentials)
            outcome = asyncio.run(fetch(wanted, context, at=self._clock(), jitter=self._jitter()))
        except BaseException as error:  # noqa: BLE001 # raised in the threads and tasks that wait for it
            self._land(key, flight, error)
        else:
            self._land(key, flight, outcome)

    def _land(self, key: _Key, flight: _Flight, outcome: AccessToken | BaseException) -> None:
        with self._lock:
            del self._flights[key, os.getpid()]
            if isinstance(outcome, BaseException):
                self._not_before[key] = self._clock() + COOL_DOWN
            else:
                if self._newest is not None and key.x5t_s256 == self._newest.x5t_s256:
                    self._settled = self._newest
                if self._settled is not None and key.x5t_s256 == self._settled.x5t_s256:
                    self._keep(key, outcome)
        if isinstance(outcome, BaseException):
            flight.set_exception(outcome)
        else:
            flight.set_result(outcome)

    def _keep(self, key: _Key, token: AccessToken) -> None:
        """Tokens of other certificates end here, and the oldest where there are too many."""
        kept = [other for other in self._tokens if other.x5t_s256 == key.x5t_s256 and other != key]
        self._tokens = {other: self._tokens[other] for other in kept[1 - MAX_TOKENS :]} | {key: token}
        self._not_before = {other: at for other, at in self._not_before.items() if other in self._tokens}
        self._not_before.pop(key, None)

    def _context_for(self, credentials: Credentials) -> ssl.SSLContext:
        fetching = self._fetching
        if fetching is None or fetching[0] is not credentials:
            fetching = self._fetching = credentials, credentials.tls_context()
        return fetching[1]


class _Moment:
    """The credentials of the moment, as `CertificateSource`."""

    def __init__(self, tokens: TokenSource) -> None:
        self._tokens = tokens

    def current(self) -> Credentials:
        return self._tokens.credentials()


def _certificates(
    certificate: str | Path | CertificateSource, private_key: str | Path | None, ca: str | Path | None
) -> CertificateSource:
    if isinstance(certificate, str | Path):
        if private_key is None:
            raise ClientConfigurationError("private_key: a certificate in a file needs one")
        return CertificateFiles(certificate, private_key, ca=ca)
    if private_key is not None or ca is not None:
        raise ClientConfigurationError("private_key and ca belong to the source of the certificate")
    return certificate


def _margin(token: AccessToken) -> float:
    """Seconds before its end from which a token is no longer sent; less than those from which it is replaced."""
    return min(_LAST_SECONDS, (token.expires_at - token.refresh_at) / 2)


def _despite(error: Exception, usable: AccessToken | None) -> AccessToken:
    """What is still good stays in use when its successor cannot be had."""
    if usable is None:
        raise error
    _warn("token", error)
    return usable


def _warn(what: str, error: Exception) -> None:
    _log.warning("the %s at hand stays in use: %s", what, "no answer yet" if isinstance(error, TimeoutError) else error)


__all__ = ["BoundToken", "TokenSource"]
