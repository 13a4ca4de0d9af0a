"""Measures the stages that use codes: classifiers, interventions, and x̂ in the place of x."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from safetensors.numpy import load, save
from torch.nn.functional import normalize

from frozen.models.joint import open_joint
from frozen.readout.cells import Cell
from frozen.readout.needs import Inputs
from frozen.readout.outcome import Outcome
from frozen.rows import ArrayRows
from readouts.concepts import codes as sparse
from readouts.concepts import naming
from readouts.concepts.classifier import (
    BUDGETS,
    Codes,
    Solution,
    adam,
    coverage,
    decide,
    deviations,
    found_right,
    path,
    with_budget,
)
from readouts.concepts.dictionary import Dictionary
from readouts.concepts.keys import ClassifierConfig, InterventionConfig
from readouts.concepts.measuring import site_rows
from readouts.concepts.pictures import global_explanations, local_explanations
from readouts.concepts.roles import ROLES, class_names, groups_of, held_out, n_classes_of, present
from readouts.concepts.rows import outcome
from readouts.concepts.sites import JOINT, SomeRows, TokenMeans
from readouts.concepts.stages import Stage
from readouts.concepts.texts import read_texts

_BLOCK_NUMBERS = 2**22
_MOST_GROUPS = 64
"""Groups, or classes, beyond which none is told as the worst."""


class _Task(NamedTuple):
    """What a classifier is trained and tested on.

    Attributes:
        x: codes or activations by role.
        labels: which classes an image shows, by role.
        groups: of the test images, of which the worst is sought; None for the classes.
    """

    x: dict[str, Codes]
    labels: dict[str, np.ndarray]
    groups: np.ndarray | None


def _task(cell: Cell, inputs: Inputs, config: ClassifierConfig) -> _Task:
    """A tenth of the training images validates where the data set has no split for it."""
    stored = {role: inputs.columns[f"{role}_labels"] for role in ROLES if f"{role}_labels" in inputs.columns}
    n_classes = n_classes_of(cell.dataset.config, *stored.values())
    labels = {role: present(cell.dataset.config, one, config.task, n_classes) for role, one in stored.items()}
    x = {role: _read(cell, inputs, role, config, len(labels[role])) for role in labels}
    if "validation" not in labels:
        kept, out = held_out(len(labels["train"]), cell.settings.seed)
        x["train"], x["validation"] = _some(x["train"], kept), _some(x["train"], out)
        labels["train"], labels["validation"] = labels["train"][kept], labels["train"][out]
    shown = labels["train"].any(1)
    if not shown.all():
        x["train"], labels["train"] = _some(x["train"], np.flatnonzero(shown)), labels["train"][shown]
    return _Task(x, labels, groups_of(stored["test"]))


def _read(cell: Cell, inputs: Inputs, role: str, config: ClassifierConfig, n: int) -> Codes:
    if config.reads == "codes":
        return sparse.from_bytes(inputs.products[f"codes_{role}"], n)
    rows = site_rows(cell, inputs, role)
    return TokenMeans(rows) if len(rows.shape) == 3 else rows


def _some(codes: Codes, rows: np.ndarray) -> Codes:
    return codes[rows] if isinstance(codes, sparse.csr_array) else SomeRows(codes, rows)


def classifier_of(cell: Cell, inputs: Inputs, device: torch.device) -> Outcome:
    """Train on the training images, choose λ on validation images, measure on test images."""
    stage: Stage = cell.settings
    config = stage.classifier
    assert config is not None
    task = _task(cell, inputs, config)
    chosen, steps = _solve(task, config, stage.seed, device)
    weights, test, labels = chosen.weights, task.x["test"], task.labels["test"]
    found = decide(test, weights, labels)
    counted = coverage(test, weights, found.best)
    scale = deviations(task.x["train"])
    budgets = {n: decide(test, with_budget(weights, scale, n), labels).accuracy for n in BUDGETS}
    others = {
        "concepts": counted.positive,
        "concepts_absolute": counted.absolute,
        "concepts_published": np.maximum(counted.positive - 1, 0),
        "at_5": budgets[5],
    }
    samples = samples_of_decisions(found.accuracy, found.right, labels, task.groups, others)
    row = {
        "n_atoms": weights.shape[1],
        "n_train": len(task.labels["train"]),
        "n_test": len(labels),
        "chance_percent": 100 * float(labels.sum(1).mean() / labels.shape[1]),
        "penalty": chosen.penalty,
        "weights_per_class": chosen.weights_per_class,
        "zero_weights_percent": 100 * float((weights == 0).mean()),
        "kkt_residual": None if np.isnan(chosen.kkt) else chosen.kkt,
        "flags": ["not_converged"] if chosen.kkt > 1e-2 else [],
    }
    content = save({"weights": np.ascontiguousarray(weights)})
    shown = labels.any(1)
    tables = {
        "path.parquet": pa.Table.from_pylist(steps),
        "budgets.parquet": pa.table(
            {"atoms": list(budgets), "test_percent": [100 * float(one[shown].mean()) for one in budgets.values()]}
        ),
    }
    if config.reads == "codes":
        tables["local.parquet"] = local_explanations(test, weights, labels)
        tables["global.parquet"] = global_explanations(test, weights, labels, found.best)
    files = {name: naming.to_bytes(table) for name, table in tables.items() if len(table)}
    return outcome(cell, row, samples, files=files, products={"classifier": content})


def _solve(
    task: _Task, config: ClassifierConfig, seed: int, device: torch.device
) -> tuple[Solution, list[dict[str, float]]]:
    """The solution of best validation accuracy, the sparser of equal ones; and all that were tried."""
    train, known = task.x["train"], task.labels["train"]
    if config.solver == "adam":
        tried = [
            adam(
                train,
                known,
                penalty=config.adam_penalty,
                learning_rate=config.learning_rate,
                epochs=config.epochs,
                seed=seed,
                device=device,
            )
        ]
    else:
        tried = list(path(train, known, config.penalties))
    steps = [_step(task, one) for one in tried]
    best = max(range(len(tried)), key=lambda i: (steps[i]["validation_percent"], -i))
    return tried[best], steps


def _step(task: _Task, one: Solution) -> dict[str, float]:
    found = {role: decide(task.x[role], one.weights, task.labels[role]) for role in ("validation", "test")}
    counted = coverage(task.x["test"], one.weights, found["test"].best)
    return {
        "penalty": one.penalty,
        "weights_per_class": one.weights_per_class,
        "concepts_per_decision": float(counted.positive[task.labels["test"].any(1)].mean()),
        **{f"{role}_percent": 100 * float(each.accuracy.mean()) for role, each in found.items()},
    }


def samples_of_decisions(
    accuracy: np.ndarray,
    right: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray | None,
    others: dict[str, np.ndarray],
) -> pa.Table:
    """A row an image that shows something: how well its classes are found, and each of its groups.

    Args:
        accuracy: share of the present classes that are found [samples].
        right: which [samples classes].
        labels: which classes are present [samples classes].
        groups: which groups an image is of [samples groups]; None where classes are the groups.
        others: further columns [samples].
    """
    shown = np.flatnonzero(labels.any(1))
    columns = {"accuracy": accuracy[shown]}
    columns |= {name: np.asarray(values, dtype=np.float64)[shown] for name, values in others.items()}
    of_group = right if groups is None else groups & (accuracy == 1)[:, None]
    groups = labels if groups is None else groups
    for group in range(groups.shape[1] if groups.shape[1] <= _MOST_GROUPS else 0):
        columns[f"in_{group}"] = groups[shown, group].astype(np.float64)
        columns[f"right_{group}"] = of_group[shown, group].astype(np.float64)
    return pa.table(columns)


def fidelity_of(cell: Cell, inputs: Inputs, device: torch.device) -> Outcome:
    """What x̂ in the place of x costs: by the texts of the classes, and by the linear probe that was trained on x."""
    stage: Stage = cell.settings
    task = stage.classifier.task if stage.classifier is not None else "objects"
    stored = inputs.columns["test_labels"]
    dictionary = Dictionary.from_bytes(inputs.products["dictionary"]).to(device)
    test = site_rows(cell, inputs, "test")
    probe = load(inputs.products["probe"])["weights"] if "probe" in inputs.products else None
    texts = _text_vectors(cell) if stage.site == JOINT else None
    own, of_texts = (
        present(cell.dataset.config, stored, name, n_classes_of(cell.dataset.config, stored) if m is None else len(m))
        for name, m in ((task, probe), ("objects", texts))
    )
    columns: dict[str, list[np.ndarray]] = {}
    for rows, x, modelled in _replaced(dictionary, test, device):
        for end, images in (("", x), ("_modelled", modelled)):
            if probe is not None:
                right = found_right(images.double().numpy() @ probe.T, own[rows])[1]
                columns.setdefault(f"probe{end}", []).append(right)
            if texts is not None:
                scores = normalize(images, dim=1) @ texts.T
                right = found_right(scores.numpy(), of_texts[rows])[1]
                columns.setdefault(f"zero_shot{end}", []).append(right)
    shown = own.any(1)
    samples = pa.table({name: np.concatenate(values)[shown] for name, values in columns.items()})
    row = {"n_atoms": dictionary.n_atoms, "width": dictionary.width, "n_test": len(test), "flags": []}
    return outcome(cell, row, samples)


def _text_vectors(cell: Cell) -> torch.Tensor | None:
    """Vectors of the classes' names, or None where nobody names them or the tower cannot read all of them."""
    names = class_names(cell.dataset.config)
    if not names:
        return None
    found = read_texts(open_joint(cell.backbone), names, cell.settings.templates)
    return None if found.n_unread else found.vectors


@torch.inference_mode()
def _replaced(
    dictionary: Dictionary, array: ArrayRows, device: torch.device
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Blocks of x and of x̂ on the CPU, the mean over the tokens of an image."""
    numbers = int(np.prod(array.shape[1:-1], dtype=np.int64)) * max(dictionary.n_atoms, dictionary.width)
    n = max(1, _BLOCK_NUMBERS // numbers)
    for start in range(0, len(array), n):
        rows = slice(start, start + n)
        x = torch.from_numpy(np.array(array[rows], dtype=np.float32)).to(device)
        modelled = dictionary.decode(dictionary.encode(x.reshape(-1, dictionary.width))).view(x.shape)
        if x.ndim == 3:
            x, modelled = x.mean(1), modelled.mean(1)
        yield rows, x.cpu(), modelled.cpu()


def intervention_of(cell: Cell, inputs: Inputs) -> Outcome:
    """The classifier with some atoms silenced, or with them alone, beside random sets of as many living atoms."""
    stage: Stage = cell.settings
    config, classifier = stage.intervention, stage.classifier
    assert config is not None
    assert classifier is not None
    stored = inputs.columns["test_labels"]
    weights = load(inputs.products["classifier"])["weights"]
    labels = present(cell.dataset.config, stored, classifier.task, len(weights))
    codes = sparse.from_bytes(inputs.products["codes_test"], len(labels))
    if config.budget is not None:
        weights = with_budget(weights, deviations(codes), config.budget)
    fires = np.bincount(codes.indices, minlength=codes.shape[1])
    meant = atoms_meant(config, inputs.products, fires / max(codes.shape[0], 1))
    before = decide(codes, weights, labels).accuracy
    rng = np.random.default_rng(stage.seed)
    alive = np.flatnonzero(fires)
    random = np.zeros(len(labels))
    for _ in range(config.draws):
        drawn = rng.choice(alive, size=min(len(meant), len(alive)), replace=False)
        random += decide(codes, silenced(weights, drawn, config.action), labels).accuracy / config.draws
    after = decide(codes, silenced(weights, meant, config.action), labels)
    others = {"before": before, "random": random}
    samples = samples_of_decisions(after.accuracy, after.right, labels, groups_of(stored), others)
    row = {
        "n_atoms": codes.shape[1],
        "n_test": len(labels),
        "n_atoms_meant": len(meant),
        "chance_percent": 100 * float(labels.sum(1).mean() / labels.shape[1]),
        "flags": [] if len(meant) else ["no_atom_meant"],
    }
    return outcome(cell, row, samples)


def atoms_meant(config: InterventionConfig, products: Any, density: np.ndarray) -> np.ndarray:
    """Numbers of the living atoms that an intervention means: by number, name, selectivity or density.

    Args:
        config: the intervention.
        products: `names` and `selectivity`, as far as it asks for them.
        density: share of the images that each atom fires on.
    """
    meant = {atom for atom in config.atoms if 0 <= atom < len(density)}
    if config.names and "names" in products:
        for atom, name in enumerate(naming.from_bytes(products["names"])["name"].to_pylist()):
            if name != naming.UNNAMED and any(fnmatchcase(name, pattern) for pattern in config.names):
                meant.add(atom)
    if config.kinds and "selectivity" in products:
        kinds = naming.from_bytes(products["selectivity"])["kind"].to_pylist()
        meant |= {atom for atom, kind in enumerate(kinds) if kind in config.kinds}
    if config.denser_than is not None:
        meant |= set(np.flatnonzero(density > config.denser_than).tolist())
    if config.rarer_than is not None:
        meant |= set(np.flatnonzero(density < config.rarer_than).tolist())
    return np.array(sorted(atom for atom in meant if density[atom] > 0), dtype=np.int64)


def silenced(weights: np.ndarray, atoms: np.ndarray, action: str) -> np.ndarray:
    """Weights without some atoms (remove), or with them alone (keep): an atom without weights says nothing."""
    kept = np.full(weights.shape[1], action == "remove")
    kept[atoms] = action == "keep"
    return weights * kept
