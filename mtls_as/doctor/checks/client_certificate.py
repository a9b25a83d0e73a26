"""Whether a server asks for the client's certificate, and what it says to the one that it gets."""

from typing import Final

from mtls_as.doctor.checks.own import is_self_signed
from mtls_as.doctor.checks.words import count
from mtls_as.doctor.findings import Actor, Check, Finding, Place, Step
from mtls_as.doctor.observations import Handshake, OwnCertificate, ServerObservation

_ALERTS: Final = {
    "unknown_ca": "its CA does not count there",
    "certificate_expired": "it has expired there",
    "certificate_revoked": "it is revoked",
    "bad_certificate": "it is not good",
    "unsupported_certificate": "it is of a kind that is not allowed, often for its extended key usage",
    "certificate_unknown": "it is not acceptable",
    "certificate_required": "none came: yours was not sent, or not taken",
    "decrypt_error": "the proof that you hold the key is wrong",
    "handshake_failure": "the handshake fails with it",
    "access_denied": "access is denied",
}


def client_certificate_findings(
    server: ServerObservation, own: OwnCertificate | None, *, has_aliases: bool = False
) -> list[Finding]:
    """Whether it asks, and with a certificate of ours, whether it takes it.

    An issuer with endpoint aliases need not ask: it does so elsewhere (RFC 8705 §5).
    """
    handshake = server.handshake
    if handshake is None or handshake.version is None:
        return []
    findings = [_requested(Check("tls.client_certificate", server.place), handshake, own, has_aliases=has_aliases)]
    if own is not None:
        findings.append(_taken(Check("tls.own_certificate", server.place), server, own))
    return findings


def _requested(check: Check, handshake: Handshake, own: OwnCertificate | None, *, has_aliases: bool) -> Finding:
    if not handshake.asks_for_certificate:
        if has_aliases:
            return check.ok("none is asked for here: the endpoints for that are named in mtls_endpoint_aliases")
        return _not_requested(check)
    names = tuple(f"it asks for certificates of {name}" for name in handshake.authorities)
    if not names:
        return check.ok("one is asked for, of any CA")
    if own is not None and own.chain and not _fits(own, handshake.authorities):
        them = Step(
            who=check.place.operator,
            what=f"Add the CA {own.chain[-1].issuer} to those that the server names, or let it name none.",
        )
        you = Step(who=Actor.YOU, what="Or use a certificate of one of them; many clients send no other.")
        return check.warning("one is asked for, and not of the CA of yours", them, you, details=names)
    return check.ok(f"one is asked for, of {count(len(names), 'CA')}" + (", yours among them" if own else ""), *names)


def _not_requested(check: Check) -> Finding:
    seen = "the server does not ask for a client certificate, so nothing can be bound to one"
    if check.place is Place.RESOURCE:
        step = Step(
            who=Actor.RESOURCE,
            what="Let whatever ends TLS in front of the service ask for a certificate, and forward it. In nginx:",
            lines=("ssl_verify_client optional_no_ca;",),
        )
        return check.failure(seen, step)
    ask = Step(
        who=Actor.SERVER,
        what="Let whatever ends TLS in front of the server ask for a certificate, and forward it ([listeners.proxy] of "
        "mtls-as); or let clients reach [listeners.mtls], and name it in mtls_endpoint_aliases. In nginx:",
        lines=("ssl_verify_client optional_no_ca;",),
    )
    you = Step(who=Actor.YOU, what="Check that the URL is that of the listener for clients with certificates.")
    return check.failure(seen, ask, you)


def _fits(own: OwnCertificate, authorities: tuple[str, ...]) -> bool:
    issuers = {str(certificate.issuer) for certificate in own.chain}
    return bool(issuers & set(authorities))


def _taken(check: Check, server: ServerObservation, own: OwnCertificate) -> Finding:
    probe = server.probe
    if not own.is_usable or probe is None:
        return check.skipped("it cannot be used: see own.files")
    if server.handshake is not None and not server.handshake.asks_for_certificate:
        return check.skipped("it was not asked for")
    if probe.alert is None:
        return check.ok("the connection stands with it; whether it is a known client's, the server says later")
    if probe.alert == "timeout":
        return check.warning("the server says nothing over a connection with it")
    them = Step(who=server.place.operator, what="Look into the log for this handshake; " + _trusting(own))
    seen = f"the server refuses it in the handshake: {_ALERTS.get(probe.alert, 'the alert says')} ({probe.alert})"
    if probe.alert == "closed":
        seen = "the server closes the connection without a word, once it has our certificate: it likely refuses it"
    steps = [them]
    if probe.alert in {"certificate_expired", "unsupported_certificate"}:
        steps.insert(0, Step(who=Actor.YOU, what="See own.validity and own.usage."))
    return check.failure(seen, *steps)


def _trusting(own: OwnCertificate) -> str:
    last = own.chain[-1]
    if is_self_signed(last) and len(own.chain) == 1:
        return (
            "let it take self-signed certificates in TLS, and judge them afterwards (ssl_verify_client optional_no_ca)."
        )
    return f"let it trust {last.issuer}, or take any certificate in TLS, and judge it afterwards."
