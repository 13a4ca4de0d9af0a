"""A progress bar of a measurement: in a terminal or a notebook, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from frozen.console import Terminal

Stage = Callable[[str], None]
"""Called with what begins now."""


@contextmanager
def progress(n_stages: int, console: Console | None = None) -> Iterator[Stage]:
    """Show which stage of a measurement runs; the bar goes away at its end.

    Args:
        n_stages: how often it will be said what begins.
        console: where; standard output by default. Where it is no terminal, nothing is written; a notebook needs
            ipywidgets to show it.
    """
    console = console or Terminal()
    shown = find_spec("ipywidgets") is not None if console.is_jupyter else console.is_terminal
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(20), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("", total=n_stages)
        begun = 0

        def stage(name: str) -> None:
            nonlocal begun
            bar.update(task, completed=begun, description=name)
            begun += 1

        yield stage
