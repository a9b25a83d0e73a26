"""What became of a reload in each of the processes that serve."""

from dataclasses import dataclass

from mtls_as.server.events import ReloadEvent, ReloadOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReload:
    """A reload in one process. One that failed changed nothing there."""

    process: int
    """Its number (PID)."""
    outcome: ReloadOutcome
    generation: int | None
    """That is in force there afterwards; None if it did not tell in time."""
    problems: tuple[str, ...] = ()

    @classmethod
    def of(cls, event: ReloadEvent, *, process: int) -> "ProcessReload":
        """What an event tells of the process that it is of."""
        return cls(process=process, outcome=event.outcome, generation=event.generation, problems=event.problems)
