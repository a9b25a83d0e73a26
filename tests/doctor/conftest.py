"""One authorization server and one resource server for the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.doctor.scene import Scene, scene


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("doctor")) as made:
        yield made
