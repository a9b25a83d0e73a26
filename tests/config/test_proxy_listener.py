"""`[listeners.proxy]`: no hop without a proof, and no plain HTTP that leaves the machine."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from mtls_as.config import ProxyListenerSettings
from mtls_as.forwarded import PRESETS, ListedHop, PinnedHop, SocketHop
from tests.config.test_load_settings import MINIMAL, load, problems

PIN = "sha256:" + "0a" * 32
SOCKET = 'bind = "unix:/run/mtls-as/proxy.sock"'
ADDRESS = 'bind = "127.0.0.1:8080"'
PINNED = f'proxy_certificates = ["{PIN}"]'
LISTED = 'proxy_addresses = ["127.0.0.1"]'


def proxy(folder: Path, *lines: str) -> ProxyListenerSettings:
    settings = load(folder, "\n".join([MINIMAL, "[listeners.proxy]", *lines]))
    assert settings.listeners.proxy is not None
    return settings.listeners.proxy


def refused(folder: Path, *lines: str) -> dict[str, str]:
    found = problems(folder, "\n".join([MINIMAL, "[listeners.proxy]", *lines]))
    return {place.removeprefix("listeners.proxy").removeprefix("."): message for place, message in found.items()}


def test_there_is_none_by_default(tmp_path: Path) -> None:
    """Forwarded certificates are off unless somebody asks for them."""
    assert load(tmp_path, MINIMAL).listeners.proxy is None


def test_a_unix_socket(tmp_path: Path) -> None:
    """Its mode is the proof; a relative path is relative to the file."""
    settings = proxy(tmp_path, 'bind = "unix:run/proxy.sock"', 'socket_group = "www-data"', 'preset = "nginx"')
    assert (settings.bind, settings.tls) == (f"unix:{tmp_path}/run/proxy.sock", False)
    assert settings.socket_group == "www-data"
    assert settings.proxy.hop == SocketHop()
    assert settings.proxy.headers == {b"x-ssl-client-cert"}
    assert proxy(tmp_path, SOCKET).bind == "unix:/run/mtls-as/proxy.sock"


def test_a_pinned_certificate(tmp_path: Path) -> None:
    """It means TLS, on any address."""
    settings = proxy(tmp_path, 'bind = "0.0.0.0:8080"', PINNED)
    assert settings.tls
    assert isinstance(settings.proxy.hop, PinnedHop)
    assert settings.proxy.hop.pins.digests == {bytes([10]) * 32}
    assert settings.proxy.headers == {b"client-cert", b"client-cert-chain"}


def test_a_listed_address(tmp_path: Path) -> None:
    """On loopback, by plain HTTP."""
    settings = proxy(tmp_path, ADDRESS, LISTED, 'preset = "haproxy"', 'header = "X-Leaf"', 'chain_header = "X-Chain"')
    assert not settings.tls
    assert settings.proxy.hop == ListedHop(frozenset({ip_address("127.0.0.1")}))
    assert settings.proxy.headers == {b"x-leaf", b"x-chain"}
    for bind in ("[::1]:8080", "localhost:8080", "127.9.9.9:8080"):
        assert proxy(tmp_path, f'bind = "{bind}"', LISTED).bind == bind


@pytest.mark.parametrize("bind", [ADDRESS, 'bind = "0.0.0.0:8080"', 'bind = "localhost:8080"'])
def test_a_hop_without_a_proof(tmp_path: Path, bind: str) -> None:
    """Whoever reaches the listener would be any client he likes, so the server does not start."""
    found = refused(tmp_path, bind)
    assert set(found) == {""}
    assert found[""].startswith("nothing proves that requests come from the proxy")


@pytest.mark.parametrize(
    ("lines", "place", "message"),
    [
        (['bind = "0.0.0.0:8080"', LISTED], "bind", "loopback"),
        (['bind = "[::]:8080"', LISTED], "bind", "loopback"),
        (['bind = "proxy.example:8080"', LISTED], "bind", "loopback"),
        (['bind = "192.0.2.1:8080"', LISTED], "bind", "loopback"),
        ([ADDRESS, 'proxy_addresses = ["192.0.2.1"]'], "proxy_addresses[0]", "loopback"),
        ([ADDRESS, 'proxy_addresses = ["127.0.0.0/8"]'], "proxy_addresses[0]", "loopback"),
        ([ADDRESS, 'proxy_addresses = ["localhost"]'], "proxy_addresses[0]", "loopback"),
        ([ADDRESS, "proxy_addresses = []"], "proxy_addresses", "at least one"),
        ([ADDRESS, "proxy_certificates = []"], "proxy_certificates", "at least one"),
        ([ADDRESS, 'proxy_certificates = ["proxy.pem"]'], "proxy_certificates[0]", "sha256:"),
        ([ADDRESS, f'proxy_certificates = ["{PIN}0"]'], "proxy_certificates[0]", "sha256:"),
        ([ADDRESS, 'proxy_certificates = ["sha256:"]'], "proxy_certificates[0]", "sha256:"),
        ([ADDRESS, PINNED, LISTED], "proxy_addresses", "one of them is the proof"),
        ([SOCKET, PINNED], "proxy_certificates", "unix socket"),
        ([SOCKET, LISTED], "proxy_addresses", "unix socket"),
        ([ADDRESS, LISTED, 'socket_group = "www-data"'], "socket_group", "unix socket"),
        (['bind = "unix:"'], "bind", "unix: and a path"),
        (['bind = "8080"', LISTED], "bind", "an address and a port"),
        (['preset = "nginx"'], "bind", "is missing"),
        ([SOCKET, 'preset = "ngnix"'], "preset", 'did you mean "nginx"?'),
        ([SOCKET, 'preset = "nginx"', 'chain_header = "X"'], "chain_header", "has no chain header"),
        ([SOCKET, 'header = "Client-Cert-Chain"'], "chain_header", "that of the certificate itself"),
        ([SOCKET, 'header = "X-A"', 'chain_header = "x-a"'], "chain_header", "that of the certificate itself"),
        ([SOCKET, 'header = "X Cert"'], "header", "name of a header"),
        ([SOCKET, 'header = ""'], "header", "name of a header"),
        ([SOCKET, 'header = "X\\r"'], "header", "name of a header"),
        ([SOCKET, 'url = "https://as.example"'], "url", "unknown key"),
        ([SOCKET, "tls = false"], "tls", "unknown key"),
    ],
)
def test_what_does_not_fit_together(tmp_path: Path, lines: list[str], place: str, message: str) -> None:
    """Each with its place."""
    found = refused(tmp_path, *lines)
    assert set(found) == {place}
    assert message in found[place]


def test_the_address_of_another_listener(tmp_path: Path) -> None:
    """As for all of them."""
    found = refused(tmp_path, 'bind = "127.0.0.1:8443"', LISTED)
    assert found == {"bind": "is the same as that of listeners.mtls"}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_defaults(tmp_path: Path, preset: str) -> None:
    """The name of the preset suffices."""
    assert proxy(tmp_path, SOCKET, f'preset = "{preset}"').proxy.preset == preset
