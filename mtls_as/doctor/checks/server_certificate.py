"""The server's certificate: whether a client trusts it, whom it is for, and how long."""

from datetime import datetime
from pathlib import Path
from typing import Final

from mtls_as.doctor.checks.own import is_self_signed
from mtls_as.doctor.checks.words import chain_lines, command, count, ending, is_soon
from mtls_as.doctor.findings import Actor, Check, Finding, Step
from mtls_as.doctor.hosts import host_names, is_for_host
from mtls_as.doctor.observations import ServerObservation, Trust
from mtls_as.pki.path import describe
from mtls_as.rfc.rfc5280_certificate import Certificate

# The codes of X509_verify_cert (openssl/x509_vfy.h).
_DATES: Final = {9, 10}
_NO_ISSUER: Final = {2, 18, 19, 20, 21}
_WRONG_PURPOSE: Final = 26


def server_certificate_findings(
    server: ServerObservation, anchors: tuple[Certificate, ...], ca_file: Path | None, at: datetime
) -> list[Finding]:
    """Trust, name and validity, each by itself: OpenSSL alone would name the first that fails."""
    chain = () if server.handshake is None else server.handshake.chain
    check = Check("tls.chain", server.place)
    if not chain:
        return [] if server.handshake is None else [check.skipped("the server showed no certificate")]
    leaf = chain[0]
    return [
        _chain(check, server, chain, anchors, ca_file, at),
        _name(Check("tls.name", server.place), leaf, server.host),
        _validity(Check("tls.validity", server.place), chain, at),
    ]


def _chain(
    check: Check,
    server: ServerObservation,
    chain: tuple[Certificate, ...],
    anchors: tuple[Certificate, ...],
    ca_file: Path | None,
    at: datetime,
) -> Finding:
    lines, trust = chain_lines(chain, at), server.trust
    trusted_by = "the CAs of the system" if ca_file is None else str(ca_file)
    if trust is None:
        return check.warning(
            "whether it is trusted could not be told: the server ended the second connection", details=lines
        )
    if trust.code is None:
        return check.ok(f"{count(len(chain), 'certificate')}, trusted by {trusted_by}", *lines)
    if trust.code in _DATES:
        return _out_of_date(check, chain, trusted_by, at, lines)
    if trust.code in _NO_ISSUER:
        return _no_path(check, server, chain, anchors, trusted_by, lines)
    return _otherwise(check, trust, lines)


def _out_of_date(
    check: Check, chain: tuple[Certificate, ...], trusted_by: str, at: datetime, lines: tuple[str, ...]
) -> Finding:
    """What the server sends is for tls.validity to say; what it does not send stands with us."""
    if any(not certificate.not_before <= at <= certificate.not_after for certificate in chain):
        return check.skipped("not judged, since a certificate is out of date: see tls.validity")
    step = Step(who=Actor.YOU, what=f"Replace the CA's certificate in {trusted_by} by its current one.")
    return check.failure(f"the CA's certificate in {trusted_by} is out of date", step, details=lines)


def _no_path(
    check: Check,
    server: ServerObservation,
    chain: tuple[Certificate, ...],
    anchors: tuple[Certificate, ...],
    trusted_by: str,
    lines: tuple[str, ...],
) -> Finding:
    """The path from the leaf, as far as it goes: it ends at a root that is not ours, or at a gap."""
    top = _top(chain)
    namesake = any(anchor.subject == top.issuer for anchor in anchors)
    give = Step(
        who=Actor.YOU,
        what="Get the CA's certificate from the operator, compare its SHA-256 over another channel, and give it:",
        lines=("--ca FILE",),
    )
    if namesake and not is_self_signed(top):
        return check.failure(
            f"{trusted_by} has a CA named {top.issuer}, and another key made the signature", give, details=lines
        )
    if is_self_signed(top):
        what = "is self-signed" if top is chain[0] else f"ends at the root {describe(top)}"
        return check.failure(f"the chain {what}, which {trusted_by} does not trust", give, details=lines)
    append = Step(
        who=check.place.operator,
        what=f"If {top.issuer} is an intermediate CA, send it: append its certificate to the server's chain file "
        "(tls.certificate of mtls-as). This shows what is sent now:",
        lines=(
            command(
                "openssl",
                "s_client",
                "-showcerts",
                "-connect",
                f"{server.host}:{server.port}",
                "-servername",
                server.host,
            ),
        ),
    )
    seen = (
        f"the chain is incomplete, or of a CA unknown to us: {top.issuer} is neither sent nor trusted by {trusted_by}"
    )
    return check.failure(seen, append, give, details=lines)


def _top(chain: tuple[Certificate, ...]) -> Certificate:
    top, rest = chain[0], list(chain[1:])
    while not is_self_signed(top) and (issuer := next((c for c in rest if c.subject == top.issuer), None)):
        rest.remove(issuer)
        top = issuer
    return top


def _otherwise(check: Check, trust: Trust, lines: tuple[str, ...]) -> Finding:
    if trust.code == _WRONG_PURPOSE:
        step = Step(who=Actor.CA, what="Issue the server's certificate with the extended key usage serverAuth.")
        return check.failure("the server's certificate is not for servers", step, details=lines)
    step = Step(
        who=check.place.operator, what="Replace the certificate, or the CA's, that OpenSSL refuses for this reason."
    )
    return check.failure(f"not trusted: {trust.message} (code {trust.code})", step, details=lines)


def _name(check: Check, leaf: Certificate, host: str) -> Finding:
    names = ", ".join(host_names(leaf)) or "no host at all (names in the subject do not count)"
    if is_for_host(leaf, host):
        return check.ok(f"it is for {host}", f"names: {names}")
    you = Step(who=Actor.YOU, what="Use the name that the certificate is for in the URL, if that is the same server.")
    them = Step(who=check.place.operator, what=f"Get a certificate with the subjectAltName {host}.")
    return check.failure(f"it is not for {host}, but for {names}", you, them)


def _validity(check: Check, chain: tuple[Certificate, ...], at: datetime) -> Finding:
    operator = check.place.operator
    for certificate in chain:
        if not certificate.not_before <= at <= certificate.not_after:
            them = Step(
                who=operator, what=f"Renew the certificate of {describe(certificate)}; its CA is {certificate.issuer}."
            )
            you = Step(
                who=Actor.YOU,
                what=f"If the dates look right, set this machine's clock; it says {at:%Y-%m-%d %H:%M} UTC.",
            )
            return check.failure(f"{describe(certificate)} {_is(certificate, at)}", them, you)
    ends_first = min(chain, key=lambda certificate: certificate.not_after)
    seen = f"{describe(ends_first)}: {ending(ends_first, at)}"
    if is_soon(ends_first, at):
        return check.warning(seen, Step(who=operator, what="Renew it before that."))
    return check.ok(seen)


def _is(certificate: Certificate, at: datetime) -> str:
    return f"is {ending(certificate, at)}" if at < certificate.not_before else ending(certificate, at)
