"""RFC 7519, claims that several kinds of JWT have in common."""

import math
from collections.abc import Mapping
from typing import Final

from mtls_as.rfc.rfc7519_jwt import JWTError

_NUMBER: Final = (int, float)


class MalformedClaimError(JWTError):
    """A claim is not of the type that its standard gives it. The message names the claim and quotes no value."""


def numeric_date(claims: Mapping[str, object], name: str) -> float | None:
    """A NumericDate (§2) in epoch seconds, or None if the claim is not there. Raises `MalformedClaimError`."""
    if name not in claims:
        return None
    value = claims[name]
    # A bool is an int to Python, and 1e999 is infinity to its parser of JSON.
    if isinstance(value, bool) or not isinstance(value, _NUMBER) or not _is_finite(value):
        raise MalformedClaimError(f"{name} is not a time in seconds")
    return float(value)


def required_numeric_date(claims: Mapping[str, object], name: str) -> float:
    """A NumericDate that must be there. Raises `MalformedClaimError`."""
    time = numeric_date(claims, name)
    if time is None:
        raise MalformedClaimError(f"there is no {name}")
    return time


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False
