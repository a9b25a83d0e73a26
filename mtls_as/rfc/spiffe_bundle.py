"""SPIFFE bundles, the keys of a trust domain: JWK Sets whose keys say what kind of SVID they are for.

From the SPIFFE Trust Domain and Bundle standard (§4), X509-SVID (§6) and JWT-SVID (§6). A bundle does not name its
trust domain: whoever reads one must know whose it is, and never join two.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from mtls_as.rfc.rfc5280_certificate import Certificate, CertificateError, parse_certificate
from mtls_as.rfc.rfc7517_jwk import MAX_KEYS, JWKError, JWKSet, parse_jwks
from mtls_as.rfc.rfc8259_json import JSONError, parse_json
from mtls_as.rfc.spiffe_x509_svid import authority_problem

MAX_BUNDLE_BYTES: Final = 512 * 1024

_MAX_INTEGER: Final = 2**63 - 1
_X509_SVID: Final = "x509-svid"
_JWT_SVID: Final = "jwt-svid"


class BundleError(Exception):
    """The document is not a SPIFFE bundle. The message says what is wrong and quotes no key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpiffeBundle:
    """The keys of one trust domain. A bundle without any is valid, and says that nothing is to be trusted (§4.1.3)."""

    x509_authorities: tuple[Certificate, ...] = field(default=(), repr=False)
    """The CA certificates that X.509-SVIDs chain to, each once."""
    jwt_authorities: JWKSet = field(default_factory=lambda: JWKSet(()), repr=False)
    """The keys that sign JWT-SVIDs, each with a `kid`."""
    sequence: int | None = None
    """`spiffe_sequence`: grows with each change (§4.1.1)."""
    refresh_hint: int | None = None
    """`spiffe_refresh_hint`: seconds after which to look for a new one (§4.1.2)."""


def read_bundle(data: bytes) -> SpiffeBundle:
    """Read a bundle from JSON text, 512 KiB at most. Raises `BundleError` and nothing else."""
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleError(f"it has more than {MAX_BUNDLE_BYTES} bytes")
    try:
        return parse_bundle(parse_json(data))
    except JSONError as error:
        raise BundleError(f"it is not acceptable JSON: {error}") from None


def parse_bundle(document: object) -> SpiffeBundle:
    """Read a bundle from parsed JSON, 100 keys at most (§4). Raises `BundleError` and nothing else.

    Keys of an unknown type or use are left out, as §4.2 wants it, and so are X.509 ones without a certificate
    (X509-SVID §6.2). A private key, a certificate that cannot be an authority and a JWT key without a name make the
    whole bundle an error: whoever published it did not mean it, and the bundle before it is the better one.
    """
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise BundleError("a bundle is an object with an array `keys`")
    entries = document["keys"]
    if len(entries) > MAX_KEYS or not all(isinstance(entry, dict) for entry in entries):
        raise BundleError(f"`keys` has {MAX_KEYS} objects at most")
    try:
        return SpiffeBundle(
            x509_authorities=_x509_authorities([entry for entry in entries if entry.get("use") == _X509_SVID]),
            jwt_authorities=_jwt_authorities([entry for entry in entries if entry.get("use") == _JWT_SVID]),
            sequence=_integer(document, "spiffe_sequence"),
            refresh_hint=_integer(document, "spiffe_refresh_hint"),
        )
    except JWKError as error:
        raise BundleError(str(error)) from None


def _x509_authorities(entries: list[dict[str, object]]) -> tuple[Certificate, ...]:
    authorities: dict[bytes, Certificate] = {}
    for key in parse_jwks({"keys": [_first_certificate(entry) for entry in entries if entry.get("x5c")]}).keys:
        try:
            certificate = parse_certificate(key.x5c[0])
        except CertificateError as error:
            raise BundleError(f"a certificate cannot be read: {error}") from None
        problem = authority_problem(certificate)
        if problem:
            raise BundleError(f"the certificate with serial number {certificate.serial_number:x} {problem}")
        authorities[certificate.sha256] = certificate
    return tuple(authorities.values())


def _first_certificate(entry: dict[str, object]) -> dict[str, object]:
    """An entry with one certificate, since of several only the first counts, and no `kid`, which must not be there."""
    x5c = entry["x5c"]
    return {**entry, "x5c": x5c[:1] if isinstance(x5c, list) else x5c, "kid": None}


def _jwt_authorities(entries: list[dict[str, object]]) -> JWKSet:
    if not all(isinstance(entry.get("kid"), str) and entry["kid"] for entry in entries):
        raise BundleError("a key for JWT-SVIDs has no kid")
    # Its use is said by being here, and `use` would keep it from being one for signatures.
    return JWKSet(tuple(replace(key, use=None) for key in parse_jwks({"keys": entries}).keys))


def _integer(document: dict[str, object], name: str) -> int | None:
    value = document.get(name)
    if value is None and name not in document:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_INTEGER:
        raise BundleError(f"{name} is a whole number of 63 bits at most")
    return value
