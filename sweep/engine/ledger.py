"""The ledger: an actor that writes rows. Its process need not import torch, so nothing here does."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from sweep.results.directory import ResultsDirectory


class Ledger:
    """Actor on the driver's node that writes rows, so that results land in one place from any node."""

    def __init__(self, results: ResultsDirectory) -> None:
        self._results = results
        self._begun: set[str] = set()
        self._written: set[str] = set()

    def begin(self, trial_id: str) -> set[str]:
        """A trial's worker is there, and begins; returns the cells that this run has written, which it leaves out."""
        self._begun.add(trial_id)
        return self._written

    def has_begun(self, trial_id: str) -> bool:
        """Whether a trial's worker ever began."""
        return trial_id in self._begun

    def write(
        self,
        row: Mapping[str, object],
        samples: pa.Table | None = None,
        curves: pa.Table | None = None,
        suggestions: pa.Table | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        """Write one cell."""
        self._results.write(row, samples, curves, suggestions, files)
        self._written.add(str(row["cell_id"]))
