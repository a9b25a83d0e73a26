"""The program as it is installed: quick to help, and helpful without the server's dependencies."""

import subprocess
import sys
from pathlib import Path

from mtls_as import __version__


def python(code: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=30)


def test_the_version(tmp_path: Path) -> None:
    done = subprocess.run([Path(sys.executable).with_name("mtls-as"), "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"mtls-as {__version__}\n")


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = """
import sys
sys.argv = ["mtls-as", "--help"]
from mtls_as.cli import main
try:
    main()
except SystemExit:
    heavy = {"quart", "hypercorn", "sqlalchemy", "alembic", "OpenSSL", "cryptography", "httpx", "msgspec", "rich"}
    sys.exit(", ".join(sorted(heavy & sys.modules.keys())) or 0)
"""
    done = python(code, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_base_install_says_what_to_install(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["click"] = None
from mtls_as.cli import main
main()
"""
    done = python(code, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "mtls-as: the command line comes with the server: pip install 'mtls-as[server]'\n"
