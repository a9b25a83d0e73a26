"""Why a handshake failed, in words that do not change between versions of OpenSSL."""

from typing import Final

from OpenSSL import SSL

from mtls_as.tls.context import NoCommonProtocol

TIMEOUT: Final = "timeout"
PEER_CLOSED: Final = "peer_closed"
TOO_MANY_CONNECTIONS: Final = "too_many_connections"
TOO_MANY_HANDSHAKES: Final = "too_many_handshakes"
TOO_MANY_OF_ADDRESS: Final = "too_many_connections_of_address"
SERVER_STOPPING: Final = "server_stopping"
NO_COMMON_PROTOCOL: Final = "no_common_protocol"
FAILED: Final = "handshake_failed"

_REASONS: Final = {
    "http request": "not_tls",
    "https proxy request": "not_tls",
    "wrong version number": "not_tls",
    "packet length too long": "not_tls",
    "bad record type": "not_tls",
    "unknown record type": "not_tls",
    "unexpected record": "not_tls",
    "unsupported protocol": "unsupported_version",
    "version too low": "unsupported_version",
    "no protocols available": "unsupported_version",
    "inappropriate fallback": "unsupported_version",
    "no shared cipher": "no_shared_cipher",
    "no suitable key share": "no_shared_group",
    "no suitable groups": "no_shared_group",
    "no suitable signature algorithm": "no_shared_signature_algorithm",
    "no shared signature algorithms": "no_shared_signature_algorithm",
    "wrong signature type": "no_shared_signature_algorithm",
    "bad signature": "possession_not_proved",
    "excessive message size": "message_too_large",
    "unexpected eof while reading": PEER_CLOSED,
}


def failure_reason(error: Exception) -> str:
    """A short stable code for what `do_handshake` raised; alerts of the peer are `alert_` and their name."""
    if isinstance(error, NoCommonProtocol):
        return NO_COMMON_PROTOCOL
    if isinstance(error, SSL.ZeroReturnError | SSL.SysCallError):
        return PEER_CLOSED
    texts = [entry[-1] for entry in error.args[0]] if error.args and isinstance(error.args[0], list) else []
    for text in texts:
        before, alert, name = text.partition("alert ")
        if alert and before.startswith(("tls", "ssl")):
            return "alert_" + "_".join(name.split())
        if text in _REASONS:
            return _REASONS[text]
    return FAILED
