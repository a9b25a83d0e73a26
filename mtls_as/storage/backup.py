"""The file of a backup: new, and for its owner alone."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from mtls_as.storage.errors import StorageError


class BackupImpossible(StorageError):  # noqa: N818 - it says what is the case
    """There is no backup, and no file that could be taken for one."""


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[int]:
    """A descriptor of a new file of mode 0600, on the disk at the end, and gone again if that is an error.

    Raises `BackupImpossible`; an existing file is never touched.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise BackupImpossible(f"{path}: exists already, and is not overwritten") from None
    except OSError as error:
        raise BackupImpossible(f"{path}: the backup cannot be written: {error.strerror}") from None
    try:
        yield descriptor
        os.fsync(descriptor)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise BackupImpossible(f"{path}: the backup cannot be written: {error.strerror}") from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
