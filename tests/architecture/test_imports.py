"""The arrows of the architecture: who may import whom."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "mtls_as"

# Each room, and the rooms it may import beside itself.
ARROWS = {
    "rfc": set(),
    "remote": {"rfc"},
    "forwarded": {"rfc"},
    "pki": {"rfc"},
    "verifier": {"forwarded", "rfc", "remote"},
    "client": {"rfc", "remote"},
    "doctor": {"client", "pki", "remote", "rfc"},
    "server": {"pki", "remote", "rfc"},
    "observability": {"server", "rfc"},
    "http": {"forwarded", "server", "pki", "rfc", "__version__"},
    "storage": {"server", "pki", "rfc"},
    "signers": {"server", "rfc"},
    "tls": {"rfc"},
    "config": {"forwarded", "server", "pki", "rfc", "tls", "signers", "storage"},
    "wiring": {
        "config",
        "forwarded",
        "http",
        "observability",
        "pki",
        "remote",
        "rfc",
        "server",
        "storage",
        "tls",
        "signers",
    },
    "gateway": {"config", "forwarded", "observability", "rfc", "tls", "verifier"},
    "cli": {
        "wiring",
        "client",
        "config",
        "doctor",
        "gateway",
        "pki",
        "remote",
        "rfc",
        "server",
        "signers",
        "storage",
        "tls",
        "verifier",
        "__version__",
    },
}

# A danger has one chokepoint: the only modules that may import these.
CHOKEPOINTS = {
    "aiohttp": {"client/aiohttp.py"},
    "jwt": {"rfc/rfc7519_jwt.py"},
    "hypercorn": {"tls"},
    "jsonschema": {"server/authorization_details.py"},
    "quart": {"http"},
    "sqlalchemy": {"storage"},
    "asyncpg": {"storage"},
    "click": {"cli"},
    "pkcs11": {"signers"},
    "prometheus_client": {"observability"},
    "requests": {"client/requests.py"},
    "rich": {"cli"},
    "spiffe": {"client/spiffe.py"},
}


def imports_of(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "mtls_as":
                yield from (f"mtls_as.{alias.name}" for alias in node.names)


def room_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE).parts
    return parts[0].removesuffix(".py")


FILES = sorted(file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_arrows_point_one_way(file: Path) -> None:
    """A room imports itself and what stands below it."""
    room = room_of(file)
    used = {name.split(".")[1] for name in imports_of(file) if name.startswith("mtls_as.")}
    assert used - {room} <= ARROWS[room]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_dangerous_libraries_have_one_user(file: Path) -> None:
    """PyJWT, Hypercorn, Quart and the like are each imported in one room."""
    place = str(file.relative_to(PACKAGE))
    for name in imports_of(file):
        allowed = CHOKEPOINTS.get(name.split(".")[0])
        assert allowed is None or any(place == a or place.startswith(f"{a}/") for a in allowed), (
            f"{place} imports {name}"
        )


def test_the_standards_do_no_io() -> None:
    """`rfc/` has no I/O, no clock, no logging, no framework."""
    forbidden = {"asyncio", "time", "logging", "socket", "httpx", "os", "pathlib", "random", "secrets"}
    for file in (PACKAGE / "rfc").glob("*.py"):
        assert not {name.split(".")[0] for name in imports_of(file)} & forbidden, file


def test_only_the_authenticator_makes_authenticated_clients() -> None:
    """`AuthenticatedClient` proves that every check happened, so one place alone constructs it."""
    makers = {
        str(file.relative_to(PACKAGE))
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "AuthenticatedClient"
    }
    assert makers == {"server/client_authentication/authenticator.py"}
