"""Measures the stage `binding`: whether atoms stand for features or for conjunctions of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from frozen.data.scenes.codes import FeatureSpace
from frozen.readout.cells import Cell
from frozen.readout.needs import Inputs
from frozen.readout.outcome import Outcome
from readouts.concepts import codes as sparse
from readouts.concepts import naming
from readouts.concepts.bound import samples_of
from readouts.concepts.rows import outcome
from readouts.concepts.selectivity import LEAST, Bound, aucs, bound, choose
from readouts.concepts.stages import Stage

_CONJUNCTION, _FEATURE = 0.75, 0.9


def binding_of(cell: Cell, inputs: Inputs) -> Outcome:
    """Conjunction against feature selectivity: detectors are chosen on validation images, measured on test images."""
    stage: Stage = cell.settings
    space: FeatureSpace = cell.dataset.config.space
    objects = {name: inputs.array(f"{name}_labels", "object_codes") for name in ("validation", "test")}
    codes = {name: sparse.from_bytes(inputs.products[f"codes_{name}"], len(objects[name])) for name in objects}
    validation = np.nan_to_num(aucs(codes["validation"], objects["validation"] > 0), nan=0.5)
    samples = samples_of(codes["test"].tocsc()[:, validation.argmax(0)].toarray(), objects["test"], space)
    table = _selectivities(codes, objects, space, stage)
    kinds = np.array(table["kind"].to_pylist())
    for name in ("conjunction", "feature"):
        samples = samples.append_column(f"mass_{name}", pa.array(_mass(codes["test"], kinds == name)))
    samples = samples.append_column("mass", pa.array(_mass(codes["test"], np.ones(len(kinds), dtype=bool))))
    states = np.stack([samples.column(f"state_{kind}").to_numpy() for kind in range(space.n_objects)])
    few = min(int((states == state).sum(1).min()) for state in (1, 2)) < LEAST
    row = {
        "n_atoms": codes["test"].shape[1],
        "n_test": len(objects["test"]),
        "conjunction_atoms": int((kinds == "conjunction").sum()),
        "feature_atoms": int((kinds == "feature").sum()),
        "flags": ["nothing_to_bind"] if few else [],
    }
    content = naming.to_bytes(table)
    return outcome(cell, row, samples, files={"selectivity.parquet": content}, products={"selectivity": content})


def _mass(codes: sparse.Csr, chosen: np.ndarray) -> np.ndarray:
    """Strength of some atoms in every image."""
    return np.asarray(codes @ chosen.astype(np.float64), dtype=np.float64)


def _selectivities(
    codes: dict[str, sparse.Csr], objects: dict[str, np.ndarray], space: FeatureSpace, stage: Stage
) -> pa.Table:
    """A row an atom: what it detects, and its bound AUC with an interval."""
    n = len(objects["test"])
    weights = np.random.default_rng(stage.seed).multinomial(n, np.full(n, 1 / n), size=stage.intervals.resamples)
    chosen = choose(codes["validation"], objects["validation"], space)
    tested = chosen.at(codes["test"], objects["test"], space)
    features = [value for group in space.groups for value in group.values]
    tails = (1 - stage.intervals.level) / 2, (1 + stage.intervals.level) / 2
    by_atom = codes["test"].tocsc()
    fires = np.diff(by_atom.indptr)
    rows: list[dict[str, Any]] = []
    for atom, count in enumerate(fires.tolist()):
        if not count:
            rows.append({"atom": atom, "kind": "silent", "density": 0.0})
            continue
        kind, feature = int(chosen.kind[atom]), int(chosen.feature[atom])
        found = bound(by_atom[:, [atom]].toarray()[:, 0], kind, objects["test"], space, weights)
        low, high = (None, None) if found is None else np.nanquantile(found.resampled, tails).tolist()
        rows.append(
            {
                "atom": atom,
                "object": space.object_names[kind],
                "auc_object": float(tested.kind_auc[atom]),
                "feature": features[feature],
                "auc_feature": float(tested.feature_auc[atom]),
                "auc_bound": None if found is None else found.auc,
                "auc_bound_low": low,
                "auc_bound_high": high,
                "n_positive": 0 if found is None else found.n_positive,
                "n_negative": 0 if found is None else found.n_negative,
                "density": count / n,
                "kind": kind_of_atom(found, low, high, float(tested.feature_auc[atom])),
            }
        )
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


_SCHEMA = pa.schema(
    [
        pa.field("atom", pa.int32()),
        *(pa.field(name, pa.string()) for name in ("object", "feature", "kind")),
        *(
            pa.field(f"auc_{name}", pa.float64())
            for name in ("object", "feature", "bound", "bound_low", "bound_high")
        ),
        *(pa.field(name, pa.int64()) for name in ("n_positive", "n_negative")),
        pa.field("density", pa.float64()),
    ]
)


def kind_of_atom(found: Bound | None, low: float | None, high: float | None, auc_feature: float) -> str:
    """conjunction, feature or other, by the interval of the bound AUC."""
    if found is None or low is None or high is None:
        return "other"
    if low > _CONJUNCTION:
        return "conjunction"
    return "feature" if auc_feature > _FEATURE and low <= 0.5 <= high else "other"
