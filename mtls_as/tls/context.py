"""The OpenSSL context of a listener: which protocols, which suites, and whether clients are asked for a certificate."""

from collections.abc import Sequence
from typing import Final

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from mtls_as.tls.credentials import ServerCredentials, TLSConfigurationError

ALPN_HTTP_2: Final = b"h2"
ALPN_HTTP_1: Final = b"http/1.1"

CIPHER_SUITES: Final = {
    "TLS_AES_256_GCM_SHA384": 0x1302,
    "TLS_CHACHA20_POLY1305_SHA256": 0x1303,
    "TLS_AES_128_GCM_SHA256": 0x1301,
    "ECDHE-ECDSA-AES256-GCM-SHA384": 0xC02C,
    "ECDHE-RSA-AES256-GCM-SHA384": 0xC030,
    "ECDHE-ECDSA-CHACHA20-POLY1305": 0xCCA9,
    "ECDHE-RSA-CHACHA20-POLY1305": 0xCCA8,
    "ECDHE-ECDSA-AES128-GCM-SHA256": 0xC02B,
    "ECDHE-RSA-AES128-GCM-SHA256": 0xC02F,
}
"""All suites on offer, in the server's order: OpenSSL's name and the number of the IANA registry (RFC 9325 §4.2)."""

_OPTIONS: Final = SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE


# Decides nothing: whom to trust depends on the client, and is judged in `mtls_as.pki` for each request. It is given to
# OpenSSL directly since `Context.set_verify` makes objects of all arguments three times in each handshake, 7 % of its
# time. It lives as long as the process, so no context outlives it.
_ACCEPT_ANY_CERTIFICATE: Final = ffi.callback("int (*)(int, X509_STORE_CTX *)", lambda _ok, _store: 1)


class NoCommonProtocol(Exception):  # noqa: N818 - a verdict about the peer, raised through OpenSSL, not a fault
    """The client offers application protocols by ALPN, and none of ours is among them (RFC 7301 §3.2)."""


def build_context(credentials: ServerCredentials, *, request_certificate: bool) -> SSL.Context:
    """A server context for TLS 1.2 and 1.3 as RFC 9325 recommends, shared by all connections of a listener.

    There is no resumption in any form: a resumed session would skip the proof of possession. OpenSSL still sends the
    tickets of TLS 1.3, since pyOpenSSL cannot tell it not to, but they refer to a session cache that does not exist.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(_OPTIONS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    lib.SSL_CTX_clear_mode(context._context, lib.SSL_MODE_ENABLE_PARTIAL_WRITE)  # noqa: SLF001 - pyOpenSSL sets it
    context.set_cipher_list(":".join(name for name in CIPHER_SUITES if not name.startswith("TLS_")).encode())
    context.set_tls13_ciphersuites(":".join(name for name in CIPHER_SUITES if name.startswith("TLS_")).encode())
    context.set_alpn_select_callback(_select_protocol)
    if request_certificate:
        # OpenSSL is not to verify signatures along a chain that is judged elsewhere: with depth 0 it would still verify
        # the leaf's, by a key that the client sends along. Below -1, which means no depth, it does not leave the leaf.
        context.set_verify_depth(-2)
        lib.SSL_CTX_set_verify(context._context, SSL.VERIFY_PEER, _ACCEPT_ANY_CERTIFICATE)  # noqa: SLF001 - its only way
    _use_credentials(context, credentials)
    return context


def _use_credentials(context: SSL.Context, credentials: ServerCredentials) -> None:
    leaf, *issuers = credentials.chain
    try:
        context.use_certificate(leaf)
        context.use_privatekey(credentials.private_key)
        for issuer in issuers:
            context.add_extra_chain_cert(issuer)
        context.check_privatekey()
    except SSL.Error as error:
        raise TLSConfigurationError(f"OpenSSL does not accept the server certificate: {error}") from None


def _select_protocol(_connection: SSL.Connection, offered: Sequence[bytes]) -> bytes:
    for protocol in (ALPN_HTTP_2, ALPN_HTTP_1):
        if protocol in offered:
            return protocol
    raise NoCommonProtocol
