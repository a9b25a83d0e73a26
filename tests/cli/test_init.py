"""`init` makes what is missing, once, and overwrites nothing."""

import json
import stat

import pytest

from mtls_as.storage import ENVIRONMENT_VARIABLE
from tests.cli.workplace import Workplace


def test_a_second_run_changes_nothing(workplace: Workplace) -> None:
    before = {file.name: file.read_bytes() for file in workplace.folder.rglob("*") if file.is_file()}
    said = workplace.succeed("init", "--development")
    after = {file.name: file.read_bytes() for file in workplace.folder.rglob("*") if file.is_file()}
    assert {name for name in before if before[name] != after[name]} <= {"mtls-as.db", "mtls-as.db-shm"}
    assert said.count("is there") + said.count("are there") + said.count("up to date") == 4


def test_the_storage_key_is_private(shared: Workplace) -> None:
    assert stat.S_IMODE((shared.folder / "mtls-as.key").stat().st_mode) == 0o600


def test_the_first_signing_key_is_active_at_once(shared: Workplace) -> None:
    keys = json.loads(shared.succeed("keys", "list", "--json"))
    assert [(key["algorithm"], key["state"]) for key in keys] == [("ES256", "active")]


def test_another_algorithm_gets_a_key_of_its_own(workplace: Workplace) -> None:
    workplace.edit('algorithm = "ES256"', 'algorithm = "EdDSA"')
    assert "(EdDSA) is made" in workplace.succeed("init")
    keys = json.loads(workplace.succeed("keys", "list", "--json"))
    assert {(key["algorithm"], key["state"]) for key in keys} == {("ES256", "active"), ("EdDSA", "active")}


def test_a_key_in_the_environment_needs_no_file(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    file = workplace.folder / "mtls-as.key"
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, file.read_text().strip())
    file.unlink()
    assert ENVIRONMENT_VARIABLE in workplace.succeed("init")
    assert not file.exists()


def test_no_second_storage_key_is_made_for_a_database(workplace: Workplace) -> None:
    """The signing keys in it could never be read again."""
    file = workplace.folder / "mtls-as.key"
    file.unlink()
    assert "put it back" in workplace.fail("init")
    assert not file.exists()


def test_a_wrong_storage_key_is_named(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "A" * 43)
    assert f"{ENVIRONMENT_VARIABLE}: is not the key" in workplace.fail("init")
