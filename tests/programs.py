"""Programs that some tests need beside Python; without one a test is skipped with its reason, and fails in CI."""

import os
import shutil
from pathlib import Path

import pytest

HTTP1_VARIABLE = "MTLS_AS_TEST_HTTP1"
"""What the option `--http1` is passed on by to the servers of the tests, in this process and others."""


def require_program(name: str, *, folders: str | None = None) -> str:
    """The path of a program; in folders off the search path first (a glob from the root, the last one wins).

    Skips the test where it is missing; with `CI=true` that is a failure.
    """
    aside = sorted(Path("/").glob(f"{folders}/{name}")) if folders else []
    path = str(aside[-1]) if aside else shutil.which(name)
    if path is None:
        reason = f"needs the program {name}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path
