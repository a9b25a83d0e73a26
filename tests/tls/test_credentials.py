"""The server's certificate and key: each way of being wrong is named, with the file."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, x25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from mtls_as.tls import ServerCredentials, TLSConfigurationError
from tests.authority import Authority, Identity, new_key

CA = Authority.create("Server CA")
SERVER = CA.issue_server("localhost")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return SERVER.write(tmp_path, "server")


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048", "Ed25519"])
def test_keys_of_every_kind(tmp_path: Path, kind: str) -> None:
    """The usual kinds of keys, in PKCS #8."""
    identity = CA.issue("localhost", private_key=new_key(kind))
    credentials = ServerCredentials.load(*identity.write(tmp_path, "server"))
    assert credentials.server_cert == identity.pem


def test_the_whole_chain_is_read(tmp_path: Path) -> None:
    """Leaf first, comments between the blocks allowed."""
    leaf = Authority.create("Issuing CA", parent=CA).issue_server("localhost")
    certificate, key = leaf.write(tmp_path, "server")
    certificate.write_text(f"subject=CN=localhost\n{leaf.pem}\nissuer\n{leaf.chain_pem.removeprefix(leaf.pem)}\n")
    assert [c.subject for c in ServerCredentials.load(certificate, key).chain] == [
        c.subject for c in (leaf.certificate, *leaf.chain)
    ]


def test_the_key_is_not_printed(files: tuple[Path, Path]) -> None:
    """Neither object nor text of the key in a traceback or a log."""
    assert "key" not in repr(ServerCredentials.load(*files)).lower()


def refused(certificate: Path, key: Path, at: datetime | None = None) -> str:
    with pytest.raises(TLSConfigurationError) as caught:
        ServerCredentials.load(certificate, key, at=at)
    return str(caught.value)


def test_missing_files(files: tuple[Path, Path]) -> None:
    """Each is named."""
    certificate, key = files
    key.unlink()
    assert refused(*files) == f"{key}: no such file"
    certificate.unlink()
    assert refused(*files) == f"{certificate}: no such file"


def test_a_folder(files: tuple[Path, Path], tmp_path: Path) -> None:
    """Not a file."""
    assert refused(tmp_path, files[1]) == f"{tmp_path}: cannot be read: Is a directory"


def test_unreadable(unprivileged_folder: Path) -> None:
    """No permission."""
    certificate, key = CA.issue_server("localhost").write(unprivileged_folder, "server")
    key.chmod(0)
    assert refused(certificate, key) == f"{key}: cannot be read: Permission denied"


@pytest.mark.parametrize("content", ["", "junk", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_no_certificate_inside(files: tuple[Path, Path], content: str) -> None:
    """Empty, text, or only a key."""
    files[0].write_text(content)
    assert refused(*files) == f"{files[0]}: no certificate in PEM form inside"


def test_binary_junk(files: tuple[Path, Path]) -> None:
    """DER, or anything else that is no text."""
    files[0].write_bytes(SERVER.der)
    assert refused(*files) == f"{files[0]}: no certificate in PEM form inside"
    files[0].write_bytes(bytes(range(256)))
    assert refused(*files) == f"{files[0]}: no certificate in PEM form inside"


def test_a_broken_certificate(files: tuple[Path, Path]) -> None:
    """Which of several it is, is said."""
    certificate = files[0]
    certificate.write_text(SERVER.pem + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert refused(*files).startswith(f"{certificate}: certificate 2 cannot be parsed: ")
    certificate.write_text(SERVER.pem.replace("-----END CERTIFICATE-----", ""))
    assert refused(*files) == f"{certificate}: a certificate without its end line"
    certificate.write_text(SERVER.pem.replace("-----END CERTIFICATE-----\n", "") + SERVER.pem)
    assert refused(*files) == f"{certificate}: a certificate without its end line"
    lines = SERVER.pem.splitlines()
    certificate.write_text("\n".join([lines[0], "!!!!", *lines[2:]]))
    assert refused(*files).startswith(f"{certificate}: certificate 1 cannot be parsed: ")


def test_a_huge_file(files: tuple[Path, Path]) -> None:
    """Read no further than sense goes."""
    files[0].write_bytes(bytes(2_000_000))
    assert "larger than" in refused(*files)


def test_no_key_inside(files: tuple[Path, Path]) -> None:
    """A certificate where the key should be."""
    files[1].write_text(SERVER.pem)
    assert refused(*files) == f"{files[1]}: no private key in PEM form inside"


def test_an_encrypted_key(files: tuple[Path, Path]) -> None:
    """Nobody is there to type a passphrase."""
    pem = SERVER.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    files[1].write_bytes(pem)
    assert refused(*files) == f"{files[1]}: the private key is encrypted; store it without a passphrase"


def test_a_broken_key(files: tuple[Path, Path]) -> None:
    """Truncated, or not base64."""
    files[1].write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    assert refused(*files).startswith(f"{files[1]}: the private key cannot be parsed: ")


@pytest.mark.parametrize("kind", ["dsa", "x25519"])
def test_a_key_of_another_purpose(files: tuple[Path, Path], kind: str) -> None:
    """Keys that no TLS server signs with."""
    key = dsa.generate_private_key(1024) if kind == "dsa" else x25519.X25519PrivateKey.generate()
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert refused(*files) == f"{files[1]}: a private key of a kind that TLS servers do not use"


@pytest.mark.parametrize("other", [CA.issue_server("localhost"), CA.issue("x", private_key=new_key("Ed25519"))])
def test_the_key_of_another_certificate(files: tuple[Path, Path], other: Identity) -> None:
    """Both files are named."""
    files[1].write_text(other.key_pem)
    assert refused(*files) == f"{files[1]}: the key of another certificate than the first in {files[0]}"


def test_a_chain_in_the_wrong_order(files: tuple[Path, Path]) -> None:
    """The leaf must come first."""
    files[0].write_text(CA.pem + SERVER.pem)
    assert "another certificate than the first" in refused(*files)


def test_expired_and_not_yet_valid(files: tuple[Path, Path]) -> None:
    """Both say when."""
    now = datetime.now(UTC)
    assert f"{files[0]}: the certificate expired at " in refused(*files, at=now + timedelta(days=2))
    assert f"{files[0]}: the certificate is not valid before " in refused(*files, at=now - timedelta(days=2))
