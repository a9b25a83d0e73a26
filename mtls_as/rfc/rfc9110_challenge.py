"""RFC 9110 §11.6.1, `WWW-Authenticate`: the challenges of an answer, as the client reads them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MAX_CHALLENGES_LENGTH: Final = 8 * 1024

_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # §5.6.2: token
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'  # §5.6.4
_ELEMENT: Final = re.compile(rf'(?:[^",]|{_QUOTED})+')
_PARAMETER: Final = re.compile(rf"({_NAME})[ \t]*=[ \t]*(?:({_NAME})|({_QUOTED}))")
_START: Final = re.compile(rf"({_NAME})(?: +(.+))?")
_TOKEN68: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_PRINTABLE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_ESCAPED: Final = re.compile(r"\\(.)")


class ChallengeError(ValueError):
    """A value is no list of challenges. The message quotes nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One challenge. Names have no case, and are in lower case here; a `token68` is left out."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(values: Iterable[str]) -> tuple[Challenge, ...]:
    """Read all values of `WWW-Authenticate`. Raises `ChallengeError` alone, also for a repeated parameter."""
    return tuple(challenge for value in values for challenge in _parse(value))


def _parse(value: str) -> list[Challenge]:
    """A comma stands between challenges as well as between parameters; only what follows a scheme begins anew."""
    if len(value) > MAX_CHALLENGES_LENGTH or not _PRINTABLE.fullmatch(value):
        raise ChallengeError("the challenges are too long, or not text")
    if _ELEMENT.sub("", value).strip(","):
        raise ChallengeError("a quotation does not end")
    found: list[Challenge] = []
    for element in filter(None, (match[0].strip(" \t") for match in _ELEMENT.finditer(value))):
        parameter = _PARAMETER.fullmatch(element)
        if parameter is None:
            start = _START.fullmatch(element)
            if start is None:
                raise ChallengeError("the challenges are malformed")
            found.append(Challenge(scheme=start[1].lower(), parameters={}))
            if start[2] is None or (_TOKEN68.fullmatch(start[2]) and not _PARAMETER.fullmatch(start[2])):
                continue
            parameter = _PARAMETER.fullmatch(start[2])
        if parameter is None or not found:
            raise ChallengeError("the challenges are malformed")
        _add(found[-1].parameters, parameter)
    return found


def _add(parameters: dict[str, str], parameter: re.Match[str]) -> None:
    name = parameter[1].lower()
    if name in parameters:
        raise ChallengeError("a parameter of a challenge is repeated")
    parameters[name] = parameter[2] if parameter[3] is None else _ESCAPED.sub(r"\1", parameter[3][1:-1])
