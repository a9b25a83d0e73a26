"""OCSP answers for tests: by the real responder of OpenSSL, and forged ones."""

import subprocess
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.authority import DAY, HOUR, Authority, Identity, signature_hash
from tests.origin import Answer
from tests.programs import require_program


def appoint(authority: Authority, **options: object) -> Identity:
    """A certificate for a responder that speaks for the authority."""
    usages = {"extended_key_usages": [ExtendedKeyUsageOID.OCSP_SIGNING]} | options
    return authority.issue("OCSP responder", **usages)  # type: ignore[arg-type] # options of `issue`


@dataclass
class OpenSSLResponder:
    """`openssl ocsp` on the index of a CA, run once for each question."""

    authority: Authority
    signer: Identity
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp()))
    minutes: int | None = 60
    """How long its answers hold; None leaves nextUpdate out."""
    entries: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.program = require_program("openssl")
        self.authority.write(self.folder, "ca")
        self.signer.write(self.folder, "signer")

    def know(self, *identities: Identity) -> None:
        """Enter certificates that are good."""
        for identity in identities:
            serial = identity.certificate.serial_number
            self.entries[serial] = f"V\t301231235959Z\t\t{_hex(serial)}\tunknown\t/CN={serial}"

    def revoke(self, identity: Identity) -> None:
        serial = identity.certificate.serial_number
        self.entries[serial] = f"R\t301231235959Z\t250101000000Z,keyCompromise\t{_hex(serial)}\tunknown\t/CN={serial}"

    def answer(self, question: bytes) -> Answer:
        """The answer to a question, as `tests.origin` serves it."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            request, response, index = (Path(folder) / name for name in ("request", "response", "index.txt"))
            request.write_bytes(question)
            index.write_text("".join(f"{line}\n" for line in self.entries.values()))
            command = [self.program, "ocsp", "-index", index, "-CA", "ca.pem", "-rsigner", "signer.pem"]
            command += ["-rkey", "signer-key.pem", "-reqin", request, "-respout", response]
            command += ["-nmin", str(self.minutes)] if self.minutes is not None else []
            subprocess.run(command, cwd=self.folder, check=True, capture_output=True)
            return 200, response.read_bytes()


def forge_answer(
    question: bytes,
    subject: Identity,
    issuer: Identity,
    signer: Identity,
    *,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    this_update: datetime | None = None,
    next_update: datetime | None = None,
    nonce: bytes | None = None,
    by_name: bool = False,
    brings: tuple[Identity, ...] = (),
    hash_algorithm: hashes.HashAlgorithm | None = None,
) -> bytes:
    """An answer about `subject` and `issuer`, whatever the question was; its nonce is returned by default."""
    now = datetime.now(UTC)
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    asked = ocsp.load_der_ocsp_request(question)
    if nonce is None:
        nonce = asked.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    encoding = ocsp.OCSPResponderEncoding.NAME if by_name else ocsp.OCSPResponderEncoding.HASH
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=subject.certificate,
            issuer=issuer.certificate,
            algorithm=hash_algorithm or hashes.SHA1(),
            cert_status=status,
            this_update=this_update or now - HOUR,
            next_update=next_update or now + DAY,
            revocation_time=now - HOUR if revoked else None,
            revocation_reason=x509.ReasonFlags.superseded if revoked else None,
        )
        .responder_id(encoding, signer.certificate)
    )
    if nonce:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    if brings:
        builder = builder.certificates([identity.certificate for identity in brings])
    key = signer.private_key
    return builder.sign(key, signature_hash(key)).public_bytes(Encoding.DER)


def _hex(serial: int) -> str:
    text = f"{serial:X}"
    return text if len(text) % 2 == 0 else f"0{text}"
