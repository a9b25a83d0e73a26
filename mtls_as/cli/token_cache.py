"""Tokens in a folder that its owner alone may enter, for programs that are run anew each time."""

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from mtls_as.cli.files import FileError
from mtls_as.client import AccessToken
from mtls_as.rfc.rfc6750_bearer import is_bearer_token

_SUFFIX: Final = ".token"


class TokenCache:
    """A file for each token, named by a hash of what it is for: issuer, client, scope, resource and certificate.

    Raises `FileError` for a folder or file that somebody else owns, or could read, and for links.
    """

    def __init__(self, folder: Path, *what_for: str | None) -> None:
        self._folder = folder
        name = hashlib.sha256(json.dumps(what_for).encode()).hexdigest()
        self._file = folder / f"{name}{_SUFFIX}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check(folder, folder.lstat(), is_kind=stat.S_ISDIR(folder.lstat().st_mode))

    def read(self, *, now: float) -> AccessToken | None:
        """The token, until it should be replaced."""
        try:
            descriptor = os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with open(descriptor, "rb") as file:  # noqa: PTH123 # a descriptor has no path
            status = os.fstat(descriptor)
            _check(self._file, status, is_kind=stat.S_ISREG(status.st_mode))
            try:
                found = AccessToken(**json.loads(file.read()))
                is_good = now < found.refresh_at and is_bearer_token(found.value)
            except (ValueError, TypeError):
                return None  # of another version; it is written anew
        return found if is_good else None

    def write(self, token: AccessToken, *, now: float) -> None:
        """Keep a token, and drop those that have ended."""
        members = {name: getattr(token, name) for name in ("value", "scope", "expires_at", "refresh_at")}
        descriptor, temporary = tempfile.mkstemp(dir=self._folder)  # readable by its owner only
        try:
            with open(descriptor, "w") as file:  # noqa: PTH123 # a descriptor has no path
                json.dump(members, file)
            os.utime(temporary, (token.expires_at, token.expires_at))
            Path(temporary).replace(self._file)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        for file_ in self._folder.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(OSError):  # another process may have been quicker
                if file_.lstat().st_mtime < now:
                    file_.unlink()


def _check(path: Path, status: os.stat_result, *, is_kind: bool) -> None:
    if not is_kind or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise FileError(f"{path}: tokens are kept only where nobody else may read them (a folder with mode 700)")
