"""Fetched revocation lists on disk, so that a restart does not begin without them. Whoever reads them verifies anew."""

import hashlib
import logging
import os
import tempfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

_NAME_LENGTH: Final = 32

_log = logging.getLogger(__name__)


class KeptLists:
    """A folder of documents, each named by the domain and URL that it is from, and by its own digest.

    Several processes may share it: files appear whole, and their names say what is in them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, domain: str, url: str) -> list[bytes]:
        """The documents of a URL, oldest first. What cannot be read is not there."""
        found: list[tuple[int, bytes]] = []
        for path in self._folder.glob(f"{_prefix(domain, url)}-*.crl"):
            with suppress(OSError):  # another process may have taken it away just now
                found.append((path.stat().st_mtime_ns, path.read_bytes()))
        return [document for _, document in sorted(found)]

    def keep(self, domain: str, url: str, document: bytes) -> None:
        """Write a document, as a whole or not at all. A disk that fails is reported, and the server goes on."""
        path = self._folder / f"{_prefix(domain, url)}-{document_name(document)}.crl"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._folder, suffix=".part")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(document)
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            _log.warning("the revocation list of %s cannot be kept in %s: %s", url, self._folder, error)

    def prune(self, domain: str, url: str, names: Collection[str]) -> None:
        """Remove the documents of a URL except those with these names (`document_name`)."""
        prefix = _prefix(domain, url)
        for path in self._folder.glob(f"{prefix}-*.crl"):
            if path.stem.removeprefix(f"{prefix}-") not in names:
                with suppress(OSError):
                    path.unlink(missing_ok=True)


def document_name(document: bytes) -> str:
    """The name of a document: its digest."""
    return hashlib.sha256(document).hexdigest()[:_NAME_LENGTH]


def _prefix(domain: str, url: str) -> str:
    return hashlib.sha256(f"{domain}\n{url}".encode()).hexdigest()[:_NAME_LENGTH]
