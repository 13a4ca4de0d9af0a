"""Measures the stages that use codes: selectivity of atoms, classifiers, interventions."""

from __future__ import annotations

import io
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load, save

from frozen.readout.cells import Cell
from frozen.readout.needs import Inputs
from frozen.readout.outcome import Outcome
from readouts.concepts import codes as sparse
from readouts.concepts import naming
from readouts.concepts.bound import samples_of
from readouts.concepts.cells import Stage
from readouts.concepts.classifier import (
    Codes,
    Solution,
    adam,
    coverage,
    found_right,
    path,
    with_budget,
)
from readouts.concepts.keys import ClassifierConfig, InterventionConfig
from readouts.concepts.rows import outcome
from readouts.concepts.selectivity import LEAST, Bound, aucs, bound, choose

_SPLITS = ("train", "validation", "test")
_CONJUNCTION, _FEATURE = 0.75, 0.9
_BUDGET = 5


def binding_of(cell: Cell, inputs: Inputs) -> Outcome:
    """Conjunction against feature selectivity: detectors are chosen on validation images, measured on test images."""
    stage: Stage = cell.settings
    space = cell.dataset.config.space
    objects = {name: inputs.array(f"{name}_labels", "object_codes") for name in ("validation", "test")}
    codes = {name: sparse.from_bytes(inputs.products[f"codes_{name}"], len(objects[name])) for name in objects}
    dense = {name: one.toarray() for name, one in codes.items()}
    validation = np.nan_to_num(aucs(dense["validation"], objects["validation"] > 0), nan=0.5)
    samples = samples_of(dense["test"][:, validation.argmax(0)], objects["test"], space)
    n = len(objects["test"])
    weights = np.random.default_rng(stage.seed).multinomial(n, np.full(n, 1 / n), size=stage.intervals.resamples)
    table = _selectivities(cell, dense, objects, weights)
    mass = dense["test"].sum(0)
    conjunctions = np.array([kind == "conjunction" for kind in table["kind"].to_pylist()])
    states = np.stack([samples.column(f"state_{kind}").to_numpy() for kind in range(space.n_objects)])
    few = min(int((states == state).sum(1).min()) for state in (1, 2)) < LEAST
    row = {
        "n_atoms": codes["test"].shape[1],
        "n_test": n,
        "conjunction_atoms": int(conjunctions.sum()),
        "feature_atoms": table["kind"].to_pylist().count("feature"),
        "conjunction_mass_percent": 100 * float(mass[conjunctions].sum() / max(mass.sum(), 1e-12)),
        "flags": ["nothing_to_bind"] if few else [],
    }
    file = io.BytesIO()
    pq.write_table(table, file)
    return outcome(cell, row, samples, files={"selectivity.parquet": file.getvalue()})


def _selectivities(
    cell: Cell, dense: dict[str, np.ndarray], objects: dict[str, np.ndarray], weights: np.ndarray
) -> pa.Table:
    """A row an atom: what it detects, and its bound AUC with an interval."""
    stage: Stage = cell.settings
    space = cell.dataset.config.space
    chosen = choose(dense["validation"], objects["validation"], space)
    tested = chosen.at(dense["test"], objects["test"], space)
    features = [value for group in space.groups for value in group.values]
    tails = (1 - stage.intervals.level) / 2, (1 + stage.intervals.level) / 2
    rows: list[dict[str, Any]] = []
    for atom in np.flatnonzero(dense["test"].any(0)).tolist():
        kind, feature = int(chosen.kind[atom]), int(chosen.feature[atom])
        found = bound(dense["test"][:, atom], kind, objects["test"], space, weights)
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
                "density": float((dense["test"][:, atom] > 0).mean()),
                "kind": kind_of_atom(found, low, high, float(tested.feature_auc[atom])),
            }
        )
    fields = [pa.field("atom", pa.int32()), *_TEXTS, *_NUMBERS]
    table = pa.Table.from_pylist(rows, schema=pa.schema(fields))
    full = np.full(dense["test"].shape[1], "silent", dtype=object)
    full[[row["atom"] for row in rows]] = [row["kind"] for row in rows]
    return table if len(table) == len(full) else _with_silent(table, full)


_TEXTS = [pa.field(name, pa.string()) for name in ("object", "feature", "kind")]
_NUMBERS = [
    *(pa.field(f"auc_{name}", pa.float64()) for name in ("object", "feature", "bound", "bound_low", "bound_high")),
    *(pa.field(name, pa.int64()) for name in ("n_positive", "n_negative")),
    pa.field("density", pa.float64()),
]


def _with_silent(table: pa.Table, kinds: np.ndarray) -> pa.Table:
    """The table with a row for every atom, in their order."""
    rows = {row["atom"]: row for row in table.to_pylist()}
    empty = dict.fromkeys(table.column_names)
    every = [rows.get(atom, empty | {"atom": atom, "kind": kind, "density": 0.0}) for atom, kind in enumerate(kinds)]
    return pa.Table.from_pylist(every, schema=table.schema)


def kind_of_atom(found: Bound | None, low: float | None, high: float | None, auc_feature: float) -> str:
    """conjunction, feature or other, by the interval of the bound AUC."""
    if found is None or low is None or high is None:
        return "other"
    if low > _CONJUNCTION:
        return "conjunction"
    return "feature" if auc_feature > _FEATURE and low <= 0.5 <= high else "other"


def labels_of(cell: Cell, inputs: Inputs, split: str, task: str) -> np.ndarray:
    """Which classes an image shows [samples classes]."""
    objects = inputs.array(f"{split}_labels", "object_codes")
    return objects > 0 if task == "objects" else cell.dataset.config.space.feature_codes(objects) > 0


def classifier_of(cell: Cell, inputs: Inputs) -> Outcome:
    """Train on the training images, choose λ on validation images, measure on test images."""
    stage: Stage = cell.settings
    config = stage.classifier
    assert config is not None
    labels = {split: labels_of(cell, inputs, split, config.task) for split in _SPLITS}
    x = {split: _read(cell, inputs, split, config, len(labels[split])) for split in _SPLITS}
    chosen, steps = _solve(x, labels, config, stage.seed)
    weights, test = chosen.weights, x["test"]
    logits = np.asarray(test @ weights.T)
    counted = coverage(test, weights, logits)
    samples = samples_of_decisions(logits, labels["test"], {"concepts": counted.positive.astype(np.float64)})
    budget = np.asarray(test @ with_budget(chosen, x["train"], _BUDGET).T)
    row = {
        "n_atoms": weights.shape[1],
        "n_train": len(labels["train"]),
        "n_test": len(labels["test"]),
        "chance_percent": 100 * float(labels["test"].sum(1).mean() / labels["test"].shape[1]),
        "penalty": chosen.penalty,
        "weights_per_class": chosen.weights_per_class,
        "zero_weights_percent": 100 * float((weights == 0).mean()),
        "kkt_residual": None if np.isnan(chosen.kkt) else chosen.kkt,
        "accuracy_at_5": 100 * float(found_right(budget, labels["test"])[1].mean()),
        "concepts_absolute": float(counted.absolute.mean()),
        "concepts_published": float(np.maximum(counted.positive - 1, 0).mean()),
        "flags": ["not_converged"] if chosen.kkt > 1e-2 else [],
    }
    content = save({"weights": np.ascontiguousarray(weights)})
    file = naming.to_bytes(pa.Table.from_pylist(steps))
    return outcome(cell, row, samples, files={"path.parquet": file}, products={"classifier": content})


def _read(cell: Cell, inputs: Inputs, split: str, config: ClassifierConfig, n: int) -> Codes:
    if config.reads == "codes":
        return sparse.from_bytes(inputs.products[f"codes_{split}"], n)
    from readouts.concepts.measuring import site_rows

    rows = np.asarray(site_rows(cell, inputs, split)[:], dtype=np.float64)
    return rows.mean(1) if rows.ndim == 3 else rows


def _solve(
    x: dict[str, Codes], labels: dict[str, np.ndarray], config: ClassifierConfig, seed: int
) -> tuple[Solution, list[dict[str, float]]]:
    """The solution of best validation accuracy, the sparser of equal ones; and all that were tried."""
    shown = labels["train"].any(1)
    train, known = x["train"][np.flatnonzero(shown)], labels["train"][shown]
    if config.solver == "adam":
        tried = [
            adam(
                train,
                known,
                penalty=config.adam_penalty,
                learning_rate=config.learning_rate,
                epochs=config.epochs,
                seed=seed,
            )
        ]
    else:
        tried = list(path(train, known, config.penalties))
    steps = []
    for one in tried:
        accuracy = {
            f"{split}_percent": 100
            * float(found_right(np.asarray(x[split] @ one.weights.T), labels[split])[1].mean())
            for split in ("validation", "test")
        }
        steps.append({"penalty": one.penalty, "weights_per_class": one.weights_per_class, **accuracy})
    best = max(range(len(tried)), key=lambda i: (steps[i]["validation_percent"], -i))
    return tried[best], steps


def samples_of_decisions(logits: np.ndarray, labels: np.ndarray, others: dict[str, np.ndarray]) -> pa.Table:
    """A row an image that shows something: how well its classes are found, and each of them."""
    shown = np.flatnonzero(labels.any(1))
    right, accuracy = found_right(logits[shown], labels[shown])
    columns = {"accuracy": accuracy, **{name: values[shown] for name, values in others.items()}}
    for group in range(labels.shape[1]):
        columns[f"in_{group}"] = labels[shown, group].astype(np.float64)
        columns[f"right_{group}"] = right[:, group].astype(np.float64)
    return pa.table(columns)


def intervention_of(cell: Cell, inputs: Inputs) -> Outcome:
    """The classifier with some atoms silenced, or with them alone, beside random sets of as many living atoms."""
    stage: Stage = cell.settings
    config, classifier = stage.intervention, stage.classifier
    assert config is not None
    assert classifier is not None
    labels = labels_of(cell, inputs, "test", classifier.task)
    codes = sparse.from_bytes(inputs.products["codes_test"], len(labels))
    weights = load(inputs.products["classifier"])["weights"]
    alive = np.bincount(codes.indices, minlength=codes.shape[1]) > 0
    meant = atoms_meant(config, inputs.products.get("names"), alive)
    before = found_right(np.asarray(codes @ weights.T), labels)[1]
    rng = np.random.default_rng(stage.seed)
    random = np.zeros(len(labels))
    for _ in range(config.draws):
        drawn = rng.choice(np.flatnonzero(alive), size=min(len(meant), int(alive.sum())), replace=False)
        random += found_right(silenced(codes, weights, drawn, config.action), labels)[1] / config.draws
    logits = silenced(codes, weights, meant, config.action)
    samples = samples_of_decisions(logits, labels, {"before": before, "random": random})
    row = {
        "n_atoms": codes.shape[1],
        "n_test": len(labels),
        "n_atoms_meant": len(meant),
        "random_change": 100 * float((random - before)[labels.any(1)].mean()),
        "chance_percent": 100 * float(labels.sum(1).mean() / labels.shape[1]),
        "flags": [] if len(meant) else ["no_atom_meant"],
    }
    return outcome(cell, row, samples)


def atoms_meant(config: InterventionConfig, names: bytes | None, alive: np.ndarray) -> np.ndarray:
    """Numbers of the living atoms that an intervention means, by number or by pattern of their name."""
    meant = {atom for atom in config.atoms if 0 <= atom < len(alive)}
    if names is not None:
        for atom, name in enumerate(naming.from_bytes(names)["name"].to_pylist()):
            if name != naming.UNNAMED and any(fnmatchcase(name, pattern) for pattern in config.names):
                meant.add(atom)
    return np.array(sorted(atom for atom in meant if alive[atom]), dtype=np.int64)


def silenced(codes: sparse.Csr, weights: np.ndarray, atoms: np.ndarray, action: str) -> np.ndarray:
    """Logits without some atoms (remove), or with them alone (keep)."""
    kept = np.full(codes.shape[1], action == "remove")
    kept[atoms] = action == "keep"
    return np.asarray(codes @ (weights * kept).T)
