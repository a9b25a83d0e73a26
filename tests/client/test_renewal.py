"""A certificate that is renewed while programs run: new connections, new tokens, and nothing lost."""

import asyncio
import logging
import os
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mtls_as.client import CertificateFiles, ClientConfigurationError, MutualTLSAuth, TokenSource
from mtls_as.client.renewed_context import RenewedContext
from mtls_as.client.transports import RenewedTransport
from tests.authority import Authority, Identity
from tests.client.resource_server import BoundServer

CA = Authority.create("Client CA")
OLD, NEW = CA.issue("reports"), CA.issue("reports")


@pytest.fixture
def server() -> Iterator[BoundServer]:
    with BoundServer(CA) as server:
        yield server


def files(folder: Path, identity: Identity = OLD, **options: Any) -> CertificateFiles:
    return CertificateFiles(*identity.write(folder, "client"), look_every=0, **options)


def source(server: BoundServer, folder: Path) -> TokenSource:
    return TokenSource(issuer=server.url, client_id="reports", certificate=files(folder, ca=server.write_ca(folder)))


class TestFiles:
    """What is taken, and what is not."""

    def test_the_same_as_long_as_nothing_changes(self, tmp_path: Path) -> None:
        found = files(tmp_path)
        assert found.current() is found.current()

    def test_a_renewed_pair(self, tmp_path: Path) -> None:
        found = files(tmp_path)
        old = found.current()
        NEW.write(tmp_path, "client")
        assert found.current().x5t_s256 != old.x5t_s256
        assert found.problem is None

    def test_one_file_after_the_other(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Between the two the old pair stays, and the log says so once."""
        found = files(tmp_path)
        old = found.current()
        (tmp_path / "client.pem").write_text(NEW.chain_pem)
        with caplog.at_level(logging.WARNING):
            assert found.current() is found.current() is old
        assert len(caplog.records) == 1
        assert "does not go with" in caplog.text
        assert found.problem is not None
        (tmp_path / "client-key.pem").write_text(NEW.key_pem)
        assert found.current() is not old
        assert found.problem is None

    @pytest.mark.parametrize("content", [None, "", "junk", OLD.key_pem], ids=["gone", "empty", "junk", "a key"])
    def test_a_damaged_certificate(self, tmp_path: Path, content: str | None) -> None:
        """The old pair stays, and the next good one is taken."""
        found = files(tmp_path)
        old = found.current()
        certificate = tmp_path / "client.pem"
        certificate.unlink() if content is None else certificate.write_text(content)
        assert found.current() is old
        assert "client.pem" in str(found.problem)
        NEW.write(tmp_path, "client")
        assert found.current() is not old

    def test_a_link_to_a_folder_that_is_switched(self, tmp_path: Path) -> None:
        """As mounted secrets are renewed."""
        OLD.write(tmp_path / "1", "client")
        NEW.write(tmp_path / "2", "client")
        link = tmp_path / "now"
        link.symlink_to("1")
        found = CertificateFiles(link / "client.pem", link / "client-key.pem", look_every=0)
        old = found.current()
        (tmp_path / "next").symlink_to("2")
        (tmp_path / "next").replace(link)
        assert found.current().x5t_s256 != old.x5t_s256

    def test_files_are_looked_at_now_and_then(self, tmp_path: Path) -> None:
        now = [0.0]
        found = CertificateFiles(*OLD.write(tmp_path, "client"), monotonic=lambda: now[0])
        old = found.current()
        NEW.write(tmp_path, "client")
        now[0] = 0.9
        assert found.current() is old
        now[0] = 1.0
        assert found.current() is not old

    def test_new_authorities(self, tmp_path: Path) -> None:
        """The file of the CAs is followed as well; with none in it the old ones stay."""
        ca = tmp_path / "ca.pem"
        ca.write_text(CA.pem)
        found = files(tmp_path, ca=ca)
        ca.write_text("")
        assert found.current().ca_pem is not None
        ca.write_text("# Größe\n" + Authority.create("Other").pem)
        before = found.current()
        ca.write_text(CA.pem)
        assert found.current() is not before

    def test_no_key_in_a_representation(self, tmp_path: Path) -> None:
        shown = repr(files(tmp_path).current())
        assert "PRIVATE" not in shown
        assert OLD.key_pem.splitlines()[1] not in shown

    @pytest.mark.parametrize("options", [{"private_key": "key.pem"}, {"ca": "ca.pem"}], ids=["key", "ca"])
    def test_a_source_has_all_of_its_own(self, tmp_path: Path, options: dict[str, str]) -> None:
        with pytest.raises(ClientConfigurationError, match="source"):
            TokenSource(issuer="https://as.example", client_id="a", certificate=files(tmp_path), **options)  # type: ignore[arg-type] # one of two options

    def test_a_file_wants_a_key(self, tmp_path: Path) -> None:
        with pytest.raises(ClientConfigurationError, match="private_key"):
            TokenSource(issuer="https://as.example", client_id="a", certificate=tmp_path / "client.pem")


class TestContext:
    """The TLS context that stands for the newest one."""

    def test_nobody_turns_verification_off(self, tmp_path: Path) -> None:
        """Settings of the outer context do not reach connections."""
        context = RenewedContext(files(tmp_path))
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        inner = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost").context
        assert inner.verify_mode is ssl.CERT_REQUIRED
        assert inner.check_hostname

    def test_a_connection_of_before(self, tmp_path: Path) -> None:
        context = RenewedContext(files(tmp_path))
        before = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
        assert not context.is_outdated(before)
        NEW.write(tmp_path, "client")
        assert context.is_outdated(before)
        assert not context.is_outdated(None)
        assert not context.is_outdated(
            ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="a")
        )

    def test_no_file_is_left_of_the_key(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where files cannot be in memory, they are in a folder that is gone at once."""
        monkeypatch.delattr(os, "memfd_create", raising=False)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
        (tmp_path / "temporary").mkdir()
        files(tmp_path).current().tls_context()
        assert list((tmp_path / "temporary").iterdir()) == []


def test_a_client_goes_on_with_the_new_certificate(server: BoundServer, tmp_path: Path) -> None:
    """Not one refusal: connections and tokens change together."""
    auth = MutualTLSAuth.using(source(server, tmp_path))
    with auth.client() as http:
        assert [http.get(server.url + "/api").status_code for _ in range(2)] == [200, 200]
        NEW.write(tmp_path, "client")
        assert [http.get(server.url + "/api").status_code for _ in range(2)] == [200, 200]
    assert (server.refusals, server.connections_of(OLD), server.connections_of(NEW)) == (0, 1, 1)


async def test_an_asynchronous_client_goes_on_with_the_new_certificate(server: BoundServer, tmp_path: Path) -> None:
    auth = MutualTLSAuth.using(source(server, tmp_path))
    async with auth.async_client() as http:
        for identity in (OLD, NEW):
            identity.write(tmp_path, "client")
            answers = await asyncio.gather(*(http.get(server.url + "/api") for _ in range(5)))
            assert {answer.status_code for answer in answers} == {200}
    assert server.refusals == 0


def test_a_request_under_way_finishes(server: BoundServer, tmp_path: Path) -> None:
    """Its connection is closed when its answer has been read, and not before."""
    auth = MutualTLSAuth.using(source(server, tmp_path))
    with auth.client() as http:
        with http.stream("GET", server.url + "/slow") as slow:
            body = slow.iter_raw()
            first = next(body)
            NEW.write(tmp_path, "client")
            assert http.get(server.url + "/api").status_code == 200
            server.finish_slow()
            assert first + b"".join(body) == b"begin end"
        transport = http._transport
        assert isinstance(transport, RenewedTransport)
        assert len(transport._generations._all) == 1


def test_kept_connections_of_a_client_with_the_context(server: BoundServer, tmp_path: Path) -> None:
    """With `verify=`, connections that were kept are noticed when they are refused, however many there are."""
    auth = MutualTLSAuth.using(source(server, tmp_path))
    with httpx.Client(auth=auth, verify=auth.ssl_context(), trust_env=False) as http:
        with http.stream("GET", server.url + "/api"), http.stream("GET", server.url + "/api"):
            pass
        assert server.connections_of(OLD) == 2
        NEW.write(tmp_path, "client")
        assert [http.get(server.url + "/api").status_code for _ in range(3)] == [200] * 3
    assert server.connections_of(NEW) == 1


async def test_kept_connections_of_an_asynchronous_client_with_the_context(server: BoundServer, tmp_path: Path) -> None:
    auth = MutualTLSAuth.using(source(server, tmp_path))
    async with httpx.AsyncClient(auth=auth, verify=auth.ssl_context(), trust_env=False) as http:
        for identity in (OLD, NEW):
            identity.write(tmp_path, "client")
            answers = await asyncio.gather(*(http.get(server.url + "/api") for _ in range(4)))
            assert [answer.status_code for answer in answers] == [200] * 4


def test_threads_over_a_renewal_of_a_client_with_the_context(server: BoundServer, tmp_path: Path) -> None:
    """A connection that is closed is nobody else's by then."""
    auth = MutualTLSAuth.using(source(server, tmp_path))
    codes: list[int] = []
    with httpx.Client(auth=auth, verify=auth.ssl_context(), trust_env=False) as http:

        def work() -> None:
            codes.extend(http.get(server.url + "/api").status_code for _ in range(10))

        for identity in (OLD, NEW, OLD):
            identity.write(tmp_path, "client")
            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert (set(codes), len(codes)) == ({200}, 240)


def test_connection_options(server: BoundServer, tmp_path: Path) -> None:
    """What is about connections goes to them, and nothing may say something else about certificates."""
    auth = MutualTLSAuth.using(source(server, tmp_path))
    with auth.client(limits=httpx.Limits(max_keepalive_connections=0), timeout=3) as http:
        assert [http.get(server.url + "/api").status_code for _ in range(2)] == [200, 200]
    assert server.connections_of(OLD) == 2
    with pytest.raises(TypeError, match="verify"):
        auth.client(verify=False)


def test_many_threads_over_a_renewal(server: BoundServer, tmp_path: Path) -> None:
    """No thread sees a refusal, and for each certificate there is one token."""
    auth = MutualTLSAuth.using(source(server, tmp_path))
    codes: list[int] = []
    with auth.client() as http:

        def work() -> None:
            codes.extend(http.get(server.url + "/api").status_code for _ in range(10))

        threads = [threading.Thread(target=work) for _ in range(5)]
        for thread in threads:
            thread.start()
        NEW.write(tmp_path, "client")
        for thread in threads:
            thread.join()
        assert http.get(server.url + "/api").status_code == 200
    assert (set(codes), len(codes), server.refusals) == ({200}, 50, 0)
    assert server.tokens <= 2
