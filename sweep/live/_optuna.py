"""An Optuna storage that optuna-dashboard opens: one study for each tuned target of each cell."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweep.live._logs import Finished


class OptunaLog:
    """Copies what a cell tried into a journal file; a cell measured again replaces its studies.

    Only names and numbers of studies are held in memory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._journal: Any = None
        self._storage: Any = None
        self._names: set[str] = set()

    def begin(self) -> None:
        """Make the journal, which optuna-dashboard does not open before it is there."""
        from sweep.live._journal import prepare

        prepare(self._path)

    def cell(self, finished: Finished) -> None:
        found = {f"{finished.name} · {target}": tried_of for target, tried_of in tried(finished).items() if tried_of}
        if not found:
            return
        self._open()
        for name, suggestions in found.items():
            self._study(name, suggestions)
        self._journal.write()

    def _study(self, name: str, suggestions: list[dict[str, Any]]) -> None:
        import optuna

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if name in self._names:
                optuna.delete_study(study_name=name, storage=self._storage)
            study = optuna.create_study(study_name=name, storage=self._storage, direction="minimize")
            self._names.add(name)
            study.set_metric_names(["validation_bits"])
            study.add_trials([_trial(suggestion) for suggestion in suggestions])

    def _open(self) -> None:
        import optuna
        from optuna.storages import JournalStorage

        from sweep.live._journal import Journal

        if self._storage is not None:
            return
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self._journal = Journal(self._path)
            self._storage = JournalStorage(self._journal)
        except (ValueError, KeyError, TypeError, AttributeError):  # what a line that is no record makes of Optuna
            self._path.replace(self._path.with_name(f"{self._path.name}.damaged"))
            self.begin()
            self._journal = Journal(self._path)
            self._storage = JournalStorage(self._journal)
        self._names = {study.study_name for study in self._storage.get_all_studies()}


def tried(finished: Finished) -> Mapping[str, list[dict[str, Any]]]:
    """Every suggestion of a cell by target: values, ranges, validation_bits, best_epoch, status, curve."""
    if finished.curves is None:
        return {}
    return json.loads((finished.curves.schema.metadata or {}).get(b"suggestions", b"{}"))


def _trial(suggestion: Mapping[str, Any]) -> Any:
    from optuna.distributions import json_to_distribution
    from optuna.trial import TrialState, create_trial

    bits = suggestion["validation_bits"]
    finite = bits is not None and math.isfinite(bits)
    told = TrialState.PRUNED if suggestion["status"] == "pruned" else TrialState.COMPLETE
    return create_trial(
        state=told if finite else TrialState.FAIL,
        value=bits if finite else None,
        params=suggestion["values"],
        distributions={name: json_to_distribution(text) for name, text in suggestion["ranges"].items()},
        intermediate_values={
            epoch: value for epoch, value in enumerate(suggestion["curve"], start=1) if math.isfinite(value)
        },
        user_attrs={"best_epoch": suggestion["best_epoch"], "status": suggestion["status"]},
    )
