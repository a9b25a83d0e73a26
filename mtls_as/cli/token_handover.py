"""Running a command that gets a token: never as an argument, which everybody on the machine can read."""

import os
import sys
import tempfile
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NoReturn

VARIABLE: Final = "ACCESS_TOKEN"
FILE_VARIABLE: Final = "ACCESS_TOKEN_FILE"


class Handover(StrEnum):
    """How a command gets its token."""

    ENVIRONMENT = "env"
    """In `ACCESS_TOKEN`. Whatever the command starts inherits it."""
    STDIN = "stdin"
    """As a line on standard input, and nothing else there."""
    FILE = "file"
    """In a file without a name, which `ACCESS_TOKEN_FILE` tells of (`/dev/fd/…`); it ends with the command."""


def run_with_token(command: Sequence[str], token: str, handover: Handover) -> NoReturn:
    """Become the command, so that signals and its exit status are its own. Raises `OSError` where it cannot be run."""
    environment = dict(os.environ)
    for name in (VARIABLE, FILE_VARIABLE):
        environment.pop(name, None)  # one of somebody else would be taken for this one
    if handover is Handover.ENVIRONMENT:
        environment[VARIABLE] = token
    else:
        descriptor = _unnamed_file(token + "\n")
        if handover is Handover.STDIN:
            os.dup2(descriptor, 0)
            os.close(descriptor)
        else:
            os.set_inheritable(descriptor, True)  # noqa: FBT003 # as os has it
            environment[FILE_VARIABLE] = f"/dev/fd/{descriptor}"
    sys.stdout.flush()
    try:
        os.execvpe(command[0], list(command), environment)  # noqa: S606 # what the caller wants to run, without a shell
    except OSError as error:
        raise OSError(error.errno, error.strerror, command[0]) from None


def _unnamed_file(content: str) -> int:
    """A descriptor to read from; on Linux the file is never on a disk."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("token", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.write(descriptor, content.encode("ascii"))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
