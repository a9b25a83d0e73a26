"""What one certificate says, as plain values to print, and as the metadata that registers it."""

import base64
import json
import math
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, assert_never

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mtls_as.rfc.rfc5280_certificate import Certificate, DNSName, EmailName, GeneralName, IPName, OtherName, URIName
from mtls_as.rfc.rfc7517_jwk import JWKError, PublicKey, public_jwk
from mtls_as.rfc.rfc8705_mtls import registration_lines, x5t_s256
from mtls_as.rfc.spiffe_x509_svid import X509SVIDError, read_x509_svid

_DAY_SECONDS: Final = 86_400
# RFC 5280 §4.2.1.12
_EXTENDED_KEY_USAGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "2.5.29.37.0": "anyExtendedKeyUsage",
        "1.3.6.1.5.5.7.3.1": "serverAuth",
        "1.3.6.1.5.5.7.3.2": "clientAuth",
        "1.3.6.1.5.5.7.3.3": "codeSigning",
        "1.3.6.1.5.5.7.3.4": "emailProtection",
        "1.3.6.1.5.5.7.3.8": "timeStamping",
        "1.3.6.1.5.5.7.3.9": "OCSPSigning",
    }
)


def certificate_facts(certificate: Certificate, *, at: datetime) -> dict[str, object]:
    """Everything worth knowing, JSON types only. The names are those of `cert explain --json`."""
    return {
        "subject": str(certificate.subject),
        "issuer": str(certificate.issuer),
        "serial_number": f"{certificate.serial_number:x}",
        "not_before": _format(certificate.not_before),
        "not_after": _format(certificate.not_after),
        "days_left": math.floor((certificate.not_after - at).total_seconds() / _DAY_SECONDS),
        "subject_alternative_names": [_san(name) for name in certificate.subject_alternative_names],
        "is_ca": certificate.is_ca,
        "key": certificate.key_description,
        "key_strength": certificate.key_strength,
        "key_usage": None if certificate.key_usages is None else sorted(certificate.key_usages),
        "extended_key_usage": _extended_key_usage(certificate),
        "signature_hash": certificate.signature_hash,
        "x5t#S256": x5t_s256(certificate.der),
        "sha256": certificate.sha256.hex(),
        "spiffe": _spiffe_facts(certificate),
        "registrations": [{kind.value: text} for kind, text in registration_lines(certificate)],
        "jwks": registered_keys(certificate) if is_self_issued(certificate) else None,
    }


def is_self_issued(certificate: Certificate) -> bool:
    """Whether issuer and subject are the same name, as in every self-signed certificate (RFC 5280 §3.2)."""
    return certificate.issuer == certificate.subject and not certificate.is_ca


def registered_keys(certificate: Certificate) -> dict[str, object] | None:
    """The `jwks` that registers this very certificate (RFC 8705 §2.2.2), or None for a key that has no JWK here."""
    try:
        key: PublicKey = load_der_public_key(certificate.public_key_info)  # type: ignore[assignment] # public_jwk judges it
        members = public_jwk(key, kid=x5t_s256(certificate.der), algorithm="")
    except (JWKError, ValueError, UnsupportedAlgorithm):
        return None
    # A certificate says for which handshakes its key is good, not for which JWS algorithm; unless the key itself does.
    named = {name: value for name, value in members.items() if name != "alg" or members["kty"] == "AKP"}
    return {"keys": [{**named, "x5c": [base64.b64encode(certificate.der).decode()]}]}


def toml_assignment(name: str, value: object) -> str:
    """`name = value` as a line of TOML."""
    return f"{name} = {_toml(value)}"


def _toml(value: object) -> str:
    match value:
        case dict():
            return "{ " + ", ".join(f"{_toml_key(name)} = {_toml(item)}" for name, item in value.items()) + " }"
        case list():
            return "[" + ", ".join(_toml(item) for item in value) + "]"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case _:
            return _toml_string(str(value))


def _toml_key(name: str) -> str:
    return name if name.replace("_", "").isalnum() and name.isascii() else _toml_string(name)


def _toml_string(text: str) -> str:
    """A basic string: JSON's escapes, and `\\U` for what JSON would leave as it is and nobody could see."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in quoted)


def _spiffe_facts(certificate: Certificate) -> dict[str, str] | None:
    """The SPIFFE ID, or what keeps it from being one; None for a certificate that does not name a workload at all."""
    names = certificate.subject_alternative_names
    if not any(isinstance(name, URIName) and name.value.lower().startswith("spiffe:") for name in names):
        return None
    try:
        return {"spiffe_id": str(read_x509_svid(certificate))}
    except X509SVIDError as error:
        return {"problem": str(error)}


def _san(name: GeneralName) -> dict[str, str]:
    match name:
        case DNSName():
            return {"type": "DNS", "value": name.value}
        case URIName():
            return {"type": "URI", "value": name.value}
        case EmailName():
            return {"type": "email", "value": name.value}
        case IPName():
            return {"type": "IP", "value": str(name)}
        case OtherName():
            return {"type": f"{name.kind}, never matched", "value": name.text}
        case _:
            assert_never(name)


def _extended_key_usage(certificate: Certificate) -> list[str] | None:
    if certificate.extended_key_usages is None:
        return None
    return sorted(_EXTENDED_KEY_USAGES.get(oid, oid) for oid in certificate.extended_key_usages)


def _format(time: datetime) -> str:
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")
