"""Real nginx, HAProxy and Apache, with the configurations that the documentation shows."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from mtls_as.forwarded import read_forwarded
from tests.authority import DAY, Authority, self_signed
from tests.forwarded import vectors
from tests.forwarded.proxies import RunningProxy, echoing_proxy
from tests.forwarded.vectors import lonely, long_chain, pem, short_chain, victim


@dataclass(frozen=True)
class Documented:
    """A file in `docs/proxies`, and what `mtls-as` is configured with behind it."""

    snippet: str
    preset: str
    header: str
    forged: str
    chain_header: str | None = None
    forwarded_intermediates: int = 0


def _value(headers: list[tuple[bytes, bytes]]) -> str:
    return headers[0][1].decode()


DOCUMENTED = {
    each.snippet: each
    for each in (
        Documented("nginx.conf", "nginx", "X-SSL-Client-Cert", _value(vectors.nginx(victim().der_chain))),
        Documented(
            "apache.conf", "apache", "SSL_CLIENT_CERT", _value(vectors.apache(victim().der_chain)),
            chain_header="SSL_CLIENT_CERT_CHAIN", forwarded_intermediates=3,
        ),
        Documented(
            "haproxy.cfg", "haproxy", "X-SSL-Client-Cert", _value(vectors.haproxy(victim().der_chain)),
            chain_header="X-SSL-Client-Chain", forwarded_intermediates=9,
        ),
        Documented("haproxy-rfc9440.cfg", "rfc9440", "Client-Cert", _value(vectors.rfc9440(victim().der_chain))),
    )
}  # fmt: skip


@pytest.fixture(scope="module", params=DOCUMENTED)
def documented(request: pytest.FixtureRequest) -> Documented:
    return DOCUMENTED[request.param]


@pytest.fixture(scope="module")
def proxy(documented: Documented, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    with echoing_proxy(documented.snippet, tmp_path_factory.mktemp(documented.preset)) as running:
        yield running


def read(documented: Documented, headers: list[tuple[bytes, bytes]]) -> tuple[bytes, ...] | None:
    return read_forwarded(headers, preset=documented.preset, chain_header=documented.chain_header)


def test_an_issued_certificate_comes_through(documented: Documented, proxy: RunningProxy) -> None:
    """The very octets, leaf first, with the intermediates where the proxy can hand them on."""
    for client in (short_chain(), long_chain()):
        expected = client.der_chain[: 1 + documented.forwarded_intermediates]
        assert read(documented, proxy.headers_behind(client)) == expected


def test_a_self_signed_certificate_comes_through(documented: Documented, proxy: RunningProxy) -> None:
    """RFC 8705 §2.2: the proxy must not insist on a CA."""
    assert read(documented, proxy.headers_behind(lonely())) == lonely().der_chain


def test_no_certificate_is_none(documented: Documented, proxy: RunningProxy) -> None:
    """The proxy lets such clients in, since their requests may need no certificate."""
    assert read(documented, proxy.headers_behind(None)) is None


@pytest.mark.parametrize("times", [1, 2])
def test_a_clients_own_header_is_replaced(documented: Documented, proxy: RunningProxy, times: int) -> None:
    """Once or twice, in any case, with a certificate of the client's own or without one."""
    names = [documented.header, documented.header.upper(), documented.header.lower()]
    chain_name = documented.chain_header or "Client-Cert-Chain"
    for name in names:
        sent = [(name, documented.forged)] * times + [(chain_name, documented.forged)]
        assert read(documented, proxy.headers_behind(lonely(), sent)) == lonely().der_chain
        assert read(documented, proxy.headers_behind(None, sent)) is None


def test_no_other_spelling_of_the_header_comes_through(documented: Documented, proxy: RunningProxy) -> None:
    """To a WSGI server `X_SSL_Client_Cert` is `X-SSL-Client-Cert`; without a certificate it would be all there is."""
    for name in filter(None, (documented.header, documented.chain_header)):
        for other in (name.replace("-", "_"), name.replace("_", "-"), name.replace("-", "_", 1)):
            received = [key.decode().lower() for key, _ in proxy.headers_behind(None, [(other, documented.forged)])]
            taken_for_it = [key for key in received if key.replace("_", "-") == name.lower().replace("_", "-")]
            assert set(taken_for_it) <= {name.lower()}
            assert read(documented, proxy.headers_behind(None, [(other, documented.forged)])) is None


@pytest.mark.parametrize("hop_by_hop", ["Connection", "Proxy-Connection"])
def test_a_client_cannot_have_the_header_removed(documented: Documented, proxy: RunningProxy, hop_by_hop: str) -> None:
    """RFC 9110 §7.6.1 has a proxy remove what Connection names; it must set the certificate after that."""
    for value in (f"close, {documented.header}", documented.header, f"keep-alive,{documented.header.lower()}"):
        for sent in ([(hop_by_hop, value)], [(hop_by_hop, "close"), (hop_by_hop, value)]):
            assert read(documented, proxy.headers_behind(lonely(), sent)) == lonely().der_chain
            forged = [*sent, (documented.header, documented.forged)]
            assert read(documented, proxy.headers_behind(None, forged)) is None


def test_an_expired_certificate(documented: Documented, proxy: RunningProxy) -> None:
    """As the comments in the configurations say: nginx and Apache refuse it themselves, HAProxy hands it on."""
    yesterday = datetime.now(UTC) - DAY
    expired = Authority.create().issue("expired", not_before=yesterday - DAY, not_after=yesterday)
    if documented.preset == "nginx":
        status, _ = proxy.get(expired)
        assert status == 400
    elif documented.preset == "apache":
        with pytest.raises((ssl.SSLError, ConnectionError)):
            proxy.get(expired)
    else:
        assert read(documented, proxy.headers_behind(expired)) == expired.der_chain[:1]


def test_a_chain_cannot_be_forged_onto_a_certificate(documented: Documented, proxy: RunningProxy) -> None:
    """Chain material comes from the handshake alone."""
    chain_name = documented.chain_header or "Client-Cert-Chain"
    for value in (documented.forged, pem(victim().der).replace("\n", " ").strip()):
        headers = proxy.headers_behind(self_signed("client"), [(chain_name, value)])
        received = read(documented, headers)
        assert received is not None
        assert len(received) == 1
