"""The development PKI: complete, private, and never overwritten or renewed behind anybody's back."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mtls_as.cli.development_pki import LIFETIME, STEMS, DevelopmentPKIError, make_development_pki

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def load(folder: Path, stem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{stem}.pem").read_bytes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki") / "certs"
    assert make_development_pki(folder, at=NOW)
    return folder


@pytest.mark.parametrize("stem", STEMS)
def test_every_key_is_private_and_belongs_to_its_certificate(folder: Path, stem: str) -> None:
    key_file = folder / f"{stem}-key.pem"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    key = load_pem_private_key(key_file.read_bytes(), None)
    assert key.public_key() == load(folder, stem).public_key()


def test_the_clients_carry_the_subjects_that_the_shipped_configuration_registers(folder: Path) -> None:
    names = load(folder, "reports").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["reports.example"]
    assert load(folder, "billing").subject.rfc4514_string() == "CN=billing,O=Example"


def test_the_other_client_has_the_names_of_reports_and_an_issuer_of_its_own(folder: Path) -> None:
    assert load(folder, "other").subject == load(folder, "reports").subject
    load(folder, "other").verify_directly_issued_by(load(folder, "other-ca"))
    with pytest.raises(ValueError, match="Issuer"):
        load(folder, "other").verify_directly_issued_by(load(folder, "ca"))


def test_the_partner_signs_itself(folder: Path) -> None:
    load(folder, "partner").verify_directly_issued_by(load(folder, "partner"))


def test_a_second_run_changes_nothing(folder: Path) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert not make_development_pki(folder, at=NOW)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_expired_certificates_are_named_and_stay(folder: Path) -> None:
    with pytest.raises(DevelopmentPKIError, match=r"ca\.pem has expired .* delete "):
        make_development_pki(folder, at=NOW + LIFETIME + timedelta(days=1))


def test_a_folder_with_some_of_the_files_is_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "server.pem"
    own.write_text("somebody's own")
    with pytest.raises(DevelopmentPKIError, match=r"ca\.pem is missing"):
        make_development_pki(tmp_path, at=NOW)
    assert [own] == list(tmp_path.iterdir())
    assert own.read_text() == "somebody's own"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DevelopmentPKIError, match="file"):
        make_development_pki(tmp_path / "file" / "certs", at=NOW)
