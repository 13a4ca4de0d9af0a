"""An Optuna storage that optuna-dashboard opens: one study for each tuned target of each cell."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweep.live._base import Finished


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
            study.set_metric_names(["validation_loss"])
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


def tried(finished: Finished) -> dict[str, list[dict[str, Any]]]:
    """Every suggestion of a cell by target, in the order in which they were made."""
    found: dict[str, list[dict[str, Any]]] = {}
    for suggestion in [] if finished.suggestions is None else finished.suggestions.to_pylist():
        found.setdefault(suggestion["target"], []).append(suggestion)
    return found


def _trial(suggestion: Mapping[str, Any]) -> Any:
    from optuna.distributions import json_to_distribution
    from optuna.trial import TrialState, create_trial

    loss = suggestion["loss"]
    told = TrialState.PRUNED if suggestion["status"] == "pruned" else TrialState.COMPLETE
    ranges: dict[str, str] = json.loads(suggestion["ranges"])
    curve = enumerate(suggestion["curve"], start=1)
    return create_trial(
        state=TrialState.FAIL if loss is None else told,
        value=loss,
        params=json.loads(suggestion["values"]),
        distributions={name: json_to_distribution(text) for name, text in ranges.items()},
        intermediate_values={epoch: value for epoch, value in curve if value is not None and math.isfinite(value)},
        user_attrs={"best_epoch": suggestion["best_epoch"], "status": suggestion["status"]},
    )
