"""What rows say: figures of the contenders, and how they stand to the goals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A figure, and what it is to be at least or at most."""

    figure: float
    bound: float
    is_least: bool
    unit: str
    """Behind the figure, such as `times the peer`."""
    remark: str = ""
    """What the same is by another measure, which no goal is set for."""

    @property
    def is_reached(self) -> bool:
        return self.figure >= self.bound if self.is_least else self.figure <= self.bound

    def __str__(self) -> str:
        remark = f" ({self.remark})" if self.remark else ""
        return f"{self.figure:.3g} {self.unit}{remark}"

    @property
    def wanted(self) -> str:
        """The goal in words."""
        return f"{'≥' if self.is_least else '≤'} {self.bound:g} {self.unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the table. `figures` are the cells of the contenders; `measured` is all that was, for whoever asks."""

    key: str
    title: str
    figures: Mapping[str, str]
    goals: Sequence[Goal]
    measured: Mapping[str, object] = field(default_factory=dict)
    remark: str = ""
    """What else a reader must know of it."""
