"""TLS as the server speaks it: version, key exchange, protocol."""

from typing import Final

from mtls_as.doctor.findings import Actor, Check, Finding, Step
from mtls_as.doctor.observations import Handshake, Reach, ServerObservation

_VERSIONS: Final = {"TLSv1": "TLS 1.0", "TLSv1.1": "TLS 1.1", "TLSv1.2": "TLS 1.2", "TLSv1.3": "TLS 1.3"}
_GOOD, _USABLE = "TLSv1.3", "TLSv1.2"
_POST_QUANTUM: Final = ("MLKEM", "KYBER")
_NOT_TLS: Final = ("wrong version number", "http request", "packet length too long", "record layer failure")
_OLD: Final = ("protocol_version", "unsupported protocol", "version too low")


def tls_findings(server: ServerObservation, libraries: str) -> list[Finding]:
    """The handshake itself."""
    version = Check("tls.version", server.place)
    if server.reach is not Reach.CONNECTED:
        return [version.skipped("there is no connection")]
    if server.is_plain:
        step = Step(
            who=server.place.operator,
            what="Serve it over https. Without TLS there is no client certificate that a token could be bound to.",
        )
        return [version.failure("plain http: no token is sent there", step)]
    handshake = server.handshake
    if handshake is None or handshake.version is None:
        return [_failed(version, server, handshake)]
    found = [_version(version, handshake), _group(Check("tls.group", server.place), handshake, libraries)]
    found.append(Check("tls.alpn", server.place).ok(handshake.alpn or "none chosen: HTTP/1.1"))
    return found


def _failed(check: Check, server: ServerObservation, handshake: Handshake | None) -> Finding:
    why = (handshake.failure if handshake else None) or "no reason is known"
    operator = server.place.operator
    if any(word in why for word in _NOT_TLS):
        you = Step(
            who=Actor.YOU, what="Check the port in the URL: another protocol, such as plain http, is spoken there."
        )
        return check.failure(f"{server.host}:{server.port} does not speak TLS ({why})", you)
    if any(word in why for word in _OLD):
        them = Step(who=operator, what="Allow TLS 1.3 and TLS 1.2.")
        return check.failure(f"the server has no version of TLS in common with us, which are 1.2 and 1.3 ({why})", them)
    if why in {"timeout", "closed"}:
        them = Step(
            who=operator,
            what="Look into the server's log for this connection; often something else than the server listens on the "
            "port, a load balancer has no server behind it, or the server wants a name that it does not know (SNI).",
        )
        what = "does not answer in the handshake" if why == "timeout" else "closes the connection in the handshake"
        return check.failure(f"the server {what}", them)
    them = Step(
        who=operator,
        what="Look into the server's log for this handshake, and compare TLS versions, ciphers and groups.",
    )
    return check.failure(f"the handshake fails: {why}", them)


def _version(check: Check, handshake: Handshake) -> Finding:
    name = _VERSIONS.get(handshake.version or "", handshake.version or "")
    if handshake.version == _GOOD:
        return check.ok(name)
    step = Step(
        who=check.place.operator, what="Allow TLS 1.3 beside it. TLS 1.2 shows client certificates to whoever listens."
    )
    if handshake.version == _USABLE:
        return check.warning(f"{name}, and not 1.3", step)
    return check.failure(f"{name}, which is broken", step)


def _group(check: Check, handshake: Handshake, libraries: str) -> Finding:
    if handshake.group is None:
        return check.warning("the library does not tell the key exchange, or it was RSA", details=(libraries,))
    is_hybrid = any(word in handshake.group.upper() for word in _POST_QUANTUM)
    kind = "post-quantum hybrid" if is_hybrid else "not post-quantum, though X25519MLKEM768 was offered"
    return check.ok(f"{handshake.group} ({kind})", libraries)
