"""Reads the members of a JSON object or TOML table strictly, and collects every problem instead of the first one."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

_MAX_TEXT: Final = 2048


class MemberReader:
    """Reads the members of one registration, and collects every problem with the member's name."""

    def __init__(self, members: Mapping[str, object], known: Sequence[str]) -> None:
        self._members = members
        self.problems: list[tuple[str, str]] = []
        for name in members:
            if name not in known:
                self.problem(str(name), "unknown member" + did_you_mean(str(name), known))

    def problem(self, member: str, message: str) -> None:
        self.problems.append((member, message))

    def has(self, member: str) -> bool:
        return member in self._members

    def value(self, member: str) -> object:
        return self._members[member]

    def text(self, member: str, *, required: bool = False) -> str | None:
        """A non-empty string of printable characters, or None if it is missing or wrong."""
        if not self._present(member, required=required):
            return None
        value = self._members[member]
        if not isinstance(value, str):
            self.problem(member, f"must be a string, not {kind_of(value)}")
        elif not value:
            self.problem(member, "must not be empty")
        elif len(value) > _MAX_TEXT:
            self.problem(member, f"has {_MAX_TEXT} characters at most")
        elif not value.isprintable():
            self.problem(member, "holds control or invisible characters")
        else:
            return value
        return None

    def flag(self, member: str, *, default: bool) -> bool:
        if not self.has(member):
            return default
        value = self._members[member]
        if isinstance(value, bool):
            return value
        self.problem(member, f"must be true or false, not {kind_of(value)}")
        return default

    def texts(self, member: str) -> tuple[str, ...] | None:
        """An array of strings, without repetitions, or None if it is missing or wrong."""
        if not self.has(member):
            return None
        value = self._members[member]
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            self.problem(member, "must be an array of strings")
            return None
        return tuple(dict.fromkeys(value))

    def whole_number(self, member: str, allowed: range) -> int | None:
        if not self.has(member):
            return None
        value = self._members[member]
        if isinstance(value, bool) or not isinstance(value, int):
            self.problem(member, f"must be a whole number, not {kind_of(value)}")
        elif value not in allowed:
            self.problem(member, f"must be between {allowed[0]} and {allowed[-1]}")
        else:
            return value
        return None

    def _present(self, member: str, *, required: bool) -> bool:
        if self.has(member):
            return True
        if required:
            self.problem(member, "is missing")
        return False


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean "…"?` with the nearest known name, or nothing if none is near."""
    nearest = difflib.get_close_matches(name[:200], list(known), n=1)
    return f'; did you mean "{nearest[0]}"?' if nearest else ""


def kind_of(value: object) -> str:
    """What a JSON or TOML value is, in words for people."""
    match value:
        case bool():
            return "a truth value"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list() | tuple():
            return "an array"
        case dict():
            return "a table"
        case None:
            return "null"
        case _:
            return "a date or time"
