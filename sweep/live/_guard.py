"""What only watches a run: it may fail or hang, and the run goes on without it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import Full, Queue
from typing import TypeVar

from binding.terminal import on_one_line
from sweep.live._logs import Finished, Log

T = TypeVar("T")
Say = Callable[[str], None]

_LONGEST_QUEUE = 1000


def guarded(say: Say, what: str, work: Callable[[], T]) -> T | None:
    """What `work` returns, or None if it fails, which is said; saying it may fail too."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001
        with suppress(Exception):
            say(f"{what} fails ({type(error).__name__}: {on_one_line(error)}); the study goes on without it")
        return None


class LogWriter:
    """Writes logs in a thread of its own, so that none of them holds up a cell; one that fails is dropped.

    Args:
        logs: by name.
        say: prints a line.
    """

    def __init__(self, logs: Mapping[str, Log], say: Say) -> None:
        self._logs, self._say = dict(logs), say
        self._queue: Queue[Finished | None] = Queue(_LONGEST_QUEUE)
        self._thread = threading.Thread(target=self._write, name="logs", daemon=True)
        self._thread.start()

    def add(self, finished: Finished) -> None:
        """A cell for every log; once they are too far behind, they are left."""
        if not self._logs:
            return
        try:
            self._queue.put_nowait(finished)
        except Full:
            self._tell_late("the study goes on without it")
            self._logs.clear()

    def end(self, timeout_s: float) -> None:
        """Wait until everything is written, but not for ever."""
        with suppress(Full):
            self._queue.put_nowait(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive() and self._logs:
            self._tell_late("it is left as it is")

    def _tell_late(self, consequence: str) -> None:
        with suppress(Exception):
            self._say(f"log {' or '.join(self._logs)} cannot be written as fast as cells end; {consequence}")

    def _write(self) -> None:
        for name, log in list(self._logs.items()):
            self._tell(name, log.begin)
        while (finished := self._queue.get()) is not None:
            for name, log in list(self._logs.items()):
                self._tell(name, lambda log=log, finished=finished: log.cell(finished))

    def _tell(self, name: str, work: Callable[[], None]) -> None:
        if guarded(self._say, f"log {name}", lambda: (work(),)) is None:
            self._logs.pop(name, None)
