"""Programs that some tests need beside Python; without one a test is skipped with its reason, and fails in CI."""

import os
import shutil

import pytest


def require_program(name: str) -> str:
    """The path of a program. Skips the test where it is missing; with `CI=true` that is a failure."""
    path = shutil.which(name)
    if path is None:
        reason = f"needs the program {name}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path
