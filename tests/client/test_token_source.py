"""The tokens under every adapter: kept by scope, resource and certificate, asked for once, used through an outage."""

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mtls_as.client import AuthorizationServerError, CertificateFiles, TokenSource
from mtls_as.client import token_source as module
from tests.authority import Authority
from tests.client.resource_server import BoundServer

CA = Authority.create("Client CA")
OLD, NEW = CA.issue("reports"), CA.issue("reports")


class Setting:
    """A server, a source of tokens, and a clock."""

    def __init__(self, server: BoundServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.now = 1_800_000_000.0
        self.source = TokenSource(
            issuer=server.url,
            client_id="reports",
            certificate=CertificateFiles(*OLD.write(folder, "client"), ca=server.write_ca(folder), look_every=0),
            clock=lambda: self.now,
            jitter=lambda: 0.0,
        )

    def number(self, **wanted: str) -> str:
        return self.source.token(**wanted).value.partition(".")[0]  # type: ignore[arg-type] # scope and resource


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    with BoundServer(CA) as server:
        yield Setting(server, tmp_path)


def test_each_scope_and_resource_has_its_token(setting: Setting) -> None:
    """RFC 8707: a token for one resource is not sent to another."""
    assert [setting.number(scope=s) for s in ("a", "b", "a")] == ["token-1", "token-2", "token-1"]
    assert [setting.number(scope="a", resource=r) for r in ("https://x.example", "https://y.example")] == [
        "token-3",
        "token-4",
    ]
    assert setting.number(scope="a", resource="https://x.example") == "token-3"


def test_tokens_are_not_kept_without_end(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go."""
    monkeypatch.setattr(module, "MAX_TOKENS", 2)
    assert [setting.number(scope=s) for s in "abcbca"] == [
        "token-1",
        "token-2",
        "token-3",
        "token-2",
        "token-3",
        "token-4",
    ]


def test_tokens_of_the_old_certificate_are_dropped(setting: Setting) -> None:
    """A renewed certificate has tokens of its own, and those before it are forgotten."""
    first = setting.source.token()
    NEW.write(setting.folder, "client")
    second = setting.source.token()
    assert first.value.partition(".")[2] != second.value.partition(".")[2]
    assert list(setting.source._tokens.values()) == [second]


def test_threads_and_tasks_share_one_request(setting: Setting) -> None:
    """Single flight: ten threads, and ten tasks in each of two event loops at once."""

    async def tasks() -> None:
        await asyncio.gather(*(setting.source.token_async() for _ in range(10)))

    with ThreadPoolExecutor(12) as executor:
        futures = [executor.submit(setting.source.token) for _ in range(10)]
        futures += [executor.submit(asyncio.run, tasks()) for _ in range(2)]  # type: ignore[misc] # each with a result of its own
        for future in futures:
            future.result(10)
    assert setting.server.tokens == 1


async def test_a_task_that_goes_away_leaves_the_request_to_the_others(setting: Setting) -> None:
    first = asyncio.create_task(setting.source.token_async())
    second = asyncio.create_task(setting.source.token_async())
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).value.startswith("token-1.")
    assert first.cancelled()


def test_a_token_is_used_to_its_end_while_the_server_is_away(setting: Setting) -> None:
    """An authorization server that restarts when tokens are due costs nothing; one that stays away, the next token."""
    setting.number()
    setting.server.down = True
    setting.now += 271
    assert setting.number() == "token-1"
    setting.server.down = False
    assert setting.number() == "token-1"  # not asked again at once
    setting.now += 5
    assert setting.number() == "token-2"
    setting.server.down = True
    setting.now += 299
    with pytest.raises(AuthorizationServerError):
        setting.number()


def test_one_waits_for_the_successor_and_the_others_go_on(setting: Setting) -> None:
    """Whoever finds a request under way uses the token that is still good."""
    setting.number()
    setting.now += 271
    lock = threading.Lock()
    lock.acquire()
    reply = setting.server._give_token
    setting.server._give_token = lambda certificate: (lock.acquire(timeout=5), reply(certificate))[1]  # type: ignore[method-assign] # a server that takes its time
    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(setting.number)
        while not setting.source._flights:
            pass
        assert setting.number() == "token-1"
        lock.release()
        assert waiting.result(5) == "token-2"
    assert setting.number() == "token-2"


def test_a_server_that_hangs_holds_nobody_up_for_long(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second at most, as long as the token at hand is good; the request goes on, and its token is taken."""
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    setting.number()
    setting.now += 271
    answer, reply = threading.Event(), setting.server._give_token
    setting.server._give_token = lambda certificate: (answer.wait(5), reply(certificate))[1]  # type: ignore[method-assign] # a server that hangs
    assert setting.number() == "token-1"
    assert asyncio.run(setting.source.token_async()).value.startswith("token-1.")
    flight = next(iter(setting.source._flights.values()))
    answer.set()
    flight.result(5)
    assert setting.number() == "token-2"


def test_a_rejected_token_is_replaced_once_for_all(setting: Setting) -> None:
    """Whoever comes later with the same token gets its successor."""
    first = setting.source.token()
    second = setting.source.token(rejected=first)
    assert second != first
    assert setting.source.token(rejected=first) == second
    assert setting.server.tokens == 2


def test_a_token_that_is_almost_over_is_not_sent(setting: Setting) -> None:
    """It could end on its way."""
    setting.number()
    setting.now += 298.5
    assert setting.number() == "token-2"


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_process_that_was_forked_waits_for_no_thread_of_its_parent(setting: Setting) -> None:
    """A request that was under way does not go on in the child, which makes one of its own."""
    lock = threading.Lock()
    lock.acquire()
    reply = setting.server._give_token
    setting.server._give_token = lambda certificate: (lock.acquire(timeout=5), lock.release(), reply(certificate))[2]  # type: ignore[method-assign] # a server that takes its time
    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(setting.number)
        while not setting.source._flights:
            pass
        child = os.fork()
        if child == 0:
            os._exit(0 if setting.number().startswith("token-") else 1)
        lock.release()
        assert waiting.result(5).startswith("token-")
    assert os.waitpid(child, 0)[1] == 0
