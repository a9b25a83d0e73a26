"""What the configuration says of external signers."""

from dataclasses import dataclass
from pathlib import Path


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
