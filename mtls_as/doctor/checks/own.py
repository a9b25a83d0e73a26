"""The client's own certificate and key."""

from datetime import datetime
from typing import Final

from mtls_as.doctor.checks.words import chain_lines, ending, is_soon
from mtls_as.doctor.findings import Actor, Check, Finding, Place, Step
from mtls_as.doctor.observations import OwnCertificate
from mtls_as.pki.path import describe
from mtls_as.rfc.rfc5280_certificate import Certificate
from mtls_as.rfc.rfc8705_mtls import x5t_s256

FILES: Final = Check("own.files", Place.OWN)
VALIDITY: Final = Check("own.validity", Place.OWN)
USAGE: Final = Check("own.usage", Place.OWN)
CHAIN: Final = Check("own.chain", Place.OWN)

_ANY: Final = "2.5.29.37.0"
_CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"


def own_findings(own: OwnCertificate | None, at: datetime) -> list[Finding]:
    """Whether both files can be used, and what the certificate is good for."""
    if own is None:
        return [FILES.skipped("no certificate was given: --cert FILE --key FILE")]
    leaf = own.leaf
    if leaf is None:
        return [_files(own)]
    return [_files(own), _validity(own, leaf, at), _usage(leaf), _chain(own, leaf, at)]


def is_self_signed(certificate: Certificate) -> bool:
    """Whether it names itself as its issuer."""
    return certificate.subject == certificate.issuer


def has_client_usage(leaf: Certificate) -> bool:
    """Whether its extended key usage, if it has one, allows client authentication (RFC 5280 §4.2.1.12)."""
    return leaf.extended_key_usages is None or bool({_CLIENT_AUTH, _ANY} & leaf.extended_key_usages)


def _files(own: OwnCertificate) -> Finding:
    if own.key_matches is False:
        step = Step(
            who=Actor.YOU, what="Give the key that the certificate was requested with, or the certificate of this key."
        )
        return FILES.failure(own.failure or "", step)
    if own.failure is not None:
        step = Step(
            who=Actor.YOU,
            what="Give the certificate chain (your own certificate first) and its key as PEM files, the key not "
            "encrypted. This decrypts a key:",
            lines=(f"openssl pkey -in {own.key_file} -out decrypted-key.pem",),
        )
        return FILES.failure(own.failure, step)
    leaf = own.chain[0]
    return FILES.ok(
        f"{describe(leaf)}, {leaf.key_description}; the key matches",
        f"issued by {leaf.issuer}",
        f"x5t#S256 {x5t_s256(leaf.der)}",
    )


def _validity(own: OwnCertificate, leaf: Certificate, at: datetime) -> Finding:
    issuer = str(leaf.issuer)
    if at < leaf.not_before:
        step = Step(
            who=Actor.YOU, what="Set this machine's clock; if it is right, wait, or ask the CA for another certificate."
        )
        return VALIDITY.failure(f"{own.certificate_file} is {ending(leaf, at)}", step)
    if at > leaf.not_after:
        renew = Step(
            who=Actor.YOU,
            what=f"Renew the certificate at its CA ({issuer}), with the same subject: then no registration changes.",
        )
        return VALIDITY.failure(f"{own.certificate_file} {ending(leaf, at)}", renew)
    expired = [certificate for certificate in own.chain[1:] if at > certificate.not_after]
    if expired:
        step = Step(who=Actor.YOU, what="Replace it in the file by the CA's current certificate.")
        return VALIDITY.warning(f"{describe(expired[0])} in the same file {ending(expired[0], at)}", step)
    if is_soon(leaf, at):
        step = Step(who=Actor.YOU, what=f"Renew it at its CA ({issuer}) before that.")
        return VALIDITY.warning(ending(leaf, at), step)
    return VALIDITY.ok(f"{ending(leaf, at)}, until {leaf.not_after:%Y-%m-%d %H:%M} UTC")


def _usage(leaf: Certificate) -> Finding:
    if leaf.is_ca:
        step = Step(who=Actor.YOU, what="Use an end-entity certificate; a CA's own is refused as a client's.")
        return USAGE.failure("it is a CA's certificate", step)
    if not has_client_usage(leaf):
        issue = Step(who=Actor.CA, what="Issue it with the extended key usage clientAuth (1.3.6.1.5.5.7.3.2).")
        allow = Step(
            who=Actor.SERVER,
            what="Or, if this CA cannot do that, take its certificates all the same, in the client's trust domain:",
            lines=('extended_key_usage = "any"',),
        )
        return USAGE.failure("its extended key usage does not allow client authentication", issue, allow)
    if leaf.key_usages is not None and "digitalSignature" not in leaf.key_usages:
        step = Step(
            who=Actor.CA,
            what="Issue it with the key usage digitalSignature, by which TLS proves that you hold the key.",
        )
        return USAGE.failure("its key usage lacks digitalSignature", step)
    named = "clientAuth" if leaf.extended_key_usages is not None else "not restricted"
    return USAGE.ok(f"good for client authentication ({named})")


def _chain(own: OwnCertificate, leaf: Certificate, at: datetime) -> Finding:
    file, lines = own.certificate_file, chain_lines(own.chain, at)
    for number, (certificate, issuer) in enumerate(zip(own.chain, own.chain[1:], strict=False), 1):
        if certificate.issuer != issuer.subject:
            step = Step(
                who=Actor.YOU,
                what=f"Put the certificates of {file} in order: each is followed by the one that issued it.",
            )
            return CHAIN.failure(f"certificate {number + 1} did not issue certificate {number}", step, details=lines)
    if is_self_signed(leaf):
        return CHAIN.ok("it is self-signed: the server must know this very certificate")
    last = own.chain[-1]
    if is_self_signed(last):
        return CHAIN.ok(f"{len(own.chain)} certificates, up to the root; the root need not be sent", *lines)
    return CHAIN.ok(
        f"{len(own.chain)} in the file; {last.issuer} must be a CA that the server trusts itself",
        *lines,
        f"if {last.issuer} is an intermediate CA, append its certificate to {file}",
    )
