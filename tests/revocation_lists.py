"""Revocation lists for tests: of any authority, good and bad, small and large."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.authority import DAY, HOUR, Identity, encode_oid, signature_hash, tlv

ENTRY_REASON = "2.5.29.21"


def issue_crl(
    authority: Identity,
    revoked: Iterable[Identity | int] = (),
    *,
    number: int | None = 1,
    delta_of: int | None = None,
    this_update: datetime | None = None,
    next_update: datetime | None = None,
    reason: x509.ReasonFlags | None = None,
    reasons: Mapping[int, x509.ReasonFlags] | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    entry_extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    signer: Identity | None = None,
    pem: bool = False,
) -> bytes:
    """A list of serial numbers, an hour old and valid for a day by default; `signer` signs in another's name."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(this_update or now - HOUR)
        .next_update(next_update or now + DAY)
    )
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    if delta_of is not None:
        builder = builder.add_extension(x509.DeltaCRLIndicator(delta_of), critical=True)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    for entry in revoked:
        serial = entry if isinstance(entry, int) else entry.certificate.serial_number
        revocation = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - HOUR)
        why = (reasons or {}).get(serial, reason)
        if why is not None:
            revocation = revocation.add_extension(x509.CRLReason(why), critical=False)
        for extension, critical in entry_extensions:
            revocation = revocation.add_extension(extension, critical)
        builder = builder.add_revoked_certificate(revocation.build())
    key = (signer or authority).private_key
    return builder.sign(key, signature_hash(key)).public_bytes(Encoding.PEM if pem else Encoding.DER)


def forge_crl(
    authority: Identity,
    serials: Iterable[int] = (),
    *,
    next_update: bool = True,
    sha1: bool = False,
    inner_algorithm: str | None = None,
    number: int = 1,
) -> bytes:
    """A list put together by hand: one that no library would build, or that is too large for it.

    The authority has a P-256 key; serial numbers have 20 octets with their highest bit clear.
    """
    now = datetime.now(UTC)
    algorithm = tlv(0x30, encode_oid("1.2.840.10045.4.1" if sha1 else "1.2.840.10045.4.3.2"))
    date = _utc_time(now - HOUR)
    reason = tlv(0x30, tlv(0x30, encode_oid(ENTRY_REASON), tlv(0x04, tlv(0x0A, b"\x01"))))
    entries = b"".join(tlv(0x30, tlv(0x02, serial.to_bytes(20)), date, reason) for serial in serials)
    crl_number = tlv(0x30, encode_oid("2.5.29.20"), tlv(0x04, tlv(0x02, number.to_bytes(1))))
    body = tlv(
        0x30,
        tlv(0x02, b"\x01"),
        tlv(0x30, encode_oid(inner_algorithm)) if inner_algorithm else algorithm,
        authority.certificate.subject.public_bytes(),
        date,
        _utc_time(now + DAY) if next_update else b"",
        tlv(0x30, entries) if entries else b"",
        tlv(0xA0, tlv(0x30, crl_number)),
    )
    key = authority.private_key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signature = key.sign(body, ec.ECDSA(hashes.SHA1() if sha1 else hashes.SHA256()))
    return tlv(0x30, body, algorithm, tlv(0x03, b"\x00" + signature))


def _utc_time(at: datetime) -> bytes:
    return tlv(0x17, at.strftime("%y%m%d%H%M%SZ").encode())
