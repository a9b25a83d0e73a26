"""A workplace that is made once, and copies of it for the tests that change something."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.workplace import Workplace


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """For tests that only read."""
    return Workplace.make(tmp_path_factory.mktemp("workplace"))


@pytest.fixture
def workplace(shared: Workplace, tmp_path: Path) -> Workplace:
    """For tests that write."""
    folder = tmp_path / "copy"
    shutil.copytree(shared.folder, folder)
    return dataclasses.replace(shared, folder=folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """One with a running server, for the tests of a module."""
    workplace = Workplace.make(tmp_path_factory.mktemp("served"))
    with workplace.serving():
        yield workplace
