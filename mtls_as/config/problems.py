"""What is wrong with a configuration file, and where: every problem, one line each."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol, Union, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo

from mtls_as.rfc.member_reader import did_you_mean

_EXPECTED: Final = re.compile(r"Expected `(?P<expected>\w+)`(?P<limit>[^,]*)(?:, got `(?P<got>\w+)`)?")
_KINDS: Final = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "a table",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: `place` is the key's path (`clients[2].scope`), empty for the file as a whole."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class ConfigurationError(Exception):
    """A configuration file that cannot be used. The text has one line for each problem, and quotes no secret."""

    def __init__(self, text: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(text)
        self.problems = tuple(problems)

    @classmethod
    def of(cls, path: Path, problems: Sequence[Problem]) -> "ConfigurationError":
        """The error that lists these problems of a file."""
        return cls("\n".join(f"{path}: {problem}" for problem in problems), problems)


class Check(Protocol):
    """Judges one text beyond its type; stands in a struct field's `Annotated`."""

    def __call__(self, text: str, /) -> str | None:
        """What is wrong with the text, or None."""
        ...


def find_problems(annotation: Any, value: object, place: str = "") -> Iterator[Problem]:  # noqa: ANN401 - any annotation
    """Every problem that a value has as `annotation`: msgspec structs, dicts, lists, and leaves with `Check`s.

    msgspec alone would stop at the first one, and knows no near misses.
    """
    inner, metadata = _unwrap(annotation)
    within = list(_find_within(inner, value, place))
    yield from within
    if within:
        return
    try:
        msgspec.convert(value, annotation)
    except msgspec.ValidationError as error:
        yield Problem(place, _explain(inner, value, str(error)))
        return
    for check in metadata:
        if callable(check) and isinstance(value, str) and (message := check(value)):
            yield Problem(place, message)


def join(place: str, key: str) -> str:
    """The place of a key in the table at `place`."""
    written = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else msgspec.json.encode(key).decode()
    return f"{place}.{written}" if place else written


def _find_within(annotation: Any, value: object, place: str) -> Iterator[Problem]:  # noqa: ANN401 - any annotation
    """The problems of what a table or an array holds."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        if isinstance(value, Mapping):
            yield from _find_in_struct(msgspec.structs.fields(annotation), value, place)
    elif origin is dict and isinstance(value, Mapping):
        for key, item in value.items():
            yield from find_problems(arguments[0], key, join(place, key))
            yield from find_problems(arguments[1], item, join(place, key))
    elif origin is list and isinstance(value, list):
        for index, item in enumerate(value):
            yield from find_problems(arguments[0], item, f"{place}[{index}]")


def _find_in_struct(fields: Sequence[FieldInfo], table: Mapping[str, object], place: str) -> Iterator[Problem]:
    names = [field.encode_name for field in fields]
    for key in table:
        if key not in names:
            yield Problem(join(place, key), "unknown key" + did_you_mean(key, names))
    for field in fields:
        where = join(place, field.encode_name)
        if field.encode_name in table:
            yield from find_problems(field.type, table[field.encode_name], where)
        elif field.required:
            yield Problem(where, "is missing")


def _unwrap(annotation: Any) -> tuple[Any, tuple[Any, ...]]:  # noqa: ANN401 - any annotation
    """The type under `Annotated` and `| None` (TOML has no null), and the metadata on it."""
    if get_origin(annotation) is Annotated:
        return _unwrap(annotation.__origin__)[0], annotation.__metadata__
    if get_origin(annotation) in {Union, type(int | None)}:
        members = [member for member in get_args(annotation) if member is not type(None)]
        return _unwrap(members[0]) if len(members) == 1 else (annotation, ())
    return annotation, ()


def _explain(annotation: Any, value: object, message: str) -> str:  # noqa: ANN401 - any annotation
    """msgspec's message in the words of the file's reader."""
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        hint = did_you_mean(value, choices) if isinstance(value, str) else ""
        return "must be " + " or ".join(f'"{choice}"' for choice in choices) + hint
    match = _EXPECTED.match(message)
    if match is None:
        return message
    if match["limit"]:
        limit = match["limit"].strip().replace("of length >= 1", "with at least one entry")
        return f"must be {_KINDS.get(match['expected'], match['expected'])} {limit}"
    got = _KINDS.get(match["got"], f"a {match['got']}") if match["got"] else "something else"
    return f"must be {_KINDS.get(match['expected'], match['expected'])}, not {got}"
