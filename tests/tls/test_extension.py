"""What applications see in `scope["extensions"]`: the ASGI TLS extension 0.2, and ours."""

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from mtls_as.rfc.rfc5280_certificate import Certificate, parse_certificate
from mtls_as.tls import extension
from mtls_as.tls.extension import NOT_VERIFIED
from mtls_as.tls.record_layer import MAX_CHAIN
from tests.authority import Authority, name, self_signed
from tests.tls.apps import answer, http, tell_tls
from tests.tls.peers import HTTP2Client, serving

CA = Authority.create("Client CA")


async def test_every_member_of_the_tls_extension(tmp_path: Path) -> None:
    """The extension's members have the types and forms of its text."""
    client = CA.issue(name("c1", country="DE", organization="Example, Inc."))
    async with serving(tell_tls, tmp_path) as server, await server.connect(client) as connection:
        told = (await connection.get()).json()
        cipher, _, _ = connection.tls.cipher() or ("", "", 0)
        assert told["tls"] == {
            "server_cert": (tmp_path / "server.pem").read_text(),
            "client_cert_chain": [client.pem],
            "client_cert_name": "CN=c1,O=Example\\, Inc.,C=DE",
            "client_cert_error": NOT_VERIFIED,
            "tls_version": 0x0304,
            "cipher_suite": {"TLS_AES_256_GCM_SHA384": 0x1302}[cipher],
        }
        assert told["listener"] == "mtls"
        assert told["scheme"] == "https"
        assert isinstance(told["tls_group"], str)


async def test_tls_1_2_and_its_suite(tmp_path: Path) -> None:
    """`tls_version` and `cipher_suite` are those of the connection."""
    async with serving(tell_tls, tmp_path) as server:
        context = server.context(CA.issue())
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-ECDSA-CHACHA20-POLY1305")
        async with await server.connect(context=context) as connection:
            told = (await connection.get()).json()
    assert told["tls"]["tls_version"] == 0x0303
    assert told["tls"]["cipher_suite"] == 0xCCA9


async def test_without_a_certificate_nothing_is_claimed(tmp_path: Path) -> None:
    """No certificate: an empty chain, and no error, since nothing was presented."""
    async with serving(tell_tls, tmp_path) as server, await server.connect() as connection:
        told = (await connection.get()).json()
    assert told["der"] == []
    assert told["tls"]["client_cert_chain"] == []
    assert told["tls"]["client_cert_name"] is None
    assert told["tls"]["client_cert_error"] is None


async def test_the_chain_is_leaf_first(tmp_path: Path) -> None:
    """Intermediates follow the leaf in the order in which they were presented."""
    issuing = Authority.create("Issuing CA", parent=CA)
    client = issuing.issue("c1")
    async with serving(tell_tls, tmp_path) as server, await server.connect(client) as connection:
        told = (await connection.get()).json()
    assert [bytes.fromhex(der) for der in told["der"]] == list(client.der_chain)
    assert "".join(told["tls"]["client_cert_chain"]) == client.chain_pem


async def test_the_chain_is_bounded(tmp_path: Path) -> None:
    """A client may present many certificates; ten are taken."""
    client = CA.issue("c1")
    certificate, key = client.write(tmp_path, "long")
    certificate.write_text(client.pem + CA.pem * 20)
    async with serving(tell_tls, tmp_path) as server:
        context = server.context()
        context.load_cert_chain(certificate, key)
        async with await server.connect(context=context) as connection:
            told = (await connection.get()).json()
    assert len(told["der"]) == MAX_CHAIN
    assert told["der"][0] == client.der.hex()


async def test_self_signed_and_unknown_certificates_are_handed_on(tmp_path: Path) -> None:
    """The handshake accepts any certificate: who is trusted is decided by the application (RFC 8705 §2.2)."""
    for client in (self_signed("stranger"), Authority.create("Unknown CA").issue("c2")):
        async with serving(tell_tls, tmp_path) as server, await server.connect(client) as connection:
            assert (await connection.get()).json()["der"][0] == client.der.hex()


async def test_an_appended_certificate_is_not_the_leaf(tmp_path: Path) -> None:
    """CVE-2023-2422: a victim's certificate behind one's own leaf stays behind it."""
    attacker, victim = CA.issue("attacker"), CA.issue("victim")
    certificate, key = attacker.write(tmp_path, "attacker")
    certificate.write_text(attacker.pem + victim.pem)
    async with serving(tell_tls, tmp_path) as server:
        context = server.context()
        context.load_cert_chain(certificate, key)
        async with await server.connect(context=context) as connection:
            told = (await connection.get()).json()
    assert told["der"] == [attacker.der.hex(), victim.der.hex()]
    assert told["tls"]["client_cert_name"] == "CN=attacker"


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
async def test_connections_never_see_one_another(tmp_path: Path, protocol: str) -> None:
    """Concurrent connections with different certificates, many requests each: every request sees its own."""
    clients = [CA.issue(f"c{number}") for number in range(8)]

    @http
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.001)
        await answer(send, scope["extensions"]["mtls_as"]["client_der_chain"][0])

    async with serving(slow, tmp_path) as server:

        async def ask(number: int) -> None:
            if protocol == "h2":
                async with await HTTP2Client.open(server, clients[number]) as http2:
                    streams = [await http2.start() for _ in range(10)]
                    bodies = [(await http2.answer(stream)).body for stream in streams]
            else:
                async with await server.connect(clients[number]) as connection:
                    bodies = [(await connection.get()).body for _ in range(10)]
            assert bodies == [clients[number].der] * 10

        await asyncio.gather(*(ask(number) for number in range(len(clients))))


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
async def test_no_request_alters_what_another_sees(tmp_path: Path, protocol: str) -> None:
    """An application that scribbles over its scope does so for its own request only."""
    seen: list[str] = []

    @http
    async def scribbling(scope: Any, receive: Any, send: Any) -> None:
        seen.append(json.dumps(scope["extensions"], default=lambda value: value.hex()))
        scope["extensions"]["tls"]["client_cert_chain"].clear()
        scope["extensions"]["tls"]["client_cert_name"] = "CN=admin"
        scope["extensions"]["mtls_as"]["client_der_chain"] = (b"forged",)
        scope["state"]["tls"] = "forged"
        assert isinstance(scope["state"], dict)
        await answer(send, b"ok")

    client = CA.issue()
    async with serving(scribbling, tmp_path) as server:
        if protocol == "h2":
            async with await HTTP2Client.open(server, client) as http2:
                for _ in range(2):
                    await http2.get()
        else:
            async with await server.connect(client) as connection:
                for _ in range(2):
                    await connection.get()
    assert len(seen) == 2
    assert seen[0] == seen[1]


async def test_headers_and_names_have_no_influence(tmp_path: Path) -> None:
    """Headers of proxies, SNI of one name and Host of another: the connection alone speaks."""
    client, other = CA.issue("c1"), CA.issue("c2")
    forged = "".join(
        f"{header}: {value}\r\n"
        for header, value in {
            "Client-Cert": ":AAAA:",
            "X-SSL-Client-Cert": other.pem.replace("\n", "%0A"),
            "X-Forwarded-Client-Cert": "Hash=00",
            "X-Forwarded-Host": "other.example",
        }.items()
    )
    async with serving(tell_tls, tmp_path) as server:
        context = server.context(client)
        context.check_hostname = False
        async with await server.connect(context=context, name="other.example") as connection:
            plain = (await connection.get()).json()
            told = (await connection.get(headers=forged)).json()
    assert told == plain
    assert told["der"] == [client.der.hex()]


async def test_the_listener_is_named(tmp_path: Path) -> None:
    """An application on two listeners can tell them apart."""
    async with serving(tell_tls, tmp_path) as server, await server.connect(listener="public") as connection:
        assert (await connection.get()).json()["listener"] == "public"


async def test_a_subject_that_cannot_be_read_is_no_name(tmp_path: Path) -> None:
    """A certificate too strange for our parser still arrives as bytes; its name is None and its error is set."""
    client = CA.issue("c1", san=[], extensions=[])
    big = CA.issue("big", extensions=[(_padding(70_000), False)])
    async with serving(tell_tls, tmp_path) as server:
        for identity, expected in ((client, "CN=c1"), (big, None)):
            async with await server.connect(identity) as connection:
                told = (await connection.get()).json()
            assert told["tls"]["client_cert_name"] == expected
            assert told["tls"]["client_cert_error"] == NOT_VERIFIED
            assert told["der"] == [identity.der.hex()]


def _padding(size: int) -> Any:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.1"), b"\x04\x00" + bytes(size))


async def test_what_stands_behind_the_leaf_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody can send a hundred kilobytes of certificates there, which would cost each request milliseconds."""
    parsed: list[bytes] = []

    def parse(der: bytes) -> Certificate:
        parsed.append(der)
        return parse_certificate(der)

    monkeypatch.setattr(extension, "parse_certificate", parse)
    sans = [x509.DNSName(f"{number:060}.example") for number in range(100)]
    behind = [CA.issue(f"other {number}", san=sans).der for number in range(3)]
    assert all(len(der) > 4096 for der in behind)
    facts = extension.TLSExtension(
        listener="mtls",
        client_der_chain=(CA.issue("c1").der, *behind),
        server_cert="",
        tls_version=0x0304,
        cipher_suite=None,
        tls_group=None,
    )
    for _ in range(5):
        assert len(facts.scope_extensions()["tls"]["client_cert_chain"]) == 4
    assert not set(parsed) & set(behind)
