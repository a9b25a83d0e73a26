"""Signing keys in a PKCS#11 token, with SoftHSM; and what happens when it is not there."""

import json
import os
import ssl
import time
from pathlib import Path

import httpx
import jwt
import pytest

from mtls_as.server.ports import SignerUnavailable
from mtls_as.signers.pkcs11_keys import algorithm_named, key_uri, label_in
from mtls_as.signers.settings import Pkcs11Settings, SignerConfigurationError, read_pin
from tests.cli.workplace import Workplace, running
from tests.signers.softhsm import PIN, SoftHSM


@pytest.fixture
def hsm(tmp_path: Path) -> SoftHSM:
    return SoftHSM.make(tmp_path / "hsm")


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "EdDSA"])
def test_keys_are_made_found_and_used_in_the_token(hsm: SoftHSM, algorithm: str) -> None:
    """Signatures have the form of RFC 7518 §3, and private keys stay where they are."""
    program = f"""
key = signers.generate({algorithm!r})
signer = signers.signer(key, {algorithm!r})
assert signer.blocks
signature = signer.sign(b"message")
assert is_signature(b"message", signature, algorithm={algorithm!r}, public_key=key.public_key())
assert not is_signature(b"other", signature, algorithm={algorithm!r}, public_key=key.public_key())
label = key.uri.split("object=")[1].split(";")[0]
found = signers.find(label, {algorithm!r})
assert (found.uri, found.public_key()) == (key.uri, key.public_key())
from pkcs11 import Attribute
with signers.sessions.reading() as session:
    private = session.private_key(label)
    print(private[Attribute.SENSITIVE], private[Attribute.EXTRACTABLE], key.uri)
signers.discard(key)
try:
    signers.find(label, {algorithm!r})
except SignerUnavailable as error:
    print(error)
"""
    first, second = hsm.run(program).splitlines()
    assert first.startswith("True False pkcs11:token=test;object=as-")
    assert "NoSuchKey" in second


def test_many_threads_sign_at_once(hsm: SoftHSM) -> None:
    """One after the other: modules are not told of our threads, and must not meet two of them."""
    program = """
from concurrent.futures import ThreadPoolExecutor
key = signers.generate("ES256")
signer = signers.signer(key, "ES256")
with ThreadPoolExecutor(8) as pool:
    for message, signature in zip(range(200), pool.map(lambda n: signer.sign(b"%d" % n), range(200))):
        assert is_signature(b"%d" % message, signature, algorithm="ES256", public_key=key.public_key())
print(True)
"""
    assert hsm.run(program) == "True\n"


def test_a_key_that_does_not_fit_is_refused(hsm: SoftHSM) -> None:
    """Of another kind, absent, in another token, or for an algorithm that tokens do not know."""
    program = """
key = signers.generate("EdDSA")
label = key.uri.split("object=")[1].split(";")[0]
def refused(action):
    try:
        action()
    except SignerUnavailable as error:
        print(error)
refused(lambda: signers.find(label, "ES256"))
refused(lambda: signers.find(label, "PS256"))
refused(lambda: signers.find("none", "EdDSA"))
refused(lambda: signers.generate("ML-DSA-65"))
from dataclasses import replace
refused(lambda: signers.signer(replace(key, uri=key.uri.replace("token=test", "token=other")), "EdDSA"))
"""
    lines = hsm.run(program).splitlines()
    assert ["not one for ES256" in lines[0], "not one for PS256" in lines[1], "NoSuchKey" in lines[2]] == [True] * 3
    assert "no key for ML-DSA-65 can be in a PKCS#11 token" in lines[3]
    assert "is not in the token test" in lines[4]


def test_a_token_that_goes_and_comes_back(hsm: SoftHSM) -> None:
    """No signature meanwhile, an error that says so, and signatures again, in the same process."""
    program = """
key = signers.generate("ES256")
signer = signers.signer(key, "ES256")
signer.sign(b"before")
away = tokens.rename(tokens.with_name("away"))
tokens.mkdir()
signers.sessions._forget()  # as after an error of the device
try:
    signer.sign(b"gone")
except SignerUnavailable as error:
    print("unavailable:", error)
tokens.rmdir()
away.rename(tokens)
print(is_signature(b"after", signer.sign(b"after"), algorithm="ES256", public_key=key.public_key()))
"""
    first, second = hsm.run(program).splitlines()
    assert first.startswith("unavailable: the token test of ")
    assert second == "True"


def test_a_wrong_pin_is_tried_once(hsm: SoftHSM) -> None:
    """Tokens count wrong tries, and then refuse everybody."""
    (hsm.folder / "pin").write_text("9999")
    program = """
for _ in range(3):
    try:
        signers.generate("ES256")
    except SignerUnavailable as error:
        print(error)
(Path(settings.pin_file)).write_text("1234")
"""
    lines = hsm.run(program).splitlines()
    assert len(set(lines)) == 1
    assert "refuses the PIN (PinIncorrect); not tried again" in lines[0]
    assert "9999" not in lines[0]
    assert hsm.run("print(signers.generate('ES256').uri)").startswith("pkcs11:")


def settings(folder: Path, pin_file: str | None = "pin") -> Pkcs11Settings:
    file = None if pin_file is None else folder / pin_file
    return Pkcs11Settings(module=folder / "m", token="test", pin_file=file, label="as")


def test_the_pin_comes_from_the_environment_or_a_private_file(tmp_path: Path) -> None:
    file = tmp_path / "pin"
    file.touch(mode=0o600)
    file.write_text(f"{PIN}\n")
    assert read_pin(settings(tmp_path), {}) == PIN
    assert read_pin(settings(tmp_path), {"MTLS_AS_PKCS11_PIN": "5"}) == "5"
    assert read_pin(settings(tmp_path, None), {"MTLS_AS_PKCS11_PIN": "5"}) == "5"


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff", b"12\n34\n", b"12\x00"])
def test_what_is_no_pin(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "pin"
    file.touch(mode=0o600)
    file.write_bytes(content)
    with pytest.raises(SignerConfigurationError, match="a PIN is one line"):
        read_pin(settings(tmp_path), {})


def test_a_pin_that_others_may_read(tmp_path: Path) -> None:
    (tmp_path / "pin").write_text(PIN)
    (tmp_path / "pin").chmod(0o640)
    with pytest.raises(SignerConfigurationError, match="only its owner"):
        read_pin(settings(tmp_path), {})
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SignerConfigurationError, match="only its owner"):
        read_pin(settings(tmp_path, "pipe"), {})
    with pytest.raises(SignerConfigurationError, match="there is no PIN"):
        read_pin(settings(tmp_path, None), {})


@pytest.mark.parametrize("label", ["as-1", "a;b=c", "ä / %", "object=x;token=y"])
def test_names_of_keys(label: str) -> None:
    """RFC 7512 §2.3: percent-encoded, and read back."""
    uri = key_uri("to;ken", label)
    assert uri.startswith("pkcs11:token=to%3Bken;object=")
    assert uri.isascii()
    assert label_in(uri, "to;ken") == label
    for foreign in (uri.replace("to%3Bken", "other"), uri.replace("pkcs11:", "other:"), "pkcs11:token=to%3Bken", ""):
        with pytest.raises(SignerUnavailable):
            label_in(foreign, "to;ken")
    with pytest.raises(SignerUnavailable, match="none"):
        algorithm_named("none")


def test_a_server_with_its_keys_in_the_token(hsm: SoftHSM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made by init and by rotation, used for tokens; without the token `temporarily_unavailable`, and /jwks answers."""
    monkeypatch.setenv("SOFTHSM2_CONF", hsm.environment["SOFTHSM2_CONF"])
    folder = tmp_path / "work"
    folder.mkdir()
    workplace = Workplace.make(folder)
    workplace.edit("[server]\n", f"{hsm.section}\n[server]\n")
    before = json.loads(workplace.succeed("keys", "list", "--json"))
    # In processes of their own: this one's SoftHSM would keep the first configuration that it reads.
    with running("keys", "rotate", "--now", cwd=folder) as command:
        assert command.wait() == 0, command.errors
    after = json.loads(workplace.succeed("keys", "list", "--json"))
    assert [row["held_by"].split("=")[0] for row in after] == ["storage", "pkcs11:token"]
    token = [
        "token", "--issuer", workplace.issuer, "--client-id", "reports", "--cert", "certs/reports.pem",
        "--key", "certs/reports-key.pem", "--ca", "certs/ca.pem",
    ]  # fmt: skip
    verify = ("verify", "--issuer", workplace.issuer, "--audience", f"https://localhost:{workplace.resource_port}")
    with running("serve", cwd=folder) as server:
        server.wait_until_listening(workplace.port)
        signed = workplace.succeed(*token)
        said = workplace.succeed(*verify, "--ca", "certs/ca.pem", "--certificate", "certs/reports.pem", input=signed)
        assert "is valid" in said
        assert jwt.get_unverified_header(signed.strip())["kid"] not in {row["kid"] for row in before}
        with running("keys", "rotate", "--leaked", cwd=folder) as command:  # the server has not seen this key yet
            assert command.wait() == 0, command.errors
        hsm.tokens.rename(hsm.tokens.with_name("away"))
        deadline = time.monotonic() + 10
        while (result := workplace.run(*token)).exit_code == 0:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert "temporarily_unavailable" in result.stderr
        answer = httpx.get(f"{workplace.issuer}/jwks", verify=_context(workplace), trust_env=False)
        assert len(answer.json()["keys"]) == 2
        # The log is written beside the requests, so the reason may take a moment.
        while not any(reason in server.output for reason in ("NoSuchToken", "PKCS11", "the token test")):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def _context(workplace: Workplace) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=workplace.path("certs/ca.pem"))
