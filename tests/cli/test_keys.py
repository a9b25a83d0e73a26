"""`keys`: states that follow the clock, rotations, and keys that come from elsewhere."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from mtls_as.rfc.rfc7517_jwk import thumbprint
from mtls_as.server.key_upkeep import OVERLAP, PUBLISH_AHEAD
from tests.authority import new_key
from tests.cli.workplace import Workplace


def listed(workplace: Workplace) -> dict[str, dict[str, Any]]:
    """The keys by their state, of which each has one here."""
    rows = json.loads(workplace.succeed("keys", "list", "--json"))
    by_state = {row["state"]: row for row in rows}
    assert len(by_state) == len(rows)
    return by_state


def moment(row: dict[str, Any], name: str) -> datetime:
    return datetime.fromisoformat(row[name])


def write_key(workplace: Workplace, kind: str, *, password: bytes | None = None) -> Any:
    key = new_key(kind)
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    workplace.write("key.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return key


def configure(workplace: Workplace, lines: str) -> None:
    """Put lines under [keys]."""
    workplace.edit("rotate_every = 0\n", "")
    workplace.edit("\nalgorithms = []\n", f"\n{lines}\n")


def test_a_new_key_is_published_before_it_signs(workplace: Workplace) -> None:
    (old,) = listed(workplace).values()
    assert "signs from" in workplace.succeed("keys", "rotate")
    keys = listed(workplace)
    assert keys.keys() == {"active", "next"}
    assert keys["active"]["kid"] == old["kid"]
    assert moment(keys["next"], "activates_at") - moment(keys["next"], "created_at") == timedelta(seconds=PUBLISH_AHEAD)


def test_rotation_now_keeps_the_old_key_for_its_tokens(workplace: Workplace) -> None:
    """For the longest life of a token, and the caches."""
    (old,) = listed(workplace).values()
    workplace.succeed("keys", "rotate", "--now")
    keys = listed(workplace)
    assert keys.keys() == {"active", "retired"}
    assert keys["retired"]["kid"] == old["kid"]
    published = moment(keys["retired"], "expires_at") - moment(keys["active"], "activates_at")
    assert published == timedelta(seconds=OVERLAP)


def test_a_leaked_key_is_withdrawn(workplace: Workplace) -> None:
    (old,) = listed(workplace).values()
    workplace.succeed("keys", "rotate", "--leaked")
    (new,) = listed(workplace).values()
    assert (new["state"], new["kid"] == old["kid"]) == ("active", False)


def test_a_key_for_another_algorithm_needs_the_configuration_to_want_it(workplace: Workplace) -> None:
    """Running servers would end it at once."""
    assert "add PS256 to keys.algorithms first" in workplace.fail("keys", "rotate", "--algorithm", "PS256")
    configure(workplace, 'algorithms = ["EdDSA", "ML-DSA-44"]')
    assert workplace.succeed("init").count("is made") == 2
    rows = json.loads(workplace.succeed("keys", "list", "--json"))
    assert sorted((row["algorithm"], row["state"]) for row in rows) == [
        ("ES256", "active"), ("EdDSA", "active"), ("ML-DSA-44", "active"),
    ]  # fmt: skip


def test_the_listing_is_tab_separated(shared: Workplace) -> None:
    header, row = shared.succeed("keys", "list").splitlines()
    assert header.split("\t") == [
        "kid", "algorithm", "state", "held_by", "created_at", "activates_at", "rotates_at", "expires_at",
    ]  # fmt: skip
    assert row.split("\t")[1:4] == ["ES256", "active", "storage"]


def test_the_listing_says_when_servers_will_rotate(workplace: Workplace) -> None:
    configure(workplace, 'rotate_every = "90d"')
    (key,) = listed(workplace).values()
    age = moment(key, "rotates_at") - moment(key, "activates_at")
    assert age == timedelta(days=90) - timedelta(seconds=PUBLISH_AHEAD)
    workplace.succeed("keys", "rotate")
    keys = listed(workplace)
    assert keys["active"]["rotates_at"] is None
    assert keys["next"]["rotates_at"] is not None


def test_an_unknown_algorithm_is_wrong_usage(shared: Workplace) -> None:
    assert "RS256" in shared.fail("keys", "rotate", "--algorithm", "RS256", status=2)


@pytest.mark.parametrize("arguments", [("list",), ("rotate",), ("import", "key.pem", "--algorithm", "ES256")])
def test_a_missing_configuration_is_named(workplace: Workplace, arguments: tuple[str, ...]) -> None:
    workplace.config.unlink()
    assert workplace.fail("keys", *arguments) == "config.toml: there is no such file"


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [("P-256", "ES256"), ("RSA-2048", "PS256"), ("Ed25519", "EdDSA"), ("ML-DSA-65", "ML-DSA-65")],
)
def test_a_key_is_imported_as_the_next_one(workplace: Workplace, kind: str, algorithm: str) -> None:
    """It takes its turn like a new one, under its own thumbprint."""
    workplace.edit("\nalgorithms = []\n", '\nalgorithms = ["PS256", "EdDSA", "ML-DSA-65"]\n')
    workplace.succeed("init")
    key = write_key(workplace, kind)
    kid = thumbprint(key.public_key())
    assert kid in workplace.succeed("keys", "import", "key.pem", "--algorithm", algorithm)
    rows = [row for row in json.loads(workplace.succeed("keys", "list", "--json")) if row["algorithm"] == algorithm]
    assert [row["state"] for row in rows] == ["active", "next"]
    assert rows[1]["kid"] == kid
    assert workplace.fail("keys", "import", "key.pem", "--algorithm", algorithm) == "this signing key is stored already"


def test_an_encrypted_key_needs_its_password(workplace: Workplace) -> None:
    key = write_key(workplace, "P-256", password=b"secret")
    workplace.write("password", "secret\n")
    workplace.write("wrong", "guess")
    command = ("keys", "import", "key.pem", "--algorithm", "ES256", "--now")
    assert workplace.fail(*command) == "key.pem: the private key is encrypted: give --password-file"
    assert "holds no private key" in workplace.fail(*command, "--password-file", "wrong")
    workplace.succeed(*command, "--password-file", "password")
    assert listed(workplace)["active"]["kid"] == thumbprint(key.public_key())
    write_key(workplace, "P-256")
    assert "is not encrypted" in workplace.fail(*command, "--password-file", "password")


@pytest.mark.parametrize("kind", ["P-384", "RSA-1024", "RSA-2048", "Ed25519", "Ed448", "ML-DSA-44"])
def test_a_key_of_another_kind_is_refused(workplace: Workplace, kind: str) -> None:
    write_key(workplace, kind)
    message = workplace.fail("keys", "import", "key.pem", "--algorithm", "ES256")
    assert message == "key.pem: the key is of another kind than ES256 needs, or too weak"
    assert len(listed(workplace)) == 1


def test_a_weak_key_is_refused(workplace: Workplace) -> None:
    workplace.edit("\nalgorithms = []\n", '\nalgorithms = ["PS256"]\n')
    write_key(workplace, "RSA-1024")
    assert "too weak" in workplace.fail("keys", "import", "key.pem", "--algorithm", "PS256")


@pytest.mark.parametrize("content", [b"", b"no key", Path(__file__).read_bytes()])
def test_what_is_no_key_is_named(workplace: Workplace, content: bytes) -> None:
    workplace.write("key.pem", content)
    assert "key.pem: holds no private key" in workplace.fail("keys", "import", "key.pem", "--algorithm", "ES256")


def test_import_takes_a_file_or_a_label(workplace: Workplace) -> None:
    for arguments in ((), ("key.pem", "--label", "a")):
        assert "give FILE or --label" in workplace.fail("keys", "import", *arguments, "--algorithm", "ES256", status=2)
    assert "none.pem" in workplace.fail("keys", "import", "none.pem", "--algorithm", "ES256")
    assert "no [keys.pkcs11]" in workplace.fail("keys", "import", "--label", "a", "--algorithm", "ES256")


def test_check_config_reminds_of_an_experiment(workplace: Workplace) -> None:
    """Marked wherever it is switched on."""
    configure(workplace, 'algorithms = ["ML-DSA-65"]')
    result = workplace.run("check-config")
    assert result.exit_code == 0
    assert "warning: ML-DSA-65 is experimental" in result.stderr


def test_an_hsm_that_cannot_be_used_is_named(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Module, PIN, and its file."""
    monkeypatch.delenv("MTLS_AS_PKCS11_PIN", raising=False)
    workplace.edit("[server]\n", '[keys.pkcs11]\nmodule = "none.so"\ntoken = "t"\npin_file = "pin"\n\n[server]\n')
    assert "there is no such PKCS#11 module" in workplace.fail("check-config")
    workplace.write("none.so", b"")
    assert "pin: the PIN cannot be read" in workplace.fail("check-config")
    workplace.write("pin", "1234\n")
    (workplace.folder / "pin").chmod(0o644)
    assert "only its owner may read" in workplace.fail("check-config")
    (workplace.folder / "pin").chmod(0o600)
    assert "config.toml is good" in workplace.succeed("check-config")
    assert "the token t of" in workplace.fail("keys", "rotate")
