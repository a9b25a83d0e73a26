"""The authorization server's metadata (RFC 8414) and its keys."""

from collections.abc import Mapping
from typing import Final

from mtls_as.doctor.checks.words import count
from mtls_as.doctor.findings import Actor, Check, Finding, Place, Step
from mtls_as.doctor.observations import Document, Observations
from mtls_as.rfc.rfc3986_uri import is_https_url
from mtls_as.rfc.rfc7517_jwk import JWKError, parse_jwks
from mtls_as.rfc.rfc7519_jwt import SUPPORTED_ALGORITHMS, fits

METADATA: Final = Check("metadata", Place.ISSUER)
ISSUER: Final = Check("metadata.issuer", Place.ISSUER)
ENDPOINTS: Final = Check("metadata.endpoints", Place.ISSUER)
BINDING: Final = Check("metadata.binding", Place.ISSUER)
METHODS: Final = Check("metadata.auth_methods", Place.ISSUER)
KEYS: Final = Check("jwks", Place.ISSUER)

CERTIFICATE_METHODS: Final = ("tls_client_auth", "self_signed_tls_client_auth", "spiffe_x509")
_NOT_FOUND: Final = 404


def metadata_findings(seen: Observations) -> list[Finding]:
    """The document, and what a client with a certificate needs of it."""
    if seen.issuer is None:
        return [METADATA.skipped(_no_issuer(seen))]
    if seen.metadata is None:
        return [METADATA.skipped("the server cannot be talked to")]
    if seen.metadata.failure is not None:
        return [_missing(seen, seen.metadata)]
    document = seen.metadata.content
    if not isinstance(document, dict):
        step = Step(who=Actor.SERVER, what="Answer with a JSON object (RFC 8414 §3.2).")
        return [METADATA.failure(f"{seen.metadata.url} is not an object", step)]
    return [
        METADATA.ok(seen.metadata.url),
        _issuer(seen.issuer, document),
        _endpoints(document, seen.withheld),
        _binding(document),
        _methods(document),
        _keys(seen, document),
    ]


def _no_issuer(seen: Observations) -> str:
    if seen.issuer_withheld is not None:
        return f"the resource names {seen.issuer_withheld}: give it as --issuer, or --follow to ask whom servers name"
    return "the authorization server is not known: give --issuer"


def _missing(seen: Observations, metadata: Document) -> Finding:
    them = Step(
        who=Actor.SERVER,
        what="Serve the metadata at this URL, without authentication: the well-known path stands between host and path "
        "(RFC 8414 §3.1).",
        lines=(metadata.url,),
    )
    you = Step(
        who=Actor.YOU,
        what="Give the issuer to the character as the server calls itself: no endpoint's URL, and no path too many.",
    )
    seen_there = f"{metadata.url}: {metadata.failure}"
    if metadata.status is None:
        look = Step(who=Actor.SERVER, what="Look into the server's log for this connection; see tls.own_certificate.")
        return METADATA.failure(seen_there, look)
    other = seen.openid_metadata
    if other is not None and other.failure is None:
        named = other.content.get("issuer") if isinstance(other.content, dict) else None
        details = (f"there is OpenID Connect metadata, {other.url}, with the issuer {named}",)
        return METADATA.failure(seen_there, them, details=details)
    if metadata.status == _NOT_FOUND:
        return METADATA.failure(seen_there, you, them)
    return METADATA.failure(seen_there, them, you)


def _issuer(issuer: str, document: Mapping[str, object]) -> Finding:
    named = document.get("issuer")
    if named == issuer:
        return ISSUER.ok(f"it is that of {issuer}")
    you = Step(
        who=Actor.YOU,
        what="Wherever you configured the issuer, use it as the server calls itself, to the character:",
        lines=(named,) if isinstance(named, str) and is_https_url(named) else (),
    )
    them = Step(
        who=Actor.SERVER,
        what="Or let the server call itself by its URL; in config.toml:",
        lines=(f'issuer = "{issuer}"',),
    )
    hint = " (a final slash counts)" if isinstance(named, str) and named.rstrip("/") == issuer.rstrip("/") else ""
    return ISSUER.failure(f"it names the issuer {named}, and not {issuer}{hint}", you, them)


def _endpoints(document: Mapping[str, object], withheld: tuple[str, ...]) -> Finding:
    endpoint, aliases = document.get("token_endpoint"), document.get("mtls_endpoint_aliases")
    step = Step(
        who=Actor.SERVER,
        what="Name the token endpoint by an https URL, and its alias, if clients with certificates go elsewhere.",
    )
    if not is_https_url(endpoint):
        return ENDPOINTS.failure("there is no token_endpoint that is an https URL", step)
    alias = aliases.get("token_endpoint") if isinstance(aliases, dict) else None
    if aliases is not None and (not isinstance(aliases, dict) or not all(map(is_https_url, aliases.values()))):
        return ENDPOINTS.failure("mtls_endpoint_aliases are not https URLs by name (RFC 8705 §5)", step)
    notes = tuple(f"{host} was not talked to: --follow" for host in withheld)
    if alias is None:
        return ENDPOINTS.ok(f"token_endpoint {endpoint}, for clients with certificates too", *notes)
    return ENDPOINTS.ok(f"token_endpoint {alias} (mtls_endpoint_aliases)", f"without a certificate {endpoint}", *notes)


def _binding(document: Mapping[str, object]) -> Finding:
    if document.get("tls_client_certificate_bound_access_tokens") is True:
        return BINDING.ok("access tokens are bound to the client's certificate")
    step = Step(
        who=Actor.SERVER,
        what="Turn on certificate-bound access tokens (RFC 8705 §3), and say so: "
        '"tls_client_certificate_bound_access_tokens": true. Whether yours are bound, token.binding tells.',
    )
    return BINDING.warning("the server does not say that it binds access tokens to certificates", step)


def _methods(document: Mapping[str, object]) -> Finding:
    methods = document.get("token_endpoint_auth_methods_supported")
    if not isinstance(methods, list):
        return METHODS.warning(
            "the server does not say how clients authenticate; by default that is client_secret_basic"
        )
    named = ", ".join(str(method) for method in methods)
    if any(method in CERTIFICATE_METHODS for method in methods):
        return METHODS.ok(named)
    step = Step(
        who=Actor.SERVER,
        what="Let clients authenticate by certificate (tls_client_auth, or self_signed_tls_client_auth). Where they do "
        "so in another way, a certificate beside it still binds the token.",
    )
    return METHODS.warning(f"no way to authenticate by certificate among {named or 'none'}", step)


def _keys(seen: Observations, document: Mapping[str, object]) -> Finding:
    uri, jwks = document.get("jwks_uri"), seen.jwks
    publish = Step(who=Actor.SERVER, what="Publish the public signing keys at jwks_uri, without authentication.")
    if not is_https_url(uri):
        return KEYS.warning("there is no jwks_uri, so tokens can only be introspected", publish)
    if jwks is None:
        return KEYS.skipped(f"{uri} is on another host: give --follow to talk to it")
    if jwks.failure is not None:
        return KEYS.failure(f"{jwks.url}: {jwks.failure}", publish)
    try:
        keys = parse_jwks(jwks.content).keys
    except JWKError as error:
        return KEYS.failure(f"{jwks.url}: {error}", publish)
    usable = {a for a in SUPPORTED_ALGORITHMS for key in keys if fits(a, key.public_key) and key.algorithm in {None, a}}
    if not usable:
        step = Step(
            who=Actor.SERVER,
            what="Sign with ES256, PS256 or EdDSA (RFC 8725 §3.2); in config.toml:",
            lines=('[tokens] algorithm = "ES256"',),
        )
        return KEYS.failure(
            f"none of {count(len(keys), 'key')} at {jwks.url} is one that resource servers here accept", step
        )
    return KEYS.ok(f"{count(len(keys), 'key')}, good for {', '.join(sorted(usable))}", str(jwks.url))
