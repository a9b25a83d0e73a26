"""Files that are not what they should be are named, with what is wrong."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from mtls_as.client import ClientConfigurationError, MutualTLSAuth
from tests.authority import Authority, Identity

CA = Authority.create()
IDENTITY = CA.issue("client")


def make(folder: Path, **replaced: Any) -> MutualTLSAuth:
    certificate, key = IDENTITY.write(folder, "client")
    settings: dict[str, Any] = {
        "issuer": "https://as.example",
        "client_id": "c",
        "certificate": certificate,
        "private_key": key,
    }
    return MutualTLSAuth(**settings | replaced)


def encrypted(identity: Identity) -> bytes:
    encryption = serialization.BestAvailableEncryption(b"secret")
    return identity.private_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize("kind", ["certificate", "private_key", "ca"])
def test_missing_file(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ClientConfigurationError, match=r"absent\.pem.*No such file"):
        make(tmp_path, **{kind: tmp_path / "absent.pem"})


@pytest.mark.parametrize("kind", ["certificate", "private_key", "ca"])
@pytest.mark.parametrize(
    "content", [b"", b"junk", b"\xff\x00", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_file_with_something_else(tmp_path: Path, kind: str, content: bytes) -> None:
    path = tmp_path / "other.pem"
    path.write_bytes(content)
    with pytest.raises(ClientConfigurationError, match=r"other\.pem"):
        make(tmp_path, **{kind: path})


def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(ClientConfigurationError, match="directory"):
        make(tmp_path, certificate=tmp_path)


def test_encrypted_key(tmp_path: Path) -> None:
    """Said so, instead of asking for a password at the terminal."""
    path = tmp_path / "key.pem"
    path.write_bytes(encrypted(IDENTITY))
    with pytest.raises(ClientConfigurationError, match="encrypted"):
        make(tmp_path, private_key=path)


def test_key_of_another_certificate(tmp_path: Path) -> None:
    _, key = CA.issue("other").write(tmp_path, "other")
    with pytest.raises(ClientConfigurationError, match="does not go with"):
        make(tmp_path, private_key=key)


@pytest.mark.parametrize("issuer", ["", "http://as.example", "https://as.example?x", "as.example"])
def test_bad_issuer(tmp_path: Path, issuer: str) -> None:
    with pytest.raises(ClientConfigurationError, match="issuer"):
        make(tmp_path, issuer=issuer)


def test_errors_quote_nothing_of_a_key(tmp_path: Path) -> None:
    """Key and certificate exchanged: the message names the file, and holds none of it."""
    certificate, key = IDENTITY.write(tmp_path, "client")
    with pytest.raises(ClientConfigurationError) as caught:
        make(tmp_path, certificate=key, private_key=certificate)
    assert IDENTITY.key_pem.splitlines()[1] not in str(caught.value)
