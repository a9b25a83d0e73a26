"""What the fault suite shares."""

from collections.abc import Iterator

import pytest

from tests.faults.zygote import Zygote, running_zygote


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """What nodes are forked from."""
    with running_zygote() as zygote:
        yield zygote
