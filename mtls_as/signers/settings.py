"""What the configuration says of external signers, and the PIN that it keeps elsewhere."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mtls_as.server.private_files import is_private

PIN_VARIABLE: Final = "MTLS_AS_PKCS11_PIN"

_MAX_PIN_BYTES: Final = 256


class SignerConfigurationError(Exception):
    """An external signer that cannot be used as it is configured; the text names what is wrong, and no PIN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs11Settings:
    """A token behind a PKCS#11 module."""

    module: Path
    """The shared library of the HSM."""
    token: str
    """The token's label."""
    pin_file: Path | None
    """A file with the PIN, unless it is in the environment."""
    label: str
    """What the labels of keys made there begin with."""


def read_pin(settings: Pkcs11Settings, environment: Mapping[str, str] = os.environ) -> str:
    """The PIN: from the variable `MTLS_AS_PKCS11_PIN` if it is set, else from the file.

    Raises `SignerConfigurationError`, also for a file that others may read.
    """
    pin = environment.get(PIN_VARIABLE)
    origin = f"the environment variable {PIN_VARIABLE}"
    if pin is None:
        if settings.pin_file is None:
            raise SignerConfigurationError(f"keys.pkcs11: there is no PIN: set pin_file, or {PIN_VARIABLE}")
        pin, origin = _read_private_file(settings.pin_file), str(settings.pin_file)
    pin = pin.removesuffix("\n")
    if not pin or not pin.isprintable():
        raise SignerConfigurationError(f"{origin}: a PIN is one line of printable characters")
    return pin


def _read_private_file(path: Path) -> str:
    try:
        # Opening a named pipe would otherwise wait for its writer, perhaps for ever.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or not is_private(status):
                raise SignerConfigurationError(f"{path}: the PIN must be in a file that only its owner may read")
            return file.read(_MAX_PIN_BYTES).decode("utf-8")
    except OSError as error:
        raise SignerConfigurationError(f"{path}: the PIN cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SignerConfigurationError(f"{path}: a PIN is one line of printable characters") from None
