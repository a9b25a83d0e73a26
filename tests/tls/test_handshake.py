"""Which handshakes succeed, which fail, and what the operator hears of those that fail."""

import asyncio
import base64
import contextlib
import re
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL
from OpenSSL._util import lib

from mtls_as.tls import Limits
from mtls_as.tls.context import CIPHER_SUITES
from tests.authority import Authority, Identity, new_key, self_signed
from tests.programs import require_program
from tests.tls.apps import tell_tls
from tests.tls.peers import QUICK, HTTP2Client, MemoryClient, Server, client_context, serving, until

CA = Authority.create("Client CA")


async def openssl_client(server: Server, *arguments: str, typed: str = "", listener: str = "mtls") -> str:
    """What `openssl s_client` prints. `typed` is sent line by line, with a pause before each."""
    program = await asyncio.create_subprocess_exec(
        require_program("openssl"), "s_client", "-connect", f"127.0.0.1:{server.ports[listener]}", *arguments,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert program.stdin is not None
    for line in typed.splitlines():
        await asyncio.sleep(0.3)
        program.stdin.write(line.encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await program.stdin.drain()
    output, _ = await asyncio.wait_for(program.communicate(), 10)
    return output.decode(errors="replace")


async def test_asks_only_where_the_listener_says_so(tmp_path: Path) -> None:
    """The mtls listener asks, and takes a refusal; the public one never asks (RFC 8705 §6.1)."""
    async with serving(tell_tls, tmp_path) as server:
        files = CA.issue("c1").write(tmp_path, "c1")
        arguments = ("-cert", str(files[0]), "-key", str(files[1]), "-msg")
        asked = await openssl_client(server, *arguments, typed="Q")
        not_asked = await openssl_client(server, *arguments, typed="Q", listener="public")
        without = await openssl_client(server, "-msg", typed="Q")
    assert "CertificateRequest" in asked
    assert "CertificateVerify" in asked
    assert "CertificateRequest" not in not_asked
    assert "CertificateRequest" in without
    assert not server.failures


async def test_certificate_of_every_kind_of_key(tmp_path: Path) -> None:
    """Keys of all kinds prove their possession; weak ones too, since strength is judged by the trust domain."""
    async with serving(tell_tls, tmp_path) as server:
        for kind in ("P-256", "P-384", "RSA-2048", "Ed25519"):
            client = self_signed(kind, private_key=new_key(kind))
            async with await server.connect(client) as connection:
                assert (await connection.get()).json()["der"] == [client.der.hex()]


async def test_expired_certificate_is_no_matter_of_the_handshake(tmp_path: Path) -> None:
    """An expired certificate arrives, so that the client gets an OAuth error and the operator a reason."""
    now = datetime.now(UTC)
    client = CA.issue("old", not_before=now - timedelta(days=3), not_after=now - timedelta(days=2))
    async with serving(tell_tls, tmp_path) as server, await server.connect(client) as connection:
        assert (await connection.get()).json()["der"] == [client.der.hex()]


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
async def test_possession_must_be_proved(tmp_path: Path, version: int) -> None:
    """A victim's certificate with a signature by another key ends the handshake (RFC 8705 §7.2)."""
    victim, attacker = CA.issue("victim"), CA.issue("attacker")
    certificate, key = victim.write(tmp_path, "victim")
    key.write_text(_key_that_claims_to_be(victim, attacker))
    context = client_context((certificate, key))
    context.set_max_proto_version(version)
    async with serving(tell_tls, tmp_path) as server:
        client = MemoryClient(context)
        await client.open(server)
        with contextlib.suppress(SSL.Error, ConnectionError):
            await client.run(client.connection.do_handshake)
            pytest.fail(f"answered {await client.get()!r}")
        assert await server.failure() == "possession_not_proved"
        await client.close()


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
async def test_old_versions_are_refused(tmp_path: Path, version: str) -> None:
    """TLS 1.0 and 1.1 (RFC 8996)."""
    async with serving(tell_tls, tmp_path) as server:
        output = await openssl_client(server, version, "-cipher", "ALL:@SECLEVEL=0", typed="Q")
        assert "Cipher is (NONE)" in output
        assert await server.failure() == "unsupported_version"


@pytest.mark.parametrize(
    "suites", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-SHA384", "NULL", "EXPORT", "ADH", "DHE-RSA-AES256-GCM-SHA384"]
)
async def test_suites_beyond_the_recommendation_are_refused(tmp_path: Path, suites: str) -> None:
    """No static RSA, no CBC, no NULL, export or anonymous suites (RFC 9325 §4.2)."""
    async with serving(tell_tls, tmp_path) as server:
        output = await openssl_client(server, "-tls1_2", "-cipher", f"{suites}:@SECLEVEL=0", typed="Q")
        if "no cipher match" in output or "Error with command" in output:
            return  # this OpenSSL cannot even offer it
        assert "Cipher is (NONE)" in output
        assert await server.failure() == "no_shared_cipher"


async def test_tls_1_3_and_the_servers_order_are_preferred(tmp_path: Path) -> None:
    """A client that offers everything gets TLS 1.3 and our first suite; over TLS 1.2, our first of those."""
    async with serving(tell_tls, tmp_path) as server:
        async with await server.connect() as connection:
            assert connection.tls.version() == "TLSv1.3"
        context = server.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
        async with await server.connect(context=context) as connection:
            assert (connection.tls.cipher() or ("",))[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"


def test_the_suites_on_offer_are_exactly_the_recommended_ones() -> None:
    """Forward secrecy and authenticated encryption, nothing else."""
    for name in CIPHER_SUITES:
        assert name.startswith(("TLS_", "ECDHE-"))
        assert re.search(r"AES(_)?(128|256)[-_]GCM|CHACHA20[-_]POLY1305", name)


async def test_no_resumption_in_tls_1_3(tmp_path: Path) -> None:
    """A client that offers a session again makes a full handshake again, with its certificate (RFC 8705 §7.2)."""
    files = CA.issue("c1").write(tmp_path, "c1")
    async with serving(tell_tls, tmp_path) as server:
        context = client_context(files)
        first = MemoryClient(context)
        await first.open(server)
        await first.run(first.connection.do_handshake)
        assert b"200" in await first.get()  # the tickets have arrived by now
        session = first.connection.get_session()
        assert session is not None
        await first.close()
        second = MemoryClient(context)
        second.connection.set_session(session)
        await second.open(server)
        await second.run(second.connection.do_handshake)
        assert b'"CN=c1"' in await second.get()
        assert not _reused(second.connection)
        await second.close()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_no_resumption_with_openssl(tmp_path: Path, version: str) -> None:
    """`s_client` saves its session, and the server does not take it back."""
    files = CA.issue("c1").write(tmp_path, "c1")
    session = tmp_path / "session.pem"
    arguments = (version, "-cert", str(files[0]), "-key", str(files[1]))
    async with serving(tell_tls, tmp_path) as server:
        request = "GET / HTTP/1.0\n\n"
        first = await openssl_client(server, *arguments, "-sess_out", str(session), "-ign_eof", "-crlf", typed=request)
        assert "200" in first
        if version == "-tls1_2":
            assert not re.search(r"Session-ID: [0-9A-F]", first), "a TLS 1.2 session that could be asked for again"
            assert "TLS session ticket:" not in first
        if session.exists():
            again = await openssl_client(server, *arguments, "-sess_in", str(session), typed="Q")
            assert "Reused" not in again
            assert "New, TLS" in again


async def test_no_early_data(tmp_path: Path) -> None:
    """0-RTT is never on offer: no session allows any."""
    async with serving(tell_tls, tmp_path) as server:
        output = await openssl_client(server, "-tls1_3", "-ign_eof", "-crlf", typed="GET / HTTP/1.0\n\n")
    assert not re.search(r"Max Early Data: [1-9]", output)


async def test_no_compression(tmp_path: Path) -> None:
    """CRIME: the TLS layer compresses nothing."""
    async with serving(tell_tls, tmp_path) as server:
        assert "Compression: NONE" in await openssl_client(server, "-tls1_2", "-comp", typed="Q")


async def test_renegotiation_is_refused(tmp_path: Path) -> None:
    """CVE-2009-3555 and the certificate swap: a TLS 1.2 client that asks for a new handshake does not get it."""
    async with serving(tell_tls, tmp_path) as server:
        output = await openssl_client(server, "-tls1_2", typed="R\n\nQ")
    assert "RENEGOTIATING" in output
    assert "no renegotiation" in output
    assert output.count("Server certificate") == 1


async def test_alpn_chooses_the_protocol(tmp_path: Path) -> None:
    """HTTP/2 before HTTP/1.1, whatever the client's order; HTTP/1.1 without ALPN."""
    async with serving(tell_tls, tmp_path) as server:
        async with await server.connect(alpn=["http/1.1", "h2"]) as connection:
            assert connection.tls.selected_alpn_protocol() == "h2"
        async with await server.connect(alpn=["http/1.1"]) as connection:
            assert (await connection.get()).json()["http_version"] == "1.1"
        async with await server.connect() as connection:
            assert connection.tls.selected_alpn_protocol() is None
            assert (await connection.get()).json()["http_version"] == "1.1"
        async with await HTTP2Client.open(server) as http2:
            assert (await http2.get()).json()["http_version"] == "2"


async def test_a_protocol_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    """ALPACA: a client of another protocol gets `no_application_protocol` (RFC 7301 §3.2)."""
    async with serving(tell_tls, tmp_path) as server:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await server.connect(alpn=["ftp"])
        assert await server.failure() == "no_common_protocol"
        async with await server.connect() as connection:
            assert (await connection.get()).status == 200


async def test_a_client_that_distrusts_us_is_named(tmp_path: Path) -> None:
    """The alert that the client sends is the reason."""
    context = client_context()
    context.set_verify(SSL.VERIFY_PEER)
    async with serving(tell_tls, tmp_path) as server:
        client = MemoryClient(context)
        await client.open(server)
        with pytest.raises(SSL.Error):
            await client.run(client.connection.do_handshake)
        await client.flush()
        assert await server.failure() == "alert_unknown_ca"
        await client.close()


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "not_tls"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "not_tls"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "not_tls"),
        (bytes(600), "not_tls"),
        (b"\x16\x03\x01\xff\xff" + bytes(70000), "handshake_failed"),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "handshake_failed"),
    ],
)
async def test_other_bytes_than_tls(tmp_path: Path, sent: bytes, reason: str) -> None:
    """Bytes before the handshake that are no ClientHello: the connection is closed, others are served."""
    async with serving(tell_tls, tmp_path) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(sent)
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in await asyncio.wait_for(reader.read(), 5)
        assert await server.failure() == reason
        async with await server.connect() as connection:
            assert (await connection.get()).status == 200
        writer.close()


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40)])
async def test_a_handshake_held_open_ends(tmp_path: Path, sent: bytes) -> None:
    """No byte, one byte, half a ClientHello: the time-out closes the connection."""
    async with serving(tell_tls, tmp_path, timeouts=QUICK) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(sent)
        assert await asyncio.wait_for(reader.read(), QUICK.handshake + 1) == b""
        assert await server.failure() == "timeout"
        writer.close()


async def test_a_byte_now_and_then_does_not_extend_the_handshake(tmp_path: Path) -> None:
    """The time-out is a total."""
    async with serving(tell_tls, tmp_path, timeouts=QUICK) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        loop = asyncio.get_running_loop()
        begun = loop.time()

        async def drip() -> None:
            for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100):
                writer.write(bytes([byte]))
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        with contextlib.suppress(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 3)
        assert loop.time() - begun < QUICK.handshake + 0.5
        dripping.cancel()
        writer.close()
        assert await server.failure() == "timeout"


async def test_a_client_that_leaves_during_the_handshake(tmp_path: Path) -> None:
    """A port scanner: connects and goes."""
    async with serving(tell_tls, tmp_path) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        host, port = writer.get_extra_info("sockname")[:2]
        writer.close()
        assert await server.failure() == "peer_closed"
        assert server.failures == [("peer_closed", f"{host}:{port}")]


async def test_connections_beyond_the_limit_are_closed(tmp_path: Path) -> None:
    """What comes on top of the limits is refused at once; there is room again when others leave."""
    limits = Limits(connections=2, handshakes=2)
    async with serving(tell_tls, tmp_path, limits=limits) as server:
        first, second = await server.connect(), await server.connect()
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await server.connect()
        assert server.failures[0][0] == "too_many_connections"
        await first.close()
        await until(first.reader.at_eof)
        await asyncio.sleep(0.05)
        async with await server.connect() as connection:
            assert (await connection.get()).status == 200
        await second.close()


async def test_handshakes_beyond_the_limit_are_closed(tmp_path: Path) -> None:
    """Half-open handshakes do not keep complete connections from being served."""
    async with serving(tell_tls, tmp_path, limits=Limits(connections=100, handshakes=3)) as server:
        async with await server.connect() as connection:
            held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(4)]
            assert await server.failure() == "too_many_handshakes"
            assert (await connection.get()).status == 200
        for _, writer in held:
            writer.close()


async def test_a_broken_record_ends_only_its_own_connection(tmp_path: Path) -> None:
    """Garbage after the handshake: that connection ends, its neighbour does not notice."""
    async with serving(tell_tls, tmp_path) as server, await server.connect() as neighbour:
        client = MemoryClient(client_context())
        await client.open(server)
        await client.run(client.connection.do_handshake)
        await client.flush()
        client.writer.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        with contextlib.suppress(ConnectionError):
            while await asyncio.wait_for(client.reader.read(65536), 5):
                pass
        assert (await neighbour.get()).status == 200
        await client.close()
    assert not server.failures


def _reused(connection: SSL.Connection) -> bool:
    return bool(lib.SSL_session_reused(connection._ssl))


def _key_that_claims_to_be(victim: Identity, attacker: Identity) -> str:
    """The attacker's private value under the victim's public point (SEC 1 C.4): OpenSSL compares only the latter."""
    key, point = attacker.private_key, victim.certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(point, ec.EllipticCurvePublicKey)
    der = (
        bytes.fromhex("30770201010420")
        + key.private_numbers().private_value.to_bytes(32, "big")
        + bytes.fromhex("a00a06082a8648ce3d030107a144034200")
        + point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    )
    return f"-----BEGIN EC PRIVATE KEY-----\n{base64.encodebytes(der).decode()}-----END EC PRIVATE KEY-----\n"
