"""The resource: what it says of itself, and whom it lets in."""

from collections.abc import Mapping
from typing import Final

from mtls_as.doctor.findings import Actor, Check, Finding, Place, Step
from mtls_as.doctor.observations import Answer, Document, Observations, ResourceObservation
from mtls_as.rfc.rfc3986_uri import https_origin, is_https_url

METADATA: Final = Check("resource.metadata", Place.RESOURCE)
WITHOUT_TOKEN: Final = Check("resource.without_token", Place.RESOURCE)
WITH_TOKEN: Final = Check("resource.with_token", Place.RESOURCE)
WITHOUT_CERTIFICATE: Final = Check("resource.without_certificate", Place.RESOURCE)
OTHER_CERTIFICATE: Final = Check("resource.other_certificate", Place.RESOURCE)

_BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 400, 401, 403, 404
_REDIRECTIONS, _SERVER_ERRORS = 300, 500


def resource_findings(seen: Observations) -> list[Finding]:
    """What it publishes, and its answers to four requests."""
    resource = seen.resource
    if resource is None:
        return []
    if resource.without_token is None:
        return [WITHOUT_TOKEN.skipped(resource.unasked)]
    findings = [_metadata(seen, resource), _without_token(resource.without_token)]
    if resource.with_token is None:
        return [*findings, WITH_TOKEN.skipped("there is no token")]
    findings.append(_with_token(resource, resource.with_token, seen))
    for check, answer, how in (
        (WITHOUT_CERTIFICATE, resource.without_certificate, "over a connection without a certificate"),
        (OTHER_CERTIFICATE, resource.other_certificate, "over a connection with a stranger's certificate"),
    ):
        if answer is not None:
            findings.append(_stolen(check, answer, resource.with_token, how))
    return findings


def _metadata(seen: Observations, resource: ResourceObservation) -> Finding:
    document = resource.metadata
    publish = Step(
        who=Actor.RESOURCE,
        what="Publish protected-resource metadata (RFC 9728), by which clients find their authorization server.",
    )
    if document is None:
        return METADATA.skipped("a URL with a query has no metadata of its own")
    if document.failure is not None or not isinstance(document.content, dict):
        return METADATA.warning(f"none: {document.url}: {document.failure or 'not an object'}", publish)
    return _named(seen, resource, document, document.content)


def _named(
    seen: Observations, resource: ResourceObservation, document: Document, members: dict[str, object]
) -> Finding:
    named, servers = members.get("resource"), members.get("authorization_servers")
    details = (
        document.url,
        f"authorization_servers: {', '.join(map(str, servers)) if isinstance(servers, list) else 'none'}",
    )
    correct = Step(
        who=Actor.RESOURCE, what="Publish metadata whose resource is the URL that clients ask (RFC 9728 §3.3)."
    )
    if not is_https_url(named) or not isinstance(named, str) or https_origin(named) != https_origin(resource.url):
        return METADATA.failure(f"it speaks for another resource, {named}", correct, details=details)
    if isinstance(servers, list) and seen.given_issuer is not None and seen.given_issuer not in servers:
        step = Step(
            who=Actor.RESOURCE, what=f"Name {seen.given_issuer} in authorization_servers, if its tokens are taken."
        )
        you = Step(who=Actor.YOU, what="Or ask an issuer that the resource names.")
        return METADATA.failure(
            f"the resource does not name the issuer {seen.given_issuer}", you, step, details=details
        )
    if members.get("tls_client_certificate_bound_access_tokens") is not True:
        step = Step(who=Actor.RESOURCE, what='Say "tls_client_certificate_bound_access_tokens": true, if that is so.')
        return METADATA.warning("it does not say that it takes tokens bound to certificates", step, details=details)
    if named != resource.url and named != seen.given_resource:
        return METADATA.ok(f"resource {named}, which strict clients must be told: --resource", *details)
    return METADATA.ok(f"resource {named}", *details)


def _without_token(answer: Answer) -> Finding:
    if answer.alert is not None:
        return WITHOUT_TOKEN.warning(f"the connection is refused before any request: {answer.alert}")
    if answer.status is None:
        step = Step(who=Actor.RESOURCE, what="Look into the server's log for this request.")
        return WITHOUT_TOKEN.failure(f"no answer: {answer.failure}", step)
    if answer.status < _REDIRECTIONS:
        step = Step(
            who=Actor.RESOURCE,
            what="Put the guard in front of this URL: it answers everybody. See docs/resource-servers.md.",
        )
        return WITHOUT_TOKEN.failure(f"NOT PROTECTED: it answers {answer.status} to a request without a token", step)
    if answer.status != _UNAUTHORIZED:
        step = Step(who=Actor.YOU, what="Give the URL of something that the resource serves to its clients with GET.")
        return WITHOUT_TOKEN.warning(f"it answers {answer.status}, and not 401", step)
    if answer.challenge is None:
        step = Step(
            who=Actor.RESOURCE,
            what="Answer with WWW-Authenticate: Bearer (RFC 6750 §3), by which clients know what to send.",
        )
        return WITHOUT_TOKEN.warning("401 without a Bearer challenge", step)
    if "resource_metadata" not in answer.challenge:
        return WITHOUT_TOKEN.ok("401, Bearer; the challenge does not point to metadata (RFC 9728 §5.1)")
    return WITHOUT_TOKEN.ok(f"401, Bearer, metadata at {answer.challenge['resource_metadata']}")


def _with_token(resource: ResourceObservation, answer: Answer, seen: Observations) -> Finding:
    if answer.alert is not None or answer.status is None:
        step = Step(who=Actor.RESOURCE, what="Look into the server's log for this connection; see tls.own_certificate.")
        return WITH_TOKEN.failure(f"no answer: {answer.alert or answer.failure}", step)
    if answer.status < _REDIRECTIONS:
        return WITH_TOKEN.ok(f"{answer.status} with the token and its certificate")
    challenge = answer.challenge or {}
    why = _why(challenge)
    if answer.status == _UNAUTHORIZED:
        return _not_taken(resource, answer, why, seen)
    if answer.status == _FORBIDDEN:
        scope = challenge.get("scope", "SCOPE")
        you = Step(who=Actor.YOU, what="Ask for the scope that it needs:", lines=(f'--scope "{scope}"',))
        them = Step(who=Actor.RESOURCE, what="If the scope is there, look into the service's own rules.")
        return WITH_TOKEN.failure(f"403{why}: the token is good, and does not allow this", you, them)
    if answer.status >= _SERVER_ERRORS:
        step = Step(
            who=Actor.RESOURCE, what="Look into the server's log; the authorization server may be out of its reach."
        )
        return WITH_TOKEN.failure(f"{answer.status}{why}", step)
    step = Step(who=Actor.YOU, what="Give the URL of something that the resource serves to its clients with GET.")
    return WITH_TOKEN.warning(f"{answer.status}{why}: whether the token is taken cannot be told", step)


def _why(challenge: Mapping[str, str]) -> str:
    texts = [challenge[name] for name in ("error", "error_description") if challenge.get(name)]
    return f" {': '.join(texts).rstrip('.')}" if texts else ""


def _not_taken(resource: ResourceObservation, answer: Answer, why: str, seen: Observations) -> Finding:
    """The token is refused with its own certificate: the certificate is lost on the way, or it is about the token."""
    server = seen.server(Place.RESOURCE)
    asks = server is not None and server.handshake is not None and server.handshake.asks_for_certificate
    is_blind = "certificate" in why and answer == resource.without_certificate == resource.other_certificate
    forward = Step(
        who=Actor.RESOURCE,
        what="Whatever ends TLS there must ask for the client's certificate and forward it to the service, which reads "
        "it from that hop and no other. In nginx, with docs/proxies/nginx.conf:",
        lines=("ssl_verify_client optional_no_ca;", "proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;"),
    )
    if not asks or is_blind:
        cause = "it does not ask for one" if not asks else "something in front of the service drops it"
        return WITH_TOKEN.failure(f"401{why}: the certificate does not arrive; {cause}", forward)
    verify = Step(
        who=Actor.RESOURCE,
        what="Compare what the service expects with token.audience and the issuer; this judges a token in a file:",
        lines=(f"mtls-as verify --issuer {seen.issuer} --audience URI --certificate FILE --token FILE",),
    )
    return WITH_TOKEN.failure(f"401{why}", verify, forward)


def _stolen(check: Check, answer: Answer, with_token: Answer, how: str) -> Finding:
    """What somebody sees who has the token, and not the key. Where the client itself is refused, that tells nothing."""
    if answer.alert is not None:
        return check.ok(f"refused {how}, in the handshake ({answer.alert})")
    if answer.status is None:
        return check.warning(f"could not be told {how}: {answer.failure}")
    if answer.status < _REDIRECTIONS:
        enforce = Step(
            who=Actor.RESOURCE,
            what="Take the resource out of service until it compares cnf.x5t#S256 of each token with the certificate "
            "of the connection (RFC 8705 §3). The verifier of mtls-as does: docs/resource-servers.md.",
        )
        seen = f"A STOLEN TOKEN WORKS: the resource answers {answer.status} to our token {how}"
        return check.failure(f"{seen}; the binding protects nothing", enforce)
    if answer.status in {_BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN}:
        if with_token.status is None or _REDIRECTIONS <= with_token.status != _FORBIDDEN:
            return check.skipped(f"refused {how}, but the token is refused with its own certificate, too")
        return check.ok(f"refused {how}: {answer.status}{_why(answer.challenge or {})}")
    return check.warning(f"could not be told: it answers {answer.status} {how}")
