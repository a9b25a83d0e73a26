"""What seldom happens: connections that fail, threads that cannot be had, authorities that are none."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mtls_as.client import CertificateFiles, ClientConfigurationError, Credentials, MutualTLSAuth, TokenSource
from mtls_as.client.refusals import calls_token_invalid
from mtls_as.client.requests import BoundAuth
from mtls_as.client.transports import AsyncRenewedTransport, RenewedTransport
from tests.authority import Authority
from tests.client.resource_server import BoundServer

CA = Authority.create("Client CA")
OLD, NEW = CA.issue("reports"), CA.issue("reports")
NOBODY = "https://localhost:1/api"


@pytest.fixture
def server() -> Iterator[BoundServer]:
    with BoundServer(CA) as server:
        yield server


@pytest.fixture
def tokens(server: BoundServer, tmp_path: Path) -> TokenSource:
    files = CertificateFiles(*OLD.write(tmp_path, "client"), ca=server.write_ca(tmp_path), look_every=0)
    return TokenSource(issuer=server.url, client_id="reports", certificate=files)


def test_a_connection_that_fails_holds_nothing(tokens: TokenSource, tmp_path: Path) -> None:
    """The connections of the old certificate are closed all the same when it is renewed."""
    with MutualTLSAuth.using(tokens).client() as http:
        transport = http._transport
        assert isinstance(transport, RenewedTransport)
        for identity in (OLD, NEW):
            identity.write(tmp_path, "client")
            with pytest.raises(httpx.ConnectError):
                http.get(NOBODY)
        assert [each.requests for each in transport._generations._all] == [0]


async def test_an_asynchronous_connection_that_fails_holds_nothing(tokens: TokenSource, tmp_path: Path) -> None:
    async with MutualTLSAuth.using(tokens).async_client() as http:
        transport = http._transport
        assert isinstance(transport, AsyncRenewedTransport)
        for identity in (OLD, NEW):
            identity.write(tmp_path, "client")
            with pytest.raises(httpx.ConnectError):
                await http.get(NOBODY)
        assert [each.requests for each in transport._generations._all] == [0]


async def test_a_task_that_is_cancelled_holds_nothing(server: BoundServer, tokens: TokenSource) -> None:
    async with MutualTLSAuth.using(tokens).async_client() as http:
        await http.get(server.url + "/api")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await http.get(server.url + "/slow")
        transport = http._transport
        assert isinstance(transport, AsyncRenewedTransport)
        assert [each.requests for each in transport._generations._all] == [0]
        server.finish_slow()


def test_no_more_threads(tokens: TokenSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits is told, and the next one tries again."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            tokens.token()
    assert tokens.token().value.startswith("token-1.")


@pytest.mark.parametrize("ca_pem", [b"", b" \n"], ids=["nothing", "blanks"])
def test_no_authorities_are_not_those_of_the_system(ca_pem: bytes) -> None:
    with pytest.raises(ClientConfigurationError, match="no CA"):
        Credentials(x5t_s256="", chain_pem=b"", private_key_pem=b"", ca_pem=ca_pem)


@pytest.mark.parametrize(
    ("chain_pem", "ca_pem"), [(b"junk", CA.pem.encode()), (OLD.pem.encode(), b"junk")], ids=["chain", "authorities"]
)
def test_credentials_of_ones_own_that_tls_does_not_take(chain_pem: bytes, ca_pem: bytes) -> None:
    """A source of one's own may make any; one error tells of it."""
    made = Credentials(x5t_s256="", chain_pem=chain_pem, private_key_pem=OLD.key_pem.encode(), ca_pem=ca_pem)
    with pytest.raises(ClientConfigurationError):
        made.tls_context()


@pytest.mark.parametrize("challenge", ["", 'Bearer error="invalid_token', 'DPoP error="invalid_token"', "Bearer"])
def test_challenges_that_say_nothing_of_the_token(challenge: str) -> None:
    """Malformed ones, and those of another scheme."""
    assert not calls_token_invalid(401, [challenge])


def test_the_header_of_requests_does_not_show_its_token(tokens: TokenSource) -> None:
    authorization = BoundAuth(tokens).authorization()
    assert "token-1" not in repr(authorization)
    assert "token-1" in authorization
