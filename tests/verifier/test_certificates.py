"""The places where a client's certificate is found, and what each refuses."""

import base64
import hashlib
from typing import Any
from urllib.parse import quote

import pytest

from mtls_as.forwarded import PRESETS
from mtls_as.verifier import (
    CertificateRefused,
    EnvironVariable,
    ForwardedCertificate,
    InvalidToken,
    Refusal,
    ServerSocket,
    TLSExtension,
)
from tests.authority import Authority, self_signed
from tests.verifier.requests import MINE, THIEF, guard, request

PROXY = self_signed("proxy")
LOOPBACK = "127.0.0.1"
NGINX = (b"X-SSL-Client-Cert", quote(MINE.pem, safe="").encode())
PIN = "sha256:" + hashlib.sha256(PROXY.der).hexdigest()


class Socket:
    """What `ssl.SSLSocket` says of the other side."""

    def __init__(self, der: bytes | None) -> None:
        self._der = der

    def getpeercert(self, binary_form: bool) -> bytes | None:
        assert binary_form
        return self._der


def tls(**members: Any) -> dict[str, Any]:
    return {"extensions": {"tls": members}}


FOUND: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "ours": (TLSExtension(), {"extensions": {"mtls_as": {"client_der_chain": (MINE.der, THIEF.der)}}}, MINE.der),
    "the ASGI extension": (TLSExtension(), tls(client_cert_chain=[MINE.pem, THIEF.pem]), MINE.pem),
    "as a tuple, and nothing else": (TLSExtension(), tls(client_cert_chain=(MINE.pem,)), MINE.pem),
    "a single one, DER": (TLSExtension(), tls(client_cert=MINE.der), MINE.der),
    "no chain to be had": (TLSExtension(), tls(client_cert_chain=()), None),
    "no client certificate": (TLSExtension(), tls(client_cert=None), None),
    "no extension": (TLSExtension(), {}, None),
    "a variable": (EnvironVariable(), {"SSL_CLIENT_CERT": MINE.pem}, MINE.pem),
    "an empty variable": (EnvironVariable(), {"SSL_CLIENT_CERT": ""}, None),
    "another variable": (
        EnvironVariable(name="HTTPS_CC"),
        {"SSL_CLIENT_CERT": THIEF.pem, "HTTPS_CC": MINE.pem},
        MINE.pem,
    ),
    "a socket": (ServerSocket(), {"gunicorn.socket": Socket(MINE.der)}, MINE.der),
    "a socket without one": (ServerSocket(), {"gunicorn.socket": Socket(None)}, None),
    "a socket without TLS": (ServerSocket(), {"gunicorn.socket": object()}, None),
    "no socket": (ServerSocket(name="werkzeug.socket"), {"gunicorn.socket": Socket(MINE.der)}, None),
}


@pytest.mark.parametrize("case", FOUND.values(), ids=FOUND)
def test_where_it_is(case: tuple[Any, dict[str, Any], Any]) -> None:
    source, connection, certificate = case
    assert source(request(connection=connection)) == certificate


DIRECT: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "extension": (TLSExtension, tls(client_cert_chain=[MINE.pem])),
    "variable": (EnvironVariable, {"SSL_CLIENT_CERT": MINE.pem}),
    "socket": (ServerSocket, {"gunicorn.socket": Socket(MINE.der)}),
}


@pytest.mark.parametrize("case", DIRECT.values(), ids=DIRECT)
def test_a_certificate_on_the_connection_and_a_header(case: tuple[type[Any], dict[str, Any]]) -> None:
    """Refused, unless the application says that headers are to be ignored; without TLS nothing is believed."""
    kind, connection = case
    for name in (b"client-cert", b"X-Forwarded-Client-Cert", b"ssl-client-cert"):
        both = request(connection=connection, headers=[(name, b"x")])
        with pytest.raises(CertificateRefused) as caught:
            kind()(both)
        assert caught.value.status == 400
        assert kind(ignore_certificate_headers=True)(both) is not None
    with pytest.raises(InvalidToken):
        kind()(request(connection=connection, secure=False))


@pytest.mark.parametrize("name", ["HTTP_CLIENT_CERT", "http_client_cert", ""])
def test_variables_that_clients_write(name: str) -> None:
    with pytest.raises(ValueError, match="headers"):
        EnvironVariable(name=name)


def nginx(*headers: tuple[bytes, bytes], peer: str | None = LOOPBACK, **replaced: Any) -> Any:
    return request(**({"headers": list(headers), "peer": peer, "secure": False, "connection": {}} | replaced))


def test_forwarded_over_each_hop() -> None:
    """A listed loopback address, a unix socket, and the proxy's own certificate."""
    listed = ForwardedCertificate(preset="nginx", proxy_addresses=[LOOPBACK])
    assert listed(nginx(NGINX)) == MINE.der
    assert listed(nginx()) is None
    on_socket = ForwardedCertificate(preset="nginx", unix_socket=True)
    assert on_socket(nginx(NGINX, peer=None)) == MINE.der
    pinned = ForwardedCertificate(preset="nginx", proxy_certificates=[PIN], handshake=TLSExtension())
    over_tls = {"secure": True, "connection": tls(client_cert_chain=[PROXY.pem]), "peer": "192.0.2.7"}
    assert pinned(nginx(NGINX, **over_tls)) == MINE.der


STRANGERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "another address": ({"proxy_addresses": [LOOPBACK]}, {"peer": "192.0.2.1"}),
    "an address nobody knows": ({"proxy_addresses": [LOOPBACK]}, {"peer": ""}),
    "a unix socket in place of an address": ({"proxy_addresses": [LOOPBACK]}, {"peer": None}),
    "an address in place of a unix socket": ({"unix_socket": True}, {"peer": LOOPBACK}),
    "nobody knows, in place of a unix socket": ({"unix_socket": True}, {"peer": ""}),
    "another certificate": (
        {"proxy_certificates": [PIN], "handshake": TLSExtension()},
        {"secure": True, "connection": tls(client_cert_chain=[THIEF.pem])},
    ),
    "no certificate": ({"proxy_certificates": [PIN], "handshake": TLSExtension()}, {"secure": True}),
    "a broken certificate": (
        {"proxy_certificates": [PIN], "handshake": TLSExtension()},
        {"secure": True, "connection": tls(client_cert_chain=["junk"])},
    ),
}


@pytest.mark.parametrize("case", STRANGERS.values(), ids=STRANGERS)
def test_who_is_not_the_proxy_is_not_believed(case: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """RFC 9440 §4: 403, whatever the header holds, and without one too."""
    hop, replaced = case
    source = ForwardedCertificate(preset="nginx", **hop)
    for headers in ([NGINX], []):
        with pytest.raises(CertificateRefused) as caught:
            source(nginx(*headers, **replaced))
        assert caught.value.status == 403


REFUSED: dict[str, tuple[list[tuple[bytes, bytes]], dict[str, Any]]] = {
    "two headers": ([NGINX, NGINX], {}),
    "two headers, in other case": ([NGINX, (b"x-ssl-client-cert", b"")], {}),
    "two that a WSGI server joined": ([(NGINX[0], NGINX[1] + b"," + NGINX[1])], {"headers_joined": True}),
    "the header of another proxy": ([NGINX, (b"Client-Cert", b"x")], {}),
    "not a certificate": ([(NGINX[0], b"junk")], {}),
    "a certificate of the connection itself": ([NGINX], {"connection": tls(client_cert_chain=[MINE.pem])}),
    "one that the server put into the environ": ([NGINX], {"connection": {"SSL_CLIENT_CERT": MINE.pem}}),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_forwarded_and_refused(case: tuple[list[tuple[bytes, bytes]], dict[str, Any]]) -> None:
    headers, replaced = case
    with pytest.raises(CertificateRefused) as caught:
        ForwardedCertificate(preset="nginx", proxy_addresses=[LOOPBACK])(nginx(*headers, **replaced))
    assert caught.value.status == 400


def test_headers_of_other_proxies_may_be_ignored() -> None:
    """Then the one of the proxy still counts, and counts alone."""
    source = ForwardedCertificate(preset="nginx", unix_socket=True, ignore_other_headers=True)
    assert source(nginx(NGINX, (b"client-cert", b"x"), peer=None)) == MINE.der
    with pytest.raises(CertificateRefused):
        source(nginx(NGINX, NGINX, peer=None))


def test_joined_headers_that_look_like_a_chain() -> None:
    """Traefik writes commas between certificates, WSGI servers between headers: the first may be the client's own."""
    parts = [base64.b64encode(identity.der) for identity in (THIEF, MINE)]
    header = (b"x-forwarded-tls-client-cert", b",".join(parts))
    source = ForwardedCertificate(preset="traefik", unix_socket=True)
    assert source(nginx(header, peer=None)) == THIEF.der
    with pytest.raises(CertificateRefused, match="joined"):
        source(nginx(header, peer=None, headers_joined=True))


UNPROVEN: dict[str, dict[str, Any]] = {
    "none": {},
    "two": {"unix_socket": True, "proxy_addresses": [LOOPBACK]},
    "an address that can be forged": {"proxy_addresses": ["192.0.2.1"]},
    "a name": {"proxy_addresses": ["localhost"]},
    "a pin, and nothing reads the handshake": {"proxy_certificates": [PIN]},
    "not a pin": {"proxy_certificates": ["sha256:00"], "handshake": TLSExtension()},
    "a handshake of nobody": {"unix_socket": True, "handshake": TLSExtension()},
    "an unknown preset": {"unix_socket": True, "preset": "squid"},
    "a chain that the preset has not": {"unix_socket": True, "chain_header": "x-chain"},
}


@pytest.mark.parametrize("arguments", UNPROVEN.values(), ids=UNPROVEN)
def test_a_header_without_a_proven_hop(arguments: dict[str, Any]) -> None:
    """Refused at the start: nothing would tell the proxy from anybody else."""
    with pytest.raises(ValueError, match=r"\w"):
        ForwardedCertificate(**({"preset": "nginx"} | arguments))


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset(preset: str) -> None:
    assert ForwardedCertificate(preset=preset, unix_socket=True).headers


async def test_the_guard_answers() -> None:
    """403 with no more than that for a stranger, 400 for two headers; a forwarded certificate binds as any other."""
    guarding = guard(certificates=ForwardedCertificate(preset="nginx", proxy_addresses=[LOOPBACK]))
    authorization = request().headers[0]
    assert not isinstance(await guarding.check(nginx(authorization, NGINX)), Refusal)
    other = (NGINX[0], quote(Authority.create("CA").issue("other").pem, safe="").encode())
    statuses = []
    for asked in (
        nginx(authorization, other),
        nginx(authorization),
        nginx(authorization, NGINX, NGINX),
        nginx(authorization, NGINX, peer="192.0.2.1"),
    ):
        answer = await guarding.check(asked)
        assert isinstance(answer, Refusal)
        statuses.append(answer.status)
    assert statuses == [401, 401, 400, 403]
