"""Logs that other tools open: TensorBoard, Optuna, MLflow, Weights & Biases.

They are views: rows, curves and samples stay the truth, and no cell waits for a log or fails with it. The driver
alone writes them, from each cell's row, so that workers on many nodes cannot disturb each other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import pyarrow as pa

from sweep.results import Row

if TYPE_CHECKING:
    from sweep.live._callback import GuardedCallback


class Finished(NamedTuple):
    """A cell that has its row."""

    name: str
    """For people: data set, backbone, layer, mode, probe and the beginning of its id."""
    row: Row
    curves: pa.Table | None
    """Learning curves: target, seed, epoch, train_bits, validation_bits; None for a failed cell."""


@runtime_checkable
class Log(Protocol):
    """A view of a study that grows with every cell."""

    def begin(self) -> None:
        """The run begins, and holds its results: make what the log's tool opens, before any cell is done."""
        ...

    def cell(self, finished: Finished) -> None:
        """Add a cell, in place of what was there of it."""
        ...


def open_logs(names: Sequence[str], folder: Path, measures: Sequence[str]) -> dict[str, Log]:
    """The logs that the driver writes itself, below a folder; `measures` are columns of a row to show."""
    from sweep.live._optuna import OptunaLog
    from sweep.live._tensorboard import TensorBoardLog

    makers: dict[str, Callable[[], Log]] = {
        "tensorboard": lambda: TensorBoardLog(folder / "tensorboard", measures),
        "optuna": lambda: OptunaLog(folder / "optuna.journal"),
    }
    return {name: makers[name]() for name in names if name in makers}


def tune_callbacks(
    names: Sequence[str], folder: Path, study: str, say: Callable[[str], None]
) -> list[GuardedCallback]:
    """Tune's own callbacks for the logs that have one; they are given what a trial reports.

    One that fails is dropped, and `say` prints so.
    """
    from sweep.live._callback import GuardedCallback

    callbacks: list[GuardedCallback] = []
    if "mlflow" in names:
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        uri = f"sqlite:///{folder.absolute() / 'mlflow.db'}"
        mlflow = MLflowLoggerCallback(tracking_uri=uri, experiment_name=study)
        callbacks.append(GuardedCallback("mlflow", mlflow, say))
    if "wandb" in names:
        from ray.air.integrations.wandb import WandbLoggerCallback

        # the callback asks the environment for a mode here, and runs in an actor that has another environment
        mode = os.environ.setdefault("WANDB_MODE", "offline")
        wandb = WandbLoggerCallback(project=study, dir=str(folder.absolute()), mode=mode)
        callbacks.append(GuardedCallback("wandb", wandb, say))
    return callbacks
