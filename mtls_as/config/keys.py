"""`[keys]`: what its keys mean, with the algorithms that the rest of the file asks for."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mtls_as.config.document import Document
from mtls_as.config.problems import Problem
from mtls_as.rfc.rfc7519_jwt import EXPERIMENTAL_ALGORITHMS
from mtls_as.signers.settings import Pkcs11Settings

DAY_SECONDS: Final = 86_400

_UNITS: Final = {"d": DAY_SECONDS, "h": 3_600, "m": 60, "s": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySettings:
    """Which signing keys there are to be."""

    algorithms: tuple[str, ...]
    """Those that sign tokens, `tokens.algorithm` first, and those whose keys are only kept ready."""
    rotate_every: float
    """Seconds; 0 for keys that only a command changes."""
    pkcs11: Pkcs11Settings | None
    """Where new keys are made, if not here."""

    @property
    def experimental(self) -> tuple[str, ...]:
        """The algorithms among them that are experiments."""
        return tuple(name for name in self.algorithms if name in EXPERIMENTAL_ALGORITHMS)


def find_key_conflicts(table: Mapping[str, object]) -> Iterator[Problem]:
    """The problems of the table `keys` that its shape does not show. Works on the file's raw tables."""
    keys = table.get("keys")
    if not isinstance(keys, Mapping):
        return
    age = keys.get("rotate_every", 0)
    if isinstance(age, int | str) and not isinstance(age, bool) and parse_age(age) is None:
        message = 'must be 0, or a day or more: a number of seconds, or with a unit such as "90d" or "36h"'
        yield Problem("keys.rotate_every", message)
    if "pkcs11" in keys:
        for place, algorithm in _named_algorithms(table):
            if algorithm in EXPERIMENTAL_ALGORITHMS:
                yield Problem(place, f"{algorithm} keys cannot be made in a PKCS#11 token")


def parse_age(value: int | str) -> float | None:
    """`"90d"`, `"36h"`, or seconds, as seconds; None for what is no age of a day or more, and not 0."""
    match = re.fullmatch(r"([0-9]{1,10})([dhms]?)", str(value))
    if match is None:
        return None
    seconds = int(match[1]) * _UNITS.get(match[2], 1)
    return float(seconds) if seconds == 0 or seconds >= DAY_SECONDS else None


def key_settings(document: Document, folder: Path) -> KeySettings:
    """The settings of a file without conflicts; relative paths are relative to `folder`."""
    keys, pkcs11 = document.keys, document.keys.pkcs11
    used = [document.tokens.algorithm, *(r.algorithm for r in document.resources if r.algorithm is not None)]
    return KeySettings(
        algorithms=tuple(dict.fromkeys([*used, *keys.algorithms])),
        rotate_every=parse_age(keys.rotate_every) or 0.0,
        pkcs11=None
        if pkcs11 is None
        else Pkcs11Settings(
            module=folder / pkcs11.module,
            token=pkcs11.token,
            pin_file=None if pkcs11.pin_file is None else folder / pkcs11.pin_file,
            label=pkcs11.label,
        ),
    )


def _named_algorithms(table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    tokens, resources, keys = table.get("tokens"), table.get("resources"), table.get("keys")
    if isinstance(tokens, Mapping):
        yield "tokens.algorithm", tokens.get("algorithm")
    for index, resource in enumerate(resources if isinstance(resources, list) else ()):
        if isinstance(resource, Mapping):
            yield f"resources[{index}].algorithm", resource.get("algorithm")
    further = keys.get("algorithms") if isinstance(keys, Mapping) else None
    for index, algorithm in enumerate(further if isinstance(further, list) else ()):
        yield f"keys.algorithms[{index}]", algorithm
