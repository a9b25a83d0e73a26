"""SPIFFE bundles in files: read when they change, and written whole or not at all."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from mtls_as.rfc.spiffe_bundle import MAX_BUNDLE_BYTES, BundleError, SpiffeBundle, read_bundle


@dataclass(frozen=True, slots=True)
class FileState:
    """What changes when a file is replaced or written: enough to know that it must be read again."""

    inode: int
    size: int
    modified_at: int
    """Nanoseconds since the epoch."""


def file_state(path: Path) -> FileState | None:
    """The state of a file now, or None where there is none to be read."""
    try:
        status = path.stat()
    except OSError:
        return None
    return FileState(status.st_ino, status.st_size, status.st_mtime_ns)


def read_bundle_file(path: Path) -> SpiffeBundle:
    """Read a bundle. Raises `BundleError`, whose message names the file."""
    try:
        with path.open("rb") as file:
            return read_bundle(file.read(MAX_BUNDLE_BYTES + 1))
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror or error}") from None
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None


def write_bundle_file(path: Path, document: object) -> None:
    """Replace a bundle's file by a parsed document. Raises `OSError`; a reader sees the old file or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps(document), encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
