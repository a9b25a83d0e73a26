"""A public-key infrastructure for trying things out: one authority, a server for localhost, and clients of each kind.

Its private keys lie beside their certificates, so it is worth nothing outside a developer's machine.
"""

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME: Final = timedelta(days=365)
_BACKDATE: Final = timedelta(hours=1)  # clocks of containers and hosts differ a little

STEMS: Final = ("ca", "server", "reports", "billing", "partner", "other-ca", "other")
"""Each makes two files: `<stem>.pem` and `<stem>-key.pem`."""


class DevelopmentPKIError(Exception):
    """The files cannot be made; the message says what to do."""


@dataclass(frozen=True, slots=True)
class _Identity:
    certificate: x509.Certificate
    private_key: ec.EllipticCurvePrivateKey


def make_development_pki(folder: Path, *, at: datetime) -> bool:
    """Make the files of a development PKI in `folder`; True if they were made, False if all are there and valid `at`.

    Overwrites nothing and renews nothing: raises `DevelopmentPKIError` if only some are there, or one has expired.
    """
    files = [folder / name for stem in STEMS for name in (f"{stem}.pem", f"{stem}-key.pem")]
    missing = [file for file in files if not file.exists()]
    if not missing:
        _check_validity(folder, at)
        return False
    if len(missing) < len(files):
        raise DevelopmentPKIError(
            f"{missing[0]} is missing among the development certificates, which are made together; to make them anew, "
            f"delete {folder}/*.pem"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stem, identity in _identities(at).items():
            _write(folder, stem, identity)
    except OSError as error:
        raise DevelopmentPKIError(f"{error.filename or folder}: {error.strerror}") from error
    return True


def _check_validity(folder: Path, at: datetime) -> None:
    for file in (folder / f"{stem}.pem" for stem in STEMS):
        try:
            end = x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
        except (OSError, ValueError) as error:
            raise DevelopmentPKIError(f"{file} is not a readable PEM certificate: delete {folder}/*.pem") from error
        if end <= at:
            raise DevelopmentPKIError(f"{file} has expired ({end:%Y-%m-%d}); to make new ones, delete {folder}/*.pem")


def _identities(at: datetime) -> dict[str, _Identity]:
    ca, other_ca = _authority("mtls-as development CA", at), _authority("another development CA", at)
    localhost = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
    ]
    reports = [x509.DNSName("reports.example")]
    identities = {
        "ca": ca,
        "server": _leaf(_name("localhost"), ca, at, san=localhost, usage=ExtendedKeyUsageOID.SERVER_AUTH),
        "reports": _leaf(_name("reports"), ca, at, san=reports),
        "billing": _leaf(_name("billing", organization="Example"), ca, at),
        "partner": _leaf(_name("partner"), None, at),
        "other-ca": other_ca,
        "other": _leaf(_name("reports"), other_ca, at, san=reports),  # the same names, from an authority nobody trusts
    }
    return {stem: identities[stem] for stem in STEMS}


def _authority(common_name: str, at: datetime) -> _Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(common_name)
    usage = _key_usage(key_cert_sign=True, crl_sign=True)
    builder = (
        _builder(name, name, key, at)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _Identity(builder.sign(key, hashes.SHA256()), key)


def _leaf(
    name: x509.Name,
    issuer: _Identity | None,
    at: datetime,
    *,
    san: Sequence[x509.GeneralName] = (),
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
) -> _Identity:
    """An end-entity certificate; self-signed without an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = issuer.private_key if issuer else key
    builder = (
        _builder(name, issuer.certificate.subject if issuer else name, key, at)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if san:
        builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
    return _Identity(builder.sign(signer, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, at: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _BACKDATE)
        .not_valid_after(at + LIFETIME)
    )


def _name(common_name: str, *, organization: str | None = None) -> x509.Name:
    """Most significant part first, as in the certificate; its RFC 4514 text has the common name first."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _write(folder: Path, stem: str, identity: _Identity) -> None:
    key = identity.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _create(folder / f"{stem}-key.pem", key, mode=0o600)
    _create(folder / f"{stem}.pem", identity.certificate.public_bytes(Encoding.PEM), mode=0o644)


def _create(file: Path, content: bytes, *, mode: int) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
