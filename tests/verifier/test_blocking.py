"""The verifier without an event loop: from many threads, and over a fork."""

import asyncio
import os
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any

import pytest

from mtls_as.verifier import AccessTokenVerifier, InvalidToken, VerificationUnavailable, VerifiedToken
from mtls_as.verifier.blocking import SyncGuard, SyncVerifier, run
from tests.remote.https_server import HTTPSServer, Request, answer
from tests.verifier.issuer import AUDIENCE, ISSUER, NOW
from tests.verifier.requests import AS, MINE, THIEF, TOKEN, guard, request, verifier


def jwks_server() -> HTTPSServer:
    return HTTPSServer(lambda _: answer(AS.jwks))


def remote(server: HTTPSServer) -> SyncVerifier:
    return SyncVerifier(
        AccessTokenVerifier(
            issuer=ISSUER,
            audience=AUDIENCE,
            jwks_uri=server.url,
            ssl_context=server.client_context(),
            clock=lambda: NOW,
        )
    )


def test_good_and_bad_tokens() -> None:
    """As the asynchronous verifier, with the same exceptions."""
    sync = SyncVerifier(verifier())
    assert sync.verify(TOKEN, certificate=MINE.der, scopes=["reports:read"]).client_id == "reports"
    with pytest.raises(InvalidToken):
        sync.verify(TOKEN, certificate=THIEF.der)
    assert isinstance(SyncGuard(guard()).check(request()), VerifiedToken)
    with pytest.raises(VerificationUnavailable):
        SyncVerifier(AccessTokenVerifier(issuer=ISSUER, audience=AUDIENCE, jwks_uri="https://localhost:1")).verify(
            TOKEN, certificate=MINE.der
        )


def test_many_threads_share_one_fetch() -> None:
    """Keys are fetched once for all, and then no more."""
    with jwks_server() as server:
        sync = remote(server)
        with ThreadPoolExecutor(16) as pool:
            tokens = list(pool.map(lambda _: sync.verify(TOKEN, certificate=MINE.der), range(64)))
        assert {token.client_id for token in tokens} == {"reports"}
        assert len(server.requests) == 1


def test_one_thread_serves_all() -> None:
    async def name() -> str:
        return threading.current_thread().name

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: run(name()), range(16))) == {"mtls_as.verifier"}


def in_child(work: Any) -> int:
    """The exit status of a child that forked here, which is 0 if `work` says True."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_after_use() -> None:
    """Parent and child go on, each with a loop of its own, and with the keys that were known."""
    with jwks_server() as server:
        sync = remote(server)
        sync.verify(TOKEN, certificate=MINE.der)
        assert in_child(lambda: sync.verify(TOKEN, certificate=MINE.der).client_id == "reports") == 0
        assert sync.verify(TOKEN, certificate=MINE.der).client_id == "reports"
        assert len(server.requests) == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_in_the_middle_of_a_fetch() -> None:
    """A fork waits for what runs: a fetch that the child inherits would never end there."""
    begun, goes_on = threading.Event(), threading.Event()

    def slow(_: Request) -> bytes:
        begun.set()
        assert goes_on.wait(10)
        return answer(AS.jwks)

    with HTTPSServer(slow) as server, ThreadPoolExecutor(1) as pool:
        sync = remote(server)
        first = pool.submit(sync.verify, TOKEN, certificate=MINE.der)
        assert begun.wait(10)
        threading.Timer(0.1, goes_on.set).start()
        assert in_child(lambda: sync.verify(TOKEN, certificate=MINE.der).client_id == "reports") == 0
        assert first.result(10).client_id == "reports"
        assert len(server.requests) == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_gives_up_on_what_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while it goes on without; who waited for it hears of that."""
    monkeypatch.setattr("mtls_as.verifier.blocking.DRAIN_SECONDS", 0.05)
    begun = threading.Event()

    async def forever() -> None:
        begun.set()
        await asyncio.sleep(3600)

    async def one() -> int:
        return 1

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(run, forever())
        assert begun.wait(10)
        assert in_child(lambda: run(one()) == 1) == 0
        with pytest.raises(CancelledError):
            waiting.result(10)
