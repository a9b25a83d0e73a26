"""Which files a configuration is made of, and whether they have changed and come to rest."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from mtls_as.config import Settings, load_settings
from mtls_as.pki.anchors import anchor_files

FileState = tuple[int, int, int]
"""Modification time in nanoseconds, size, inode: of the file behind a symbolic link."""
Look = Mapping[Path, FileState | None]
"""The state of each file, None where there is none."""


def watched_files(settings: Settings) -> set[Path]:
    """The file itself, all files that it names of certificates, keys, anchors and schemas, and what globs find new.

    Revocation lists and SPIFFE bundles are watched where they are kept.
    """
    anchors = (path for domain in settings.trust_domains for path in anchor_files(domain.anchors, base=settings.folder))
    hook = settings.claims_hook.endpoint
    return {
        settings.path,
        settings.tls.certificate,
        settings.tls.private_key,
        *anchors,
        *settings.authorization_details.values(),
        *(() if hook is None else hook.files),
    }


def look_at(files: Iterable[Path]) -> Look:
    """The state of files now."""
    return {file: _state(file) for file in files}


def read_settings(path: Path) -> tuple[Settings, Look]:
    """A configuration, and what it and its files looked like before anything else was read.

    Raises `ConfigurationError`.
    """
    path = path.absolute()
    state = _state(path)
    settings = load_settings(path)
    return settings, {**look_at(watched_files(settings)), path: state}


class FileWatch:
    """Tells when files have changed. Two equal looks in a row are asked for: one alone may see a file half written."""

    def __init__(self, taken: Look) -> None:
        self._taken = taken
        self._last = taken

    def has_settled(self, look: Look) -> bool:
        """Whether the files differ from those that were taken, and are as they were at the last look."""
        is_at_rest = look == self._last
        self._last = look
        return is_at_rest and look != self._taken

    def take(self, look: Look) -> None:
        """Note what is being read, good or not: it is not to be read again before it changes."""
        self._taken = self._last = look


def _state(file: Path) -> FileState | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
