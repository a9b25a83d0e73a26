"""The token: whether the client gets one, what it is bound to, and for whom and how long it is good."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from mtls_as.doctor.checks.own import has_client_usage, is_self_signed
from mtls_as.doctor.checks.words import command, ending, seconds
from mtls_as.doctor.findings import Actor, Check, Finding, Place, Step
from mtls_as.doctor.observations import Observations, OwnCertificate, TokenObservation
from mtls_as.rfc.rfc5280_certificate import Certificate
from mtls_as.rfc.rfc8705_mtls import (
    ConfirmationError,
    SubjectType,
    parse_confirmation,
    registration_lines,
    thumbprints_equal,
    x5t_s256,
)

TOKEN: Final = Check("token", Place.TOKEN)
BINDING: Final = Check("token.binding", Place.TOKEN)
LIFETIME: Final = Check("token.lifetime", Place.TOKEN)
AUDIENCE: Final = Check("token.audience", Place.TOKEN)
SIGNATURE: Final = Check("token.signature", Place.TOKEN)

_SHORT: Final = 30.0
_LONG: Final = 3_600.0
_OPTIONS: Final[Mapping[SubjectType, str]] = {
    SubjectType.SUBJECT_DN: "--subject-dn",
    SubjectType.SAN_DNS: "--san-dns",
    SubjectType.SAN_URI: "--san-uri",
    SubjectType.SAN_IP: "--san-ip",
    SubjectType.SAN_EMAIL: "--san-email",
}


def token_findings(seen: Observations) -> list[Finding]:
    """The request, and if it was granted, the token."""
    token, own = seen.token, seen.own
    if token is None or own is None or own.leaf is None:
        return [TOKEN.skipped(seen.no_token or "the authorization server cannot be talked to")]
    if not token.was_issued:
        return [_refused(token, own, own.leaf, seen.at)]
    granted = f"issued to {token.client_id}" + (f", scope {token.scope}" if token.scope else "")
    return [
        TOKEN.ok(granted, f"from {token.endpoint}", "JWT" if token.is_jwt else "opaque"),
        _signature(token),
        _binding(token, own.leaf),
        _lifetime(token),
        _audience(token, seen),
    ]


def _refused(token: TokenObservation, own: OwnCertificate, leaf: Certificate, at: datetime) -> Finding:
    if token.failure is not None:
        step = Step(
            who=Actor.SERVER,
            what="Look into the server's log for this request; see the findings about the issuer first.",
        )
        return TOKEN.failure(f"no answer to the token request: {token.failure}", step)
    seen = f"{token.endpoint} refuses: {token.error}" + (
        f" ({token.error_description})" if token.error_description else ""
    )
    match token.error:
        case "invalid_client":
            return _unknown_client(seen, token, own, leaf, at)
        case "invalid_scope":
            you = Step(who=Actor.YOU, what="Ask for less with --scope, or leave it out to get all that the client has.")
            them = Step(who=Actor.SERVER, what=f"Or widen the scope of the client {token.client_id}, if that is meant.")
            return TOKEN.failure(f"{seen}; asked for: {token.requested_scope}", you, them)
        case "invalid_target":
            you = Step(
                who=Actor.YOU, what="Give the resource's identifier as the server knows it:", lines=("--resource URI",)
            )
            them = Step(
                who=Actor.SERVER,
                what="Or add the resource, with a scope that the client has; in config.toml:",
                lines=("[[resources]]", f'identifier = "{token.requested_resource or "URI"}"', 'scopes = ["SCOPE"]'),
            )
            return TOKEN.failure(f"{seen}; asked for: {token.requested_resource or 'no resource'}", you, them)
        case "unauthorized_client" | "unsupported_grant_type":
            them = Step(
                who=Actor.SERVER,
                what=f"Allow the client {token.client_id} the client credentials grant:",
                lines=('grant_types = ["client_credentials"]',),
            )
            return TOKEN.failure(seen, them)
        case "temporarily_unavailable" | "server_error":
            return TOKEN.failure(seen, Step(who=Actor.SERVER, what="Look into the server's log; try again after that."))
        case _:
            return TOKEN.failure(seen, Step(who=Actor.SERVER, what="Look into the server's log, which says why."))


def _unknown_client(
    seen: str, token: TokenObservation, own: OwnCertificate, leaf: Certificate, at: datetime
) -> Finding:
    """The server never says why; what is wrong with the certificate by itself comes first, then the registration."""
    steps = []
    if trouble := _trouble(leaf, at):
        steps.append(Step(who=Actor.YOU, what=f"The likely cause: {trouble}. Mend that first."))
    lines = tuple(
        registration_commands(leaf, token.client_id, scope=token.requested_scope, file=str(own.certificate_file))
    )
    register = Step(
        who=Actor.SERVER,
        what=f"Register the certificate for {token.client_id}, if it is not. "
        + ("It is self-signed, so itself:" if is_self_signed(leaf) else "One of these, in the trust domain of its CA:"),
        lines=lines,
    )
    explain = Step(
        who=Actor.SERVER,
        what="Or let the server's own code say why it refuses (its log has the code as refusal):",
        lines=(command("mtls-as", "cert", "explain", str(own.certificate_file), "--client", token.client_id),),
    )
    details = (f"subject {leaf.subject}", f"issuer {leaf.issuer}", f"x5t#S256 {x5t_s256(leaf.der)}")
    return TOKEN.failure(f"{seen}: no such client for this certificate", *steps, register, explain, details=details)


def _trouble(leaf: Certificate, at: datetime) -> str | None:
    if not leaf.not_before <= at <= leaf.not_after:
        return f"the certificate: {ending(leaf, at)}"
    if not has_client_usage(leaf):
        return "the certificate is not for client authentication (own.usage)"
    return "the certificate is a CA's" if leaf.is_ca else None


def registration_commands(leaf: Certificate, client_id: str, *, scope: str | None, file: str) -> list[str]:
    """The lines that register a client with this certificate: by itself, or by each of its names."""
    start, end = ("mtls-as", "client", "add", "--client-id", client_id), ("--scope", scope or "SCOPE")
    if is_self_signed(leaf):
        return [command(*start, "--certificate", file, *end)]
    return [command(*start, "--trust", "DOMAIN", _OPTIONS[kind], text, *end) for kind, text in registration_lines(leaf)]


def _signature(token: TokenObservation) -> Finding:
    if not token.is_jwt:
        return SIGNATURE.skipped("the token is opaque: only the issuer can read it")
    if token.signature_failure is None:
        return SIGNATURE.ok("one of the published keys made it")
    step = Step(
        who=Actor.SERVER,
        what="Publish the key that signs at jwks_uri, under its kid, and sign with ES256, PS256 or EdDSA.",
    )
    return SIGNATURE.failure(f"resource servers will not take it: {token.signature_failure}", step)


def _binding(token: TokenObservation, leaf: Certificate) -> Finding:
    if token.claims is None:
        return BINDING.skipped("an opaque token does not say what it is bound to; the resource's answers show it")
    step = Step(
        who=Actor.SERVER,
        what=f"Bind the tokens of {token.client_id} to its certificate; in its registration:",
        lines=("tls_client_certificate_bound_access_tokens = true",),
    )
    if "cnf" not in token.claims:
        return BINDING.failure("the token is bound to nothing: whoever has it can use it", step)
    try:
        thumbprint = parse_confirmation(token.claims["cnf"])
    except ConfirmationError as error:
        return BINDING.failure(f"the token is not bound to a certificate: {error}", step)
    if thumbprints_equal(thumbprint, x5t_s256(leaf.der)):
        return BINDING.ok(f"cnf.x5t#S256 is that of our certificate, {thumbprint}")
    them = Step(
        who=Actor.SERVER,
        what="Find out whose certificate the server sees: a proxy in front of it forwards its own, or another one.",
    )
    return BINDING.failure(
        f"the token is bound to another certificate, {thumbprint}", them, details=(f"ours is {x5t_s256(leaf.der)}",)
    )


def _lifetime(token: TokenObservation) -> Finding:
    lifetime = token.lifetime or 0.0
    if lifetime < _SHORT:
        step = Step(
            who=Actor.SERVER, what="Let tokens live some minutes; in config.toml:", lines=("[tokens] lifetime = 300",)
        )
        return LIFETIME.warning(f"{seconds(lifetime)}: hardly time to use it", step)
    if lifetime > _LONG:
        step = Step(
            who=Actor.SERVER,
            what="Let tokens live some minutes: what is revoked lives on in them; in config.toml:",
            lines=("[tokens] lifetime = 300",),
        )
        return LIFETIME.warning(f"{seconds(lifetime)}, which is long for a token", step)
    return LIFETIME.ok(seconds(lifetime))


def _audience(token: TokenObservation, seen: Observations) -> Finding:
    if token.claims is None:
        return AUDIENCE.skipped("an opaque token does not say for whom it is")
    value = token.claims.get("aud")
    audiences = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    named = ", ".join(map(str, audiences)) or "nobody"
    if token.requested_resource is not None and token.requested_resource not in audiences:
        step = Step(
            who=Actor.SERVER,
            what=f"Issue tokens for the resource that is asked for, {token.requested_resource} (RFC 8707).",
        )
        return AUDIENCE.failure(f"the token is for {named}", step)
    if not audiences:
        return AUDIENCE.failure(
            "the token is for nobody", Step(who=Actor.SERVER, what="Name the resource in aud (RFC 9068 §2.2).")
        )
    if (
        seen.resource is not None
        and token.requested_resource is None
        and not any(isinstance(a, str) and seen.resource.url.startswith(a) for a in audiences)
    ):
        step = Step(
            who=Actor.YOU,
            what="Name the resource as its server calls itself, if it refuses the token:",
            lines=("--resource URI",),
        )
        return AUDIENCE.warning(f"the token is for {named}, which is no part of {seen.resource.url}", step)
    return AUDIENCE.ok(named)
