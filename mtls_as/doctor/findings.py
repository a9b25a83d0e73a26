"""What a check says: how it went, what was seen, and for what is wrong the next step of somebody."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    """It works, and should be otherwise; or it could not be told."""
    FAILURE = "failure"
    SKIPPED = "skipped"
    """It was not looked at; what was seen says why."""


class Actor(StrEnum):
    """Who must act."""

    YOU = "you"
    SERVER = "the authorization server's operator"
    RESOURCE = "the resource server's operator"
    CA = "the CA"


class Place(StrEnum):
    """What a finding is about."""

    OWN = "client"
    """The certificate and key that were given."""
    ISSUER = "issuer"
    TOKEN_ENDPOINT = "token_endpoint"  # noqa: S105 # a place, not a secret
    """Where the token endpoint is another server than the issuer (RFC 8705 §5)."""
    TOKEN = "token"  # noqa: S105 # a place, not a secret
    RESOURCE = "resource"

    @property
    def operator(self) -> Actor:
        """Who runs what stands there."""
        return Actor.RESOURCE if self is Place.RESOURCE else Actor.SERVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The next step: who must act, what to do, and lines to copy, commands and settings alike."""

    who: Actor
    what: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check. `id` is stable, and with `place` unique in a report."""

    id: str
    place: Place
    status: Status
    seen: str
    details: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """The name and place of a check, from which its outcomes are made."""

    id: str
    place: Place

    def ok(self, seen: str, *details: str) -> Finding:
        """All is as it should be."""
        return Finding(id=self.id, place=self.place, status=Status.OK, seen=seen, details=details)

    def skipped(self, why: str) -> Finding:
        """It was not looked at."""
        return Finding(id=self.id, place=self.place, status=Status.SKIPPED, seen=why)

    def warning(self, seen: str, *steps: Step, details: tuple[str, ...] = ()) -> Finding:
        """It works, and should be otherwise."""
        return self._with(Status.WARNING, seen, steps, details)

    def failure(self, seen: str, *steps: Step, details: tuple[str, ...] = ()) -> Finding:
        """It does not work, or protects nothing. Raises `ValueError` without a next step."""
        if not steps:
            raise ValueError("a failure has a next step")
        return self._with(Status.FAILURE, seen, steps, details)

    def _with(self, status: Status, seen: str, steps: tuple[Step, ...], details: tuple[str, ...]) -> Finding:
        return Finding(id=self.id, place=self.place, status=status, seen=seen, details=details, steps=steps)
