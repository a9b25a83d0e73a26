"""A certificate and its key in files, which are read again when they change: certificates may be short-lived."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mtls_as.client.credentials import Credentials, read_credentials
from mtls_as.client.errors import ClientConfigurationError

_log = logging.getLogger("mtls_as.client")

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the files."""

_Seen = tuple[tuple[int, ...] | None, ...]


class CertificateFiles:
    """As `CertificateSource`: PEM files with the chain, leaf first, its unencrypted key, and the only CAs to trust.

    A renewed certificate is taken when it and its key are a pair, and the old pair stays until then, or when a file is
    gone or damaged; the log tells of it (`mtls_as.client`), and so does `problem`. Files may be replaced in any order,
    one by one, or by a link to their folder. Raises `ClientConfigurationError` here, where there is no old pair.
    """

    def __init__(
        self,
        certificate: str | Path,
        private_key: str | Path,
        *,
        ca: str | Path | None = None,
        look_every: float = LOOK_EVERY,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = (Path(certificate), Path(private_key), Path(ca) if ca is not None else None)
        self._look_every = look_every
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._looked_at = monotonic()
        self._seen = self._look()
        self._current = read_credentials(*self._files)
        self.problem: str | None = None
        """Why the files as they are now are not used, if they are not."""

    def current(self) -> Credentials:
        """As `CertificateSource`."""
        # Whoever comes while another one reads takes what there is.
        if self._monotonic() - self._looked_at >= self._look_every and self._lock.acquire(blocking=False):
            try:
                self._follow()
            finally:
                self._lock.release()
        return self._current

    def _follow(self) -> None:
        self._looked_at = self._monotonic()
        seen = self._look()  # before reading, so that what changes meanwhile is read again
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._current = read_credentials(*self._files)
        except ClientConfigurationError as error:
            self.problem = str(error)
            _log.warning("the certificate stays the old one: %s", error)
        else:
            self.problem = None
            _log.info("the certificate is now %s", self._current.x5t_s256)

    def _look(self) -> _Seen:
        return tuple(_identity(file) for file in self._files if file is not None)


def _identity(file: Path) -> tuple[int, ...] | None:
    """What differs when a file was replaced or written."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
