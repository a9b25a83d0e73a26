"""TLS over memory: whatever way the records of a client are cut into pieces, all that can be read is read at once."""

import contextlib
import ctypes
import ctypes.util
import socket
from collections.abc import Iterator

import pytest
from OpenSSL import SSL
from OpenSSL._util import lib

from mtls_as.tls import ServerCredentials
from mtls_as.tls.context import build_context
from mtls_as.tls.record_layer import RecordLayer, Scratch
from tests.authority import Authority

PIECE = 1 << 20


class Peers:
    """A client and the server's layer, behind their handshake."""

    def __init__(self, context: SSL.Context, version: int) -> None:
        client_side = SSL.Context(SSL.TLS_CLIENT_METHOD)
        client_side.set_max_proto_version(version)
        self.client, self.server = SSL.Connection(client_side, None), RecordLayer(context, Scratch())
        self.client.set_connect_state()
        complete = False
        while not complete:
            with contextlib.suppress(SSL.WantReadError):
                self.client.do_handshake()
            self.server.feed(self.client.bio_read(PIECE))
            complete = self.server.handshake()
            if records := self.server.take_records():
                self.client.bio_write(records)
        with contextlib.suppress(SSL.WantReadError):
            self.client.do_handshake()
        assert not self.server.read()

    def records(self, *parts: bytes) -> bytes:
        """What the client sends for these, a record for each 16 KiB."""
        for part in parts:
            self.client.sendall(part)
        return self.client.bio_read(PIECE)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> SSL.Context:
    files = Authority.create("CA").issue_server("localhost").write(tmp_path_factory.mktemp("server"), "server")
    return build_context(ServerCredentials.load(*files), request_certificate=True)


@pytest.fixture(params=[SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["TLS 1.2", "TLS 1.3"])
def peers(request: pytest.FixtureRequest, context: SSL.Context) -> Peers:
    return Peers(context, request.param)


def test_all_records_of_a_piece_are_read(peers: Peers) -> None:
    peers.server.feed(peers.records(b"one", b"two", b"three"))
    assert peers.server.read() == [b"one", b"two", b"three"]
    assert peers.server.read() == []


def test_the_longest_records_are_read_as_they_are(peers: Peers) -> None:
    peers.server.feed(peers.records(bytes(40_000)))
    assert [len(each) for each in peers.server.read()] == [16384, 16384, 40_000 - 2 * 16384]


def test_a_record_may_come_a_byte_at_a_time(peers: Peers) -> None:
    for byte in peers.records(b"one", b"two"):
        peers.server.feed(bytes([byte]))
        if chunks := peers.server.read():
            assert chunks in ([b"one"], [b"two"])
    peers.server.feed(peers.records(b"three"))
    assert peers.server.read() == [b"three"]


@pytest.mark.parametrize("cut", range(1, 24))
def test_a_whole_record_is_read_though_another_is_not_whole(context: SSL.Context, cut: int) -> None:
    """Cut within its header too: what OpenSSL has taken of it is not left behind."""
    peers = Peers(context, SSL.TLS1_3_VERSION)
    first, second = peers.records(b"one"), peers.records(b"two")
    assert len(second) > cut
    peers.server.feed(first + second[:cut])
    assert peers.server.read() == [b"one"]
    peers.server.feed(second[cut:])
    assert peers.server.read() == [b"two"]


def test_the_end_behind_data_is_noticed_with_it(peers: Peers) -> None:
    peers.client.sendall(b"last")
    peers.client.shutdown()
    peers.server.feed(peers.client.bio_read(PIECE))
    assert peers.server.read() == [b"last"]
    assert peers.server.ended


def test_the_end_alone_is_noticed(peers: Peers) -> None:
    peers.client.shutdown()
    peers.server.feed(peers.client.bio_read(PIECE))
    assert peers.server.read() == []
    assert peers.server.ended


def test_a_bad_record_behind_data_is_refused_at_once(peers: Peers) -> None:
    good, bad = peers.records(b"good"), bytearray(peers.records(b"bad"))
    bad[-1] ^= 1
    peers.server.feed(good + bytes(bad))
    with pytest.raises(SSL.Error):
        peers.server.read()


@pytest.mark.parametrize("size", [1, 16384, 16385, 65536])
def test_what_is_sent_arrives_whole(peers: Peers, size: int) -> None:
    data = bytes(range(256)) * 256
    peers.client.bio_write(peers.server.encrypt(data[:size], last=True))
    received = b""
    while len(received) < size:
        received += peers.client.recv(PIECE)
    assert received == data[:size]
    with pytest.raises(SSL.ZeroReturnError):
        peers.client.recv(1)


def test_what_waits_is_taken_whole_however_much_it_is() -> None:
    """A client's certificate may be longer than the memory through which it is read."""
    scratch = Scratch()
    data = bytes(range(256)) * 1000
    for size in (0, 1, 80 * 1024 - 1, 80 * 1024, 80 * 1024 + 1, 200_000):
        assert lib.BIO_write(scratch.bio, data, size) == size
        assert scratch.drain(scratch.bio) == data[:size]
        assert scratch.drain(scratch.bio) == b""


@pytest.fixture
def key_updates() -> Iterator[tuple[ctypes.CDLL, ctypes.c_void_p, socket.socket]]:
    """A client of TLS 1.3 that can change its keys, which Python's `ssl` cannot, and the other end of its socket."""
    library = ctypes.CDLL(ctypes.util.find_library("ssl") or "libssl.so.3")
    for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
        getattr(library, name).restype = ctypes.c_void_p
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for each in (ours, theirs):
            each.setblocking(False)
        context = ctypes.c_void_p(library.SSL_CTX_new(ctypes.c_void_p(library.TLS_client_method())))
        tls = ctypes.c_void_p(library.SSL_new(context))
        library.SSL_set_fd(tls, theirs.fileno())
        yield library, tls, ours
        library.SSL_free(tls)
        library.SSL_CTX_free(context)


@pytest.mark.parametrize("order", ["before", "between", "behind"])
def test_new_keys_among_data_are_taken_and_answered(
    context: SSL.Context, key_updates: tuple[ctypes.CDLL, ctypes.c_void_p, socket.socket], order: str
) -> None:
    """RFC 8446 §4.6.3: a client that asks for new keys of ours is answered with what is sent next."""
    library, tls, connected = key_updates
    server = RecordLayer(context, Scratch())
    complete = False
    while not complete:
        library.SSL_connect(tls)
        server.feed(connected.recv(PIECE))
        complete = server.handshake()
        connected.send(server.take_records())

    def update() -> None:
        library.SSL_key_update(tls, 1)
        assert library.SSL_do_handshake(tls) == 1

    steps = {"before": "uab", "between": "aub", "behind": "abu"}[order]
    for step in steps:
        if step == "u":
            update()
        else:
            assert library.SSL_write(tls, step.encode(), 1) == 1
    server.feed(connected.recv(PIECE))
    assert server.read() == [b"a", b"b"]
    connected.send(server.encrypt(b"answer", last=False))
    received = ctypes.create_string_buffer(100)
    assert library.SSL_read(tls, received, 100) == len(b"answer")
    assert received.value == b"answer"
