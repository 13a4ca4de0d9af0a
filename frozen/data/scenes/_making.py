"""Data that is made on this machine before a study can use it: what a data set offers for that."""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

Device = Literal["cpu", "gpu"]


class MakeError(RuntimeError):
    """One piece of data that could not be made; others may."""


@runtime_checkable
class Worker(Protocol):
    """Makes pieces of data one after another, in a process that does nothing else."""

    def make(self, job: Any) -> None:
        """Make a piece; what is half done is never left under its final name.

        Raises:
            MakeError: it could not be made.
        """
        ...

    def close(self) -> None:
        """Let go of everything that the worker holds."""
        ...


@runtime_checkable
class Maker(Protocol):
    """Knows what data a data set lacks and who can make it; travels to other processes."""

    @property
    def unit(self) -> str:
        """What a job makes, in the plural."""
        ...

    @property
    def place(self) -> str:
        """Where the data goes."""
        ...

    @property
    def n_jobs(self) -> int:
        """Number of jobs that make everything."""
        ...

    def prepare(self) -> None:
        """Whatever is done once, before the workers begin.

        Raises:
            DataError: a tool is missing; the message says how to get it.
        """
        ...

    def jobs(self, *, thorough: bool) -> list[Any]:
        """Jobs whose data is missing or broken; they can be hashed and sent to other processes.

        Args:
            thorough: read everything that is there, instead of a look at each file.
        """
        ...

    def worker(self, device: Device, threads: int) -> Worker:
        """A worker on the first GPU that it sees, or on some threads of the CPU."""
        ...


@runtime_checkable
class MadeScene(Protocol):
    """A data set whose data is made by a command."""

    def maker(self) -> Maker:
        """Who makes the data."""
        ...
