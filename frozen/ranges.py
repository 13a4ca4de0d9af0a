"""Settings that are fixed, chosen among values, or searched in a range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from frozen.problems import Problem, refuse

Value = int | float | str | bool | None


@runtime_checkable
class Trial(Protocol):
    """Whatever draws values from ranges; an Optuna trial."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float: ...

    def suggest_categorical(self, name: str, choices: list[Value]) -> Value: ...


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers between two bounds, both included; whole numbers if both bounds are."""

    low: int | float
    """Smallest value."""
    high: int | float
    """Largest value."""
    log: bool = False
    """Whether to search the logarithm."""

    def __post_init__(self) -> None:
        refuse("range", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        if not self.low < self.high:
            yield Problem("high", f"must be above low, got {self.low} to {self.high}")
        if self.log and not self.low > 0:
            yield Problem("low", f"must be > 0 for a logarithmic range, got {self.low}")

    def suggest(self, trial: Trial, name: str) -> Value:
        """Draw a value."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high

    def ends(self) -> tuple[Value, ...]:
        """The values whose validity decides that of the range."""
        return (self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class Choices:
    """One of several values."""

    choices: tuple[Value, ...]
    """The values to choose from."""

    def __post_init__(self) -> None:
        refuse("choices", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        if not self.choices:
            yield Problem("choices", "needs at least one value, got none")

    def suggest(self, trial: Trial, name: str) -> Value:
        """Draw a value."""
        return trial.suggest_categorical(name, list(self.choices))

    def __contains__(self, value: object) -> bool:
        return value in self.choices

    def ends(self) -> tuple[Value, ...]:
        """The values whose validity decides that of the choice."""
        return self.choices


Setting = Value | Range | Choices
