"""Tables for terminals; whatever is printed can steer none."""

import re
import sys

import pytest

from mtls_as.cli.output import printable, say_table


def test_what_could_steer_a_terminal_is_escaped() -> None:
    assert printable("a\x1b[31m\r\n\u202e\u0085b é 日") == "a\\x1b[31m\\r\\n\\u202e\\x85b é 日"


def test_a_terminal_gets_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    say_table(["name", "value"], [["[red]not markup[/red]", "1"]])
    drawn = re.sub(r"\x1b\[[0-9]*m", "", capsys.readouterr().out)
    assert [line.split() for line in drawn.splitlines()] == [["name", "value"], ["[red]not", "markup[/red]", "1"]]


def test_others_get_tab_separated_lines(capsys: pytest.CaptureFixture[str]) -> None:
    say_table(["name", "value"], [["a\tb", "1"]])
    assert capsys.readouterr().out == "name\tvalue\na\\tb\t1\n"
