"""How much each hyper-parameter mattered, over everything that the searches of all cells tried."""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import pyarrow.parquet as pq
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from frozen.readout.exhibit import Exhibit

MOST_CELLS = 400
"""Cells that are read, evenly chosen where there are more; each is a file."""
FEWEST_TRIALS = 16
_LOG_SPAN = 30.0


class TrialExcess(NamedTuple):
    """One suggestion: its hyper-parameters, and its validation loss beyond the best one of its cell, in bits."""

    values: Mapping[str, Any]
    excess_bits: float


def importances(results: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[Exhibit]:
    """One figure, if the searches tried enough to tell; few suggestions are nothing to be warned of."""
    done = [row for row in rows if row.get("status") == "done" and not row.get("is_control")]
    chosen = done[:: max(1, -(-len(done) // MOST_CELLS))]
    values = important(results, chosen)
    if values:
        of_cells = f"{len(chosen)} of {len(done)} cells" if len(chosen) < len(done) else f"{len(done)} cells"
        yield Exhibit(
            "Importance of hyper-parameters",
            f"Share of each hyper-parameter in what makes a suggestion good (PED-ANOVA), over the suggestions of "
            f"{of_cells}; a suggestion is judged by its validation loss beyond the best of its own cell. "
            f"Probes with fewer than {FEWEST_TRIALS} suggestions, or a single setting that varied, are left out.",
            "Bars of importance by probe family, target and hyper-parameter.",
            partial(draw_importances, values),
        )


def important(results: Path, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The importance of each hyper-parameter by probe family and target."""
    return [
        {"probe": probe, "target": target, "hyper-parameter": name, "importance": round(share, 4), "n": len(trials)}
        for (probe, target), trials in tried(results, rows).items()
        for name, share in sorted(importance(trials).items())
    ]


def draw_importances(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification of bars."""
    name = {"field": "hyper-parameter", "type": "nominal", "title": None}
    return {
        "data": {"values": values},
        "mark": {"type": "bar", "height": 11, "color": "#5C6770"},
        "height": {"step": 18},
        "width": 170,
        "encoding": {
            "y": name,
            "x": {
                "field": "importance",
                "type": "quantitative",
                "scale": {"domain": [0, 1]},
                "axis": {"tickCount": 4, "format": "%", "title": None},
            },
            "row": {
                "field": "probe",
                "type": "nominal",
                "title": None,
                "header": {"labelAngle": 0, "labelAlign": "left"},
            },
            "column": {"field": "target", "type": "nominal", "title": None},
            "tooltip": [
                *({"field": field, "type": "nominal"} for field in ("probe", "target")),
                name,
                {"field": "importance", "type": "quantitative", "format": ".0%"},
                {"field": "n", "type": "quantitative", "title": "suggestions"},
            ],
        },
        "resolve": {"scale": {"y": "independent"}},
    }


def tried(results: Path, rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[TrialExcess]]:
    """The finished suggestions of all cells by probe family and target."""
    found: dict[tuple[str, str], list[TrialExcess]] = defaultdict(list)
    for row in rows:
        losses: dict[str, list[tuple[Mapping[str, Any], float]]] = defaultdict(list)
        for one in _suggestions(results, row):
            values = json.loads(one["values"])
            if values and one["loss"] is not None:
                losses[one["target"]].append((values, one["loss"]))
        for target, trials in losses.items():
            best = min(loss for _, loss in trials)
            family = str(row["feature_probe"] if target == "features" else row["probe"])
            found[family, target] += [TrialExcess(values, loss - best) for values, loss in trials]
    return found


def importance(trials: Sequence[TrialExcess]) -> dict[str, float]:
    """Importance of the hyper-parameters that vary, adding up to 1; empty for a single one and for few trials."""
    if len(trials) < FEWEST_TRIALS:
        return {}
    names = [name for name in trials[0].values if len({str(trial.values.get(name)) for trial in trials}) > 1]
    if len(names) < 2:
        return {}
    ranges = {name: _range([trial.values[name] for trial in trials]) for name in names}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study()
        study.add_trials(
            [
                optuna.create_trial(
                    params={name: trial.values[name] for name in names},
                    distributions=ranges,
                    value=trial.excess_bits,
                )
                for trial in trials
            ]
        )
        return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


def _range(values: Sequence[Any]) -> optuna.distributions.BaseDistribution:
    """The range that some values span; many distinct numbers are a scale, few are choices."""
    distinct = sorted(set(values)) if all(isinstance(value, int | float) for value in values) else list(set(values))
    if len(distinct) <= 4 or any(isinstance(value, bool | str) for value in distinct):
        return optuna.distributions.CategoricalDistribution(distinct)
    low, high = distinct[0], distinct[-1]
    is_log = low > 0 and high / low > _LOG_SPAN
    if all(isinstance(value, int) for value in distinct):
        return optuna.distributions.IntDistribution(low, high, log=is_log)
    return optuna.distributions.FloatDistribution(low, high, log=is_log)


def _suggestions(results: Path, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was tried for a cell, with the schema `frozen.readout.outcome.SUGGESTIONS`."""
    path = results / "suggestions" / f"{row.get('cell_id')}.parquet"
    return pq.read_table(path, columns=["target", "values", "loss"]).to_pylist() if path.is_file() else []
