"""Which Python the server ran on, since one that was built without optimizations is slower by a tenth and more."""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from typing import Final

_OPTIMIZATIONS: Final = ("--enable-optimizations", "--with-lto", "--with-lto=full", "--with-lto=thin")


def describe() -> str:
    """Version, implementation, and how it was built as far as it tells.

    What a distribution builds is named by its package and nothing is said of its options: Debian ships an interpreter
    of one build with the record (`CONFIG_ARGS`) of another.
    """
    known = _package(os.path.realpath(sys.executable)) or build(sysconfig.get_config_var("CONFIG_ARGS"))
    return f"{platform.python_version()} ({', '.join(filter(None, (platform.python_implementation(), known)))})"


def build(configured: str | None) -> str | None:
    """What the arguments of CPython's `configure` tell of optimizations, which is nothing where none were kept."""
    if configured is None:
        return None
    given = [each for each in configured.replace("'", " ").split() if each in _OPTIMIZATIONS]
    return f"configured with {' '.join(given)}" if given else "configured without --enable-optimizations"


def _package(program: str) -> str | None:
    """The package of Debian or Ubuntu, with its version, that a program is of."""
    if shutil.which("dpkg-query") is None:
        return None
    name = _asked("--search", program).partition(":")[0]
    return _asked("--show", "--showformat=package ${Package} ${Version}", name) if name else None


def _asked(*arguments: str) -> str:
    result = subprocess.run(["dpkg-query", *arguments], check=False, capture_output=True, text=True)
    return result.stdout.strip()
