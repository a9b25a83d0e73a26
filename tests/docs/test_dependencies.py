"""Every dependency has its reason, and no reason outlives its dependency."""

import re
import tomllib

from tests.cli.workplace import ROOT

REASONS = (ROOT / "docs" / "dependencies.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def reasons(heading: str) -> list[str]:
    section = REASONS.split(f"\n## {heading}\n", 1)[1].partition("\n## ")[0]
    return re.findall(r"^\| ([a-z0-9-]+) \| \S.*\|$", section, re.MULTILINE)


def names(requirements: list[str]) -> list[str]:
    return [re.split(r"[^a-z0-9-]", requirement, maxsplit=1)[0] for requirement in requirements]


def test_the_base_install() -> None:
    assert reasons("Base install: the verifier and the client") == names(PROJECT["project"]["dependencies"])


def test_the_server() -> None:
    assert reasons("`mtls-as[server]`") == names(PROJECT["project"]["optional-dependencies"]["server"])


def test_postgresql() -> None:
    assert reasons("`mtls-as[postgresql]`") == names(PROJECT["project"]["optional-dependencies"]["postgresql"])


def test_otel() -> None:
    assert reasons("`mtls-as[otel]`") == names(PROJECT["project"]["optional-dependencies"]["otel"])


def test_pkcs11() -> None:
    assert reasons("`mtls-as[pkcs11]`") == names(PROJECT["project"]["optional-dependencies"]["pkcs11"])


def test_the_clients_adapters() -> None:
    extras = ("requests", "aiohttp", "grpc", "spiffe")
    needed = [name for extra in extras for name in names(PROJECT["project"]["optional-dependencies"][extra])]
    assert reasons("`mtls-as[requests]`, `mtls-as[aiohttp]`, `mtls-as[grpc]`, `mtls-as[spiffe]`") == needed


def test_development() -> None:
    assert reasons("Development") == names(PROJECT["dependency-groups"]["dev"])
