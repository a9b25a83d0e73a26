"""`[keys]`: ages, the algorithms that the file asks for, and what an HSM cannot hold."""

from pathlib import Path

import pytest

from mtls_as.config import ConfigurationError, KeySettings, load_settings
from mtls_as.config.keys import parse_age
from tests.config.test_load_settings import MINIMAL


def load(folder: Path, text: str) -> KeySettings:
    file = folder / "config.toml"
    file.write_text(text)
    return load_settings(file).keys


def problems(folder: Path, text: str) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, text)
    return {problem.place: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0.0), ("0", 0.0), ("0d", 0.0), ("90d", 7_776_000.0), ("36h", 129_600.0), ("1440m", 86_400.0),
        (86_400, 86_400.0),
        ("86400s", 86_400.0), ("86400", 86_400.0),
        (86_399, None), ("23h", None), (-1, None), ("", None), ("d", None), ("90 d", None), ("90w", None),
        ("1.5d", None),
        ("٣d", None), ("99999999999d", None),
    ],
)  # fmt: skip
def test_ages(value: int | str, seconds: float | None) -> None:
    """A day at least: keys that change faster than tokens and caches end would pile up in the key set."""
    assert parse_age(value) == seconds


def test_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, MINIMAL) == KeySettings(algorithms=("ES256",), rotate_every=0.0, pkcs11=None)


def test_every_algorithm_that_the_file_names_is_wanted(tmp_path: Path) -> None:
    """That of tokens first, those of resources, and those kept ready; each once."""
    text = MINIMAL.replace("[[resources]]", '[[resources]]\nalgorithm = "PS256"', 1)
    text += '\n[keys]\nrotate_every = "90d"\nalgorithms = ["ML-DSA-65", "ES256"]\n'
    keys = load(tmp_path, text)
    assert keys.algorithms == ("ES256", "PS256", "ML-DSA-65")
    assert keys.experimental == ("ML-DSA-65",)
    assert keys.rotate_every == 90 * 86_400


def test_a_token_behind_a_module(tmp_path: Path) -> None:
    text = '\n[keys.pkcs11]\nmodule = "/usr/lib/hsm.so"\ntoken = "prod"\npin_file = "pin"\n'
    pkcs11 = load(tmp_path, MINIMAL + text).pkcs11
    assert pkcs11 is not None
    assert (pkcs11.module, pkcs11.pin_file) == (Path("/usr/lib/hsm.so"), tmp_path / "pin")
    assert (pkcs11.token, pkcs11.label) == ("prod", "mtls-as")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[keys]\nrotate_every = "1h"', "keys.rotate_every"),
        ("[keys]\nrotate_every = 1.5", "keys.rotate_every"),
        ("[keys]\nrotate_every = true", "keys.rotate_every"),
        ('[keys]\nalgorithms = ["RS256"]', "keys.algorithms[0]"),
        ('[keys]\nalgorithms = ["ML-DSA-44"]\n[keys.pkcs11]\nmodule = "m"\ntoken = "t"', "keys.algorithms[0]"),
        ('[keys.pkcs11]\nmodule = "m"\ntoken = "t"\nlabel = "a;b"', "keys.pkcs11.label"),
        ('[keys.pkcs11]\nmodule = "m"', "keys.pkcs11.token"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, place: str) -> None:
    assert list(problems(tmp_path, f"{MINIMAL}\n{text}\n")) == [place]
