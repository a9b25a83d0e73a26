"""Which files are watched, and when a change counts."""

import os
from itertools import pairwise
from pathlib import Path

import pytest

from mtls_as.config import load_settings
from mtls_as.wiring.file_watch import FileWatch, look_at, read_settings, watched_files
from tests.authority import Authority
from tests.running import Deployment

ROOT = Authority.create("Root")


def test_every_file_of_the_configuration_is_watched(tmp_path: Path) -> None:
    """What globs find now, files that are missing, and nothing for a pin."""
    (tmp_path / "some").mkdir()
    for file in ("some/b.pem", "some/a.pem", "some/notes.txt"):
        (tmp_path / file).write_text(ROOT.pem)
    deployment = Deployment(tmp_path).trust("default", ROOT)
    deployment.sections.append(f"[trust.some]\nanchors = ['some/*.pem', 'missing.pem', 'sha256:{'0' * 64}']\n")
    settings, look = read_settings(deployment.write())
    names = {"config.toml", "server.pem", "server-key.pem", "anchor-default-0.pem", "missing.pem"}
    expected = {tmp_path / name for name in (*names, "some/a.pem", "some/b.pem")}
    assert watched_files(settings) == look.keys() == expected
    assert {file.name for file, state in look.items() if state is None} == {"missing.pem"}
    (tmp_path / "some" / "c.pem").write_text(ROOT.pem)
    assert watched_files(settings) == expected | {tmp_path / "some" / "c.pem"}


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is given on the command line."""
    Deployment(tmp_path).write()
    monkeypatch.chdir(tmp_path)
    settings, look = read_settings(Path("config.toml"))
    assert settings == load_settings(tmp_path / "config.toml")
    assert look[settings.path] is not None


def test_every_kind_of_change_is_seen(tmp_path: Path) -> None:
    """Another time, another size, another file of the same time and size, none, and another target of a link."""
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("a")
    link.symlink_to(file)
    looks = [look_at([link])]
    os.utime(file, ns=(1, 1))
    looks.append(look_at([link]))
    file.write_text("bb")
    os.utime(file, ns=(1, 1))
    looks.append(look_at([link]))
    other = tmp_path / "other"
    other.write_text("cc")
    os.utime(other, ns=(1, 1))
    link.unlink()
    link.symlink_to(other)
    looks.append(look_at([link]))
    other.unlink()
    looks.append(look_at([link]))
    assert all(before != after for before, after in pairwise(looks))


def test_a_change_counts_once_it_has_come_to_rest() -> None:
    """Two equal looks, that differ from what was taken; and each state is taken once."""
    file = Path("file")
    old, half, whole = {file: (1, 1, 1)}, {file: (2, 1, 1)}, {file: (3, 9, 1)}
    watch = FileWatch(old)
    assert [watch.has_settled(look) for look in (old, old, half, whole, whole)] == [False, False, False, False, True]
    watch.take(whole)
    assert [watch.has_settled(look) for look in (whole, whole, half, whole, whole)] == [False] * 5
    assert [watch.has_settled(look) for look in (old, old)] == [False, True]


def test_a_file_more_or_less_is_a_change() -> None:
    """A glob that finds another one."""
    watch = FileWatch({Path("a"): (1, 1, 1)})
    more = {Path("a"): (1, 1, 1), Path("b"): (1, 1, 1)}
    assert [watch.has_settled(look) for look in (more, more)] == [False, True]
    watch.take(more)
    fewer = {Path("a"): (1, 1, 1)}
    assert [watch.has_settled(look) for look in (fewer, fewer)] == [False, True]
