"""RFC 8259, JSON as this project takes it from others: one meaning for every reader, or an error.

Repeated members, `NaN`, `Infinity`, numbers beyond a double's, lone surrogates and bytes that are not UTF-8 are
refused, since two readers of such a document may see two different documents.
"""

import json
import math
from collections.abc import Callable
from typing import Final


class JSONError(ValueError):
    """The bytes are not JSON of this stricter kind. The message quotes no input."""


def parse_json(data: bytes) -> object:
    """Parse one JSON text, UTF-8 without byte order mark. The caller has bounded its size. Raises `JSONError` alone."""
    try:
        text = data.decode("utf-8")
        try:
            value, end = _SCAN(text, 0)
        except StopIteration:
            end = -1
        if end != len(text):  # white space around it, or something that is no JSON
            value = _DECODER.decode(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # a lone surrogate has no UTF-8 form
    except JSONError:
        raise
    except UnicodeError:
        raise JSONError("the text is not UTF-8") from None
    except ValueError:
        raise JSONError("the text is not JSON") from None
    except RecursionError:
        raise JSONError("the text is nested too deeply") from None
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise JSONError("a member is repeated")
    return members


def _no_constant(_name: str) -> object:
    raise JSONError("NaN and Infinity are not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):  # and written again, it would be no number at all
        raise JSONError("a number is too large")
    return number


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant)
# What `decode` calls between looking for white space; the stubs do not name it.
_SCAN: Final[Callable[[str, int], tuple[object, int]]] = _DECODER.scan_once  # type: ignore[attr-defined] # as said
