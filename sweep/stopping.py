"""What ends a run early: an interrupt, SIGTERM as batch systems and spot machines send it, or its time being up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_REPEAT_S = 2.0
_stopping = threading.Event()


class Stop:
    """Remembers why a run was stopped.

    Attributes:
        time_is_up: whether the run has used its hours, rather than being interrupted.
    """

    def __init__(self) -> None:
        self.time_is_up = False
        self._stopped = False

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt, and again until it is noticed: inside a callback or destructor it is lost."""
        del frame
        self.time_is_up |= number == signal.SIGALRM and not self._stopped
        self._stopped = True
        _stopping.set()
        signal.setitimer(signal.ITIMER_REAL, _REPEAT_S)
        raise KeyboardInterrupt


@contextmanager
def stoppable(max_hours: float | None) -> Iterator[Stop]:
    """Turn SIGTERM, and the end of `max_hours`, into a KeyboardInterrupt while the block runs.

    The timer does not look at the clock, so setting the clock neither ends a run nor prolongs it.
    """
    stop = Stop()
    _stopping.clear()
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = [signal.signal(number, stop.interrupt) for number in signals]
    signal.setitimer(signal.ITIMER_REAL, 3600 * max_hours if max_hours else 0)
    try:
        yield stop
    finally:
        noticed()
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def is_stopping() -> bool:
    """Whether this process was told to end."""
    return _stopping.is_set()


def noticed() -> None:
    """The interrupt has arrived where it is dealt with; it is not raised again."""
    signal.setitimer(signal.ITIMER_REAL, 0)
