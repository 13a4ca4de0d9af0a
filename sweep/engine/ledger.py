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

    def begin(self, trial_id: str) -> None:
        """A trial's worker is there, and begins with its cell."""
        self._begun.add(trial_id)

    def has_begun(self, trial_id: str) -> bool:
        """Whether a trial's worker ever began."""
        return trial_id in self._begun

    def write(
        self,
        row: Mapping[str, object],
        samples: pa.Table | None,
        curves: pa.Table | None,
        files: Mapping[str, bytes],
    ) -> None:
        """Write one cell."""
        self._results.write(row, samples, curves, files)
