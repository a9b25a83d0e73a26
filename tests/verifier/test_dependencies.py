"""The verifier and the client need nothing of the server: not its packages, not its modules."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

MODULES = ["mtls_as.verifier", "mtls_as.verifier.asgi", "mtls_as.verifier.wsgi", "mtls_as.client"]
FRAMEWORKS = ["fastapi", "starlette", "litestar", "flask", "werkzeug", "django", "rest_framework", "grpc"]
CLIENT_LIBRARIES = ["requests", "aiohttp", "grpc", "spiffe"]
SERVER_ONLY = [
    "quart",
    "hypercorn",
    "sqlalchemy",
    "aiosqlite",
    "asyncpg",
    "OpenSSL",
    "click",
    "rich",
    "msgspec",
    "alembic",
]
OUR_SERVER = ["mtls_as." + room for room in ("server", "http", "tls", "storage", "pki", "cli", "config", "wiring")]

# httpx itself tries to import click and rich for a command line of its own, and does without where they are missing. So
# here they are missing, as in a base install.
BLOCK = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Missing())
"""


@pytest.mark.parametrize("module", MODULES)
def test_import_without_the_server(module: str) -> None:
    """With the server's packages missing it imports, and of this project it loads no room of the server's."""
    block = BLOCK.replace("{names}", repr(set(SERVER_ONLY)))
    forbidden = tuple(f"{name}." for name in OUR_SERVER + SERVER_ONLY)
    report = f"print(*[name for name in sys.modules if f'{{name}}.'.startswith({forbidden!r})])"
    program = f"{block}\nimport {module}\n{report}"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.strip(), result.stderr) == (0, "", "")


@pytest.mark.parametrize("module", MODULES)
def test_import_asks_for_nothing_of_the_server(module: str) -> None:
    """Beyond what httpx does by itself, none of the server's packages is loaded where all are installed."""
    program = (
        f"import sys, httpx\nbefore = set(sys.modules)\nimport {module}\n"
        f"print(*[name for name in set(sys.modules) - before if name.partition('.')[0] in {SERVER_ONLY}])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


ADAPTERS = {
    "mtls_as.verifier": set[str](),
    "mtls_as.verifier.asgi": set[str](),
    "mtls_as.verifier.wsgi": set[str](),
    "mtls_as.verifier.blocking": set[str](),
    "mtls_as.verifier.fastapi": {"fastapi", "starlette"},
    "mtls_as.verifier.litestar": {"litestar"},
    "mtls_as.verifier.flask": {"flask", "werkzeug"},
    "mtls_as.verifier.django": {"django"},
    "mtls_as.verifier.rest_framework": {"django", "rest_framework"},
    "mtls_as.verifier.grpc": {"grpc"},
    "mtls_as.client": set[str](),
    "mtls_as.client.requests": {"requests"},
    "mtls_as.client.aiohttp": {"aiohttp"},
    "mtls_as.client.grpc": {"grpc"},
    "mtls_as.client.grpc_aio": {"grpc"},
    "mtls_as.client.spiffe": {"grpc", "spiffe"},
}


@pytest.mark.parametrize("module", ADAPTERS)
def test_adapters_import_their_own_framework_alone(module: str) -> None:
    """No framework comes with another one's adapter, none with the verifier itself, and none of the server's rooms."""
    settings = "from django.conf import settings; settings.configure(); " if "rest" in module else ""
    others = tuple(f"{name}." for name in [*OUR_SERVER, *sorted({*FRAMEWORKS, *CLIENT_LIBRARIES} - ADAPTERS[module])])
    report = f"print(*[name for name in sys.modules if f'{{name}}.'.startswith({others!r})])"
    program = f"import sys; {settings}import {module}; {report}"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.strip(), result.stderr) == (0, "", "")


@pytest.mark.slow
def test_base_install(tmp_path: Path) -> None:
    """`pip install mtls-as` without extras, in an environment of its own, gives the verifier and the client."""
    project = Path(__file__).parents[2]
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", project],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    if install.returncode != 0:
        reason = f"pip could not make a base install: {install.stderr.strip()[-300:]}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    absent = f"from importlib.util import find_spec\nassert not any(map(find_spec, {SERVER_ONLY}))\n"
    imports = "".join(f"import {module}\n" for module in MODULES)
    subprocess.run([python, "-W", "error", "-c", absent + imports], check=True, cwd=tmp_path)
