"""Clocks around the phases of a sweep: processor time of every process, put in place as its modules are imported."""

from __future__ import annotations

import functools
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wrapt

# The outermost function of each phase, where it is looked up; the phases that are the work itself come first.
PHASES = {
    "drawing": ("sweep.engine.extractor:make_batch",),
    "forward": ("sweep.engine.extractor:Extractor.extract",),
    "probes": ("binding._trainer:fit", "binding.fit:Fitted.evaluate", "binding._trainer:Standardizer.of"),
    "intervals": ("binding.measurement:measures", "binding.readout:breakdown"),
    "labels": ("binding.readout:BindingReadout.labels",),
    "Optuna": (
        "optuna:Study.ask",
        "optuna:Study.tell",
        "optuna:create_study",
        "binding.search:ProbeSpace.suggest",
        "binding.tuning:_suggestion",
    ),
    "store": (
        "sweep.store.disk:DiskStore.write_block",
        "sweep.store.disk:DiskStore.publish",
        "sweep.store.disk:DiskStore.open",
        "sweep.engine.trial:read_split",
    ),
    "results": (
        "sweep.results.directory:ResultsDirectory.write",
        "sweep.results.views:rebuild",
        "sweep.results.views:write_page",
    ),
}
FOLDER = "WHOLE_SWEEP_CLOCKS"
"""Environment variable: where the clocks write."""


class Clocks:
    """Processor time by phase in this process, written to a file of its own after every outermost call."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{os.getpid()}.json"
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._running = threading.local()

    def around(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            outer, self._running.inner = getattr(self._running, "inner", None), 0.0
            start = time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                took = time.thread_time() - start
                with self._lock:
                    self._seconds[phase] += took - self._running.inner
                    if outer is None:
                        self._path.write_text(json.dumps(self._seconds))
                self._running.inner = None if outer is None else outer + took

        return timed


def put_clocks() -> None:
    """Put clocks around the phases' functions in this process, in each module once it is imported."""
    clocks = Clocks(Path(os.environ[FOLDER]))
    for phase, places in PHASES.items():
        for place in places:
            module, _, path = place.partition(":")
            put = functools.partial(put_clock, clocks, phase, path.split("."))
            wrapt.register_post_import_hook(put, module)


def put_clock(clocks: Clocks, phase: str, names: list[str], owner: Any) -> None:
    """Put a clock around one function of a module or of a class in it."""
    for name in names[:-1]:
        owner = getattr(owner, name)
    found = vars(owner)[names[-1]]
    inner = found.__func__ if isinstance(found, classmethod) else found
    timed = clocks.around(phase, inner)
    setattr(owner, names[-1], classmethod(timed) if isinstance(found, classmethod) else timed)
