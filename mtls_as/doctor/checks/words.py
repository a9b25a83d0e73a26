"""Texts that several checks share."""

import math
import shlex
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from mtls_as.pki.path import describe
from mtls_as.rfc.rfc5280_certificate import Certificate

DAY: Final = timedelta(days=1)
EXPIRES_SOON: Final = timedelta(days=14)


def ending(certificate: Certificate, at: datetime) -> str:
    """How long a certificate is good."""
    if at < certificate.not_before:
        return f"not valid before {certificate.not_before:%Y-%m-%d %H:%M} UTC"
    left = certificate.not_after - at
    if left < timedelta(0):
        return f"expired on {certificate.not_after:%Y-%m-%d %H:%M} UTC"
    if left < 2 * DAY:
        return f"{math.floor(left.total_seconds() / 3600)} hours left"
    return f"{math.floor(left / DAY)} days left"


def is_soon(certificate: Certificate, at: datetime) -> bool:
    """Whether it ends within two weeks, and lives longer than that: short-lived certificates are renewed in time."""
    return certificate.not_after - at < EXPIRES_SOON < certificate.not_after - certificate.not_before


def chain_lines(chain: Iterable[Certificate], at: datetime) -> tuple[str, ...]:
    """One line for each certificate."""
    return tuple(
        f"{number}. {describe(certificate)}, {certificate.key_description}, {ending(certificate, at)}, "
        f"issued by {certificate.issuer}"
        for number, certificate in enumerate(chain, 1)
    )


def command(*words: str) -> str:
    """A command line to copy."""
    return shlex.join(words)


def count(number: int, noun: str) -> str:
    """`1 key`, `2 keys`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def seconds(number: float) -> str:
    """A time for people."""
    for unit, size, least in (("days", 86_400, 2), ("hours", 3_600, 2), ("minutes", 60, 10)):
        if number >= least * size:
            return f"{math.floor(number / size)} {unit}"
    return f"{number:.0f} s" if number >= 1 else f"{number * 1000:.0f} ms"
