"""What proves that a request came from the proxy, and that nothing else does."""

import hashlib
from ipaddress import ip_address

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mtls_as.forwarded import Hop, HopError, ListedHop, PinnedHop, SocketHop, TrustedProxy
from mtls_as.rfc.certificate_pins import Pins
from tests.authority import Identity, self_signed
from tests.forwarded.vectors import lonely, rfc9440

PROXY = self_signed("proxy")
OTHER = self_signed("other")


def certificate_pin(identity: Identity) -> str:
    return f"sha256:{hashlib.sha256(identity.der).hexdigest()}"


def key_pin(identity: Identity) -> str:
    key = identity.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(key).hexdigest().upper()}"


def accepts(hop: Hop, *, peer: str | None = None, der_chain: tuple[bytes, ...] = ()) -> bool:
    try:
        hop.check(peer=peer, der_chain=der_chain)
    except HopError:
        return False
    return True


def test_a_pinned_certificate() -> None:
    """The one of the handshake, first in the chain: whatever follows has proved nothing."""
    hop = PinnedHop(Pins.of([certificate_pin(PROXY)]))
    assert accepts(hop, der_chain=(PROXY.der,))
    assert accepts(hop, der_chain=(PROXY.der, OTHER.der), peer="192.0.2.1")
    assert not accepts(hop)
    assert not accepts(hop, peer="127.0.0.1")
    assert not accepts(hop, der_chain=(OTHER.der,))
    assert not accepts(hop, der_chain=(OTHER.der, PROXY.der))
    assert not accepts(hop, der_chain=(b"junk",))
    assert not accepts(hop, der_chain=(PROXY.der + b"\0",))
    assert not accepts(hop, der_chain=(self_signed("proxy", private_key=PROXY.private_key).der,))


def test_a_pinned_key() -> None:
    """Whatever certificate it comes in: the proxy may renew it."""
    hop = PinnedHop(Pins.of([key_pin(PROXY), key_pin(lonely())]))
    assert accepts(hop, der_chain=(PROXY.der,))
    assert accepts(hop, der_chain=(self_signed("renewed", private_key=PROXY.private_key).der,))
    assert accepts(hop, der_chain=(lonely().der,))
    assert not accepts(hop, der_chain=(OTHER.der,))


def test_a_listed_address() -> None:
    """Exactly that one, in any spelling."""
    hop = ListedHop(frozenset({ip_address("127.0.0.1"), ip_address("::1")}))
    assert accepts(hop, peer="127.0.0.1")
    assert accepts(hop, peer="0:0:0:0:0:0:0:1")
    for peer in (None, "", "127.0.0.2", "192.0.2.1", "::ffff:127.0.0.1", "localhost", "127.0.0.1, 192.0.2.1"):
        assert not accepts(hop, peer=peer), peer


def test_a_unix_socket() -> None:
    """A connection over it has no address."""
    assert accepts(SocketHop())
    assert not accepts(SocketHop(), peer="127.0.0.1")


def test_no_hop_without_a_proof() -> None:
    """An empty list is no proof, and neither is an address that anybody can have."""
    with pytest.raises(ValueError, match="without a proof"):
        PinnedHop(Pins())
    for addresses in ([], ["192.0.2.1"], ["127.0.0.1", "10.0.0.1"]):
        with pytest.raises(ValueError, match="without a proof"):
            ListedHop(frozenset(map(ip_address, addresses)))


def test_headers_are_read_after_the_hop_alone() -> None:
    """Good headers do not make up for a wrong hop."""
    proxy = TrustedProxy(hop=SocketHop(), preset="rfc9440")
    headers = rfc9440(lonely().der_chain)
    assert proxy.read(headers, peer=None, der_chain=()) == lonely().der_chain
    with pytest.raises(HopError):
        proxy.read(headers, peer="127.0.0.1", der_chain=())


def test_mistakes_of_the_configuration() -> None:
    """Refused when the proxy is described, not when its first request comes."""
    for names in (
        {"preset": "varnish"},
        {"preset": "envoy", "chain_header": "X-Chain"},
        {"preset": "rfc9440", "header": "Client-Cert-Chain"},
        {"preset": "haproxy", "header": "X", "chain_header": "x"},
    ):
        with pytest.raises(ValueError, match=r"preset|header"):
            TrustedProxy(hop=SocketHop(), **names)
