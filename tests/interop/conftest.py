"""What the tests with programs and libraries of others share."""

from collections.abc import Iterator

import pytest

from tests.interop.javascript import Node, find_node
from tests.interop.site import Site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An authorization server and a resource server that run."""
    site = Site.make(tmp_path_factory.mktemp("site"))
    with site.serving():
        yield site


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Node with the packages that are pinned."""
    return find_node(tmp_path_factory.mktemp("node"))
