"""The one factory of certificates for tests: authorities of any shape, and leaves of any kind, good and bad."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtls_as.rfc.rfc9964_ml_dsa import generate_private_key
from mtls_as.rfc.x690_der import read_sequence

PrivateKey = CertificateIssuerPrivateKeyTypes
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def dns(value: str) -> x509.GeneralName:
    return x509.DNSName(value)


def uri(value: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(value)


def email(value: str) -> x509.GeneralName:
    return x509.RFC822Name(value)


def ip(value: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(value))


def name(common_name: str, **attributes: str) -> x509.Name:
    """A name in the order C, O, OU, CN; `attributes` are `country`, `organization`, `unit`."""
    oids = {
        "country": NameOID.COUNTRY_NAME,
        "organization": NameOID.ORGANIZATION_NAME,
        "unit": NameOID.ORGANIZATIONAL_UNIT_NAME,
    }
    parts = [x509.NameAttribute(oids[key], value) for key, value in attributes.items()]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@dataclass(frozen=True)
class Identity:
    """A certificate with its private key and the chain that goes with it (intermediates, leaf not repeated)."""

    certificate: x509.Certificate
    private_key: PrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...] = ()

    @cached_property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @cached_property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @cached_property
    def der_chain(self) -> tuple[bytes, ...]:
        """Leaf first."""
        return (self.der, *(c.public_bytes(serialization.Encoding.DER) for c in self.chain))

    @cached_property
    def chain_pem(self) -> str:
        """Leaf first."""
        return self.pem + "".join(c.public_bytes(serialization.Encoding.PEM).decode() for c in self.chain)

    @cached_property
    def key_pem(self) -> str:
        return self.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    def write(self, folder: Path, stem: str) -> tuple[Path, Path]:
        """Write `<stem>.pem` (chain, leaf first) and `<stem>-key.pem`; returns both paths."""
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = folder / f"{stem}.pem", folder / f"{stem}-key.pem"
        certificate.write_text(self.chain_pem)
        key.touch(mode=0o600)
        key.write_text(self.key_pem)
        return certificate, key


def new_key(kind: str = "P-256") -> PrivateKey:
    """`P-256`, `P-384`, `RSA-<bits>`, `Ed25519`, `Ed448` or `ML-DSA-<set>`."""
    match kind.split("-"):
        case ["P", "256"]:
            return ec.generate_private_key(ec.SECP256R1())
        case ["P", "384"]:
            return ec.generate_private_key(ec.SECP384R1())
        case ["RSA", bits]:
            return rsa.generate_private_key(65537, int(bits))
        case ["Ed25519"]:
            return ed25519.Ed25519PrivateKey.generate()
        case ["Ed448"]:
            return ed448.Ed448PrivateKey.generate()
        case ["ML", "DSA", _]:
            return generate_private_key(kind)
    raise ValueError(kind)


def signature_hash(key: PrivateKey) -> hashes.SHA256 | None:
    return hashes.SHA256() if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) else None


@dataclass(frozen=True)
class Authority(Identity):
    """A certification authority."""

    @classmethod
    def create(
        cls,
        subject: x509.Name | str = "Test CA",
        *,
        parent: "Authority | None" = None,
        private_key: PrivateKey | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        path_length: int | None = None,
        key_identifiers: bool = True,
        usage: x509.KeyUsage | None = None,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    ) -> Self:
        """A root, or with `parent` an intermediate. `extensions` are added as (extension, critical)."""
        now = datetime.now(UTC)
        key = private_key or new_key()
        subject = name(subject) if isinstance(subject, str) else subject
        issuer_key = parent.private_key if parent else key
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(parent.certificate.subject if parent else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before or now - HOUR)
            .not_valid_after(not_after or now + 365 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
            .add_extension(usage or key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        )
        if key_identifiers:
            identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
            builder = builder.add_extension(identifier, critical=False)
        if parent and key_identifiers:
            builder = builder.add_extension(authority_key_identifier(parent), critical=False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        certificate = builder.sign(issuer_key, signature_hash(issuer_key))
        chain = (
            (parent.certificate, *parent.chain)
            if parent and parent.chain
            else ((parent.certificate,) if parent else ())
        )
        return cls(certificate, key, chain)

    def issue(
        self,
        subject: x509.Name | str = "client",
        *,
        san: Sequence[x509.GeneralName] = (),
        private_key: PrivateKey | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        extended_key_usages: Sequence[x509.ObjectIdentifier] | None = (ExtendedKeyUsageOID.CLIENT_AUTH,),
        usage: x509.KeyUsage | None = None,
        serial_number: int | None = None,
        ca: bool = False,
        key_identifiers: bool = True,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    ) -> Identity:
        """A leaf: a day of validity, clientAuth, digitalSignature, unless told otherwise."""
        now = datetime.now(UTC)
        key = private_key or new_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject) if isinstance(subject, str) else subject)
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(serial_number or x509.random_serial_number())
            .not_valid_before(not_before or now - HOUR)
            .not_valid_after(not_after or now + DAY)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(usage or key_usage(digital_signature=True), critical=True)
        )
        if key_identifiers:
            builder = builder.add_extension(authority_key_identifier(self), critical=False)
        if extended_key_usages is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended_key_usages), critical=False)
        if san:
            builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        certificate = builder.sign(self.private_key, signature_hash(self.private_key))
        is_root = self.certificate.issuer == self.certificate.subject
        return Identity(certificate, key, () if is_root else (self.certificate, *self.chain))

    def issue_svid(self, *uris: str, **options: Any) -> Identity:
        """An X.509-SVID as SPIRE makes them; `options` as in `issue`."""
        usages = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
        defaults: dict[str, Any] = {"san": [uri(value) for value in uris], "extended_key_usages": usages}
        return self.issue(name("SPIRE", country="US", organization="SPIRE"), **(defaults | options))

    def issue_server(self, *names: str) -> Identity:
        """A server certificate for DNS names and IP addresses."""
        san = [ip(n) if n.replace(".", "").isdigit() or ":" in n else dns(n) for n in names]
        return self.issue(names[0], san=san, extended_key_usages=[ExtendedKeyUsageOID.SERVER_AUTH])


def self_signed(common_name: str = "self-signed", *, private_key: PrivateKey | None = None, days: int = 1) -> Identity:
    """An end-entity certificate signed by its own key (RFC 8705 §2.2)."""
    key = private_key or new_key()
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name(common_name))
        .issuer_name(name(common_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - HOUR)
        .not_valid_after(now + days * DAY)
        .sign(key, signature_hash(key))
    )
    return Identity(certificate, key)


def authority_key_identifier(authority: Identity) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.certificate.public_key())  # type: ignore[arg-type] # test keys are issuer keys


def key_usage(**bits: bool) -> x509.KeyUsage:
    """A KeyUsage with the named bits set and all others clear."""
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{bit: bits.get(bit, False) for bit in every})


def tlv(tag: int, *contents: bytes) -> bytes:
    """A DER element."""
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def rdn(oid: str, tag: int, content: bytes) -> bytes:
    """A RelativeDistinguishedName with one value of any string type and any content."""
    return tlv(0x31, attribute(oid, tag, content))


def attribute(oid: str, tag: int, content: bytes) -> bytes:
    """An AttributeTypeAndValue."""
    return tlv(0x30, encode_oid(oid), tlv(tag, content))


def encode_oid(dotted: str) -> bytes:
    first, second, *arcs = map(int, dotted.split("."))
    content = b""
    for arc in (40 * first + second, *arcs):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.insert(0, 0x80 | arc & 0x7F)
        content += bytes(groups)
    return tlv(0x06, content)


def forge(
    original: Identity,
    signer: Identity,
    *,
    subject: bytes | None = None,
    serial_number: bytes | None = None,
    public_key_info: bytes | None = None,
    extensions: Mapping[str, bytes] = MappingProxyType({}),
    sha1: bool = False,
) -> bytes:
    """The certificate with parts replaced by any DER, signed again by a P-256 signer: what no library would build.

    `serial_number` is the content of the INTEGER; `extensions` maps dotted OIDs to the values that replace or join;
    `sha1` signs with ecdsa-with-SHA1.
    """
    tbs = read_sequence(read_sequence(original.der, limit=3)[0].encoding, limit=16)
    parts = [element.encoding for element in tbs]
    if serial_number is not None:
        parts[1] = tlv(0x02, serial_number)
    if subject is not None:
        parts[5] = subject
    if public_key_info is not None:
        parts[6] = public_key_info
    kept = [
        extension.encoding
        for extension in read_sequence(tbs[7].content, limit=64)
        if not any(encode_oid(oid) in extension.encoding for oid in extensions)
    ]
    added = [tlv(0x30, encode_oid(oid), tlv(0x04, value)) for oid, value in extensions.items()]
    parts[7] = tlv(0xA3, tlv(0x30, *kept, *added))
    parts[2] = tlv(0x30, encode_oid("1.2.840.10045.4.1" if sha1 else "1.2.840.10045.4.3.2"))
    body = tlv(0x30, *parts)
    key = signer.private_key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signature = key.sign(body, ec.ECDSA(hashes.SHA1() if sha1 else hashes.SHA256()))
    return tlv(0x30, body, parts[2], tlv(0x03, b"\x00" + signature))
