"""SoftHSM: a PKCS#11 token in files. Its library reads its configuration once, so each test has its own process."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.programs import require_program

PIN = "1234"
_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)


@dataclass(frozen=True)
class SoftHSM:
    """A folder with one token, `test`."""

    folder: Path
    module: str

    @classmethod
    def make(cls, folder: Path) -> "SoftHSM":
        """Skips the test where there is no SoftHSM."""
        utility = require_program("softhsm2-util")
        module = next((path for path in _MODULES if Path(path).exists()), None)
        if module is None:
            pytest.fail("softhsm2-util is here, and its library is not where it is known to be")
        hsm = cls(folder, module)
        hsm.tokens.mkdir(parents=True)
        (folder / "softhsm2.conf").write_text(f"directories.tokendir = {hsm.tokens}\nlog.level = ERROR\n")
        (folder / "pin").touch(mode=0o600)
        (folder / "pin").write_text(f"{PIN}\n")
        options = ["--init-token", "--free", "--label", "test", "--pin", PIN, "--so-pin", "5678"]
        subprocess.run([utility, *options], env=hsm.environment, check=True, capture_output=True)
        return hsm

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens"

    @property
    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    @property
    def section(self) -> str:
        """The table of a configuration."""
        pin = self.folder / "pin"
        return f'[keys.pkcs11]\nmodule = "{self.module}"\ntoken = "test"\npin_file = "{pin}"\n'

    def run(self, program: str) -> str:
        """Run a Python program that finds `settings`, and `signers` for them; returns what it printed."""
        head = f"""
import sys
from pathlib import Path
from mtls_as.server.ports import SignerUnavailable
from mtls_as.signers.pkcs11 import Pkcs11Signers
from mtls_as.signers.settings import Pkcs11Settings
from mtls_as.rfc.rfc7519_jwt import is_signature
settings = Pkcs11Settings(
    module=Path({self.module!r}), token="test", pin_file=Path({str(self.folder / "pin")!r}), label="as"
)
signers = Pkcs11Signers.of(settings)
tokens = Path({str(self.tokens)!r})
"""
        done = subprocess.run(
            [sys.executable, "-c", head + program],
            env=dict(self.environment),
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
