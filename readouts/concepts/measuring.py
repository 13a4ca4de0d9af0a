"""Measures the stages about the dictionary itself: its fit, its codes, its names, its stability."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from itertools import permutations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from frozen.models.joint import open_joint
from frozen.readout.cells import Cell
from frozen.readout.needs import Inputs
from frozen.readout.outcome import Outcome
from frozen.rows import ArrayRows
from readouts.concepts import codes as sparse
from readouts.concepts import naming
from readouts.concepts.classifier import found_right
from readouts.concepts.dictionary import Dictionary
from readouts.concepts.pictures import meta_clusters
from readouts.concepts.quality import Quality, match, quality
from readouts.concepts.rows import outcome
from readouts.concepts.selectivity import aucs
from readouts.concepts.sites import JOINT, Projected
from readouts.concepts.stages import Stage
from readouts.concepts.texts import read_texts, scene_texts
from readouts.concepts.training import DictionaryRun, Trained, train

DETECTS = 0.9
"""AUC above which an atom counts as a detector of a concept."""
_SURE = 0.95
_CLUSTERS = 16
_SPLITS = ("train", "validation", "test")


def site_rows(cell: Cell, inputs: Inputs, split: str) -> ArrayRows:
    """Activations of a split, in the joint space where that is the site."""
    array = inputs.columns[split]["activations"]
    if cell.settings.site != JOINT:
        return array
    return Projected(array, open_joint(cell.backbone))


def dictionaries(cells: Mapping[Cell, Inputs], device: torch.device) -> Iterator[tuple[Cell, Outcome]]:
    """Train the dictionaries of one site together, on one stream of its activations."""
    first, inputs = next(iter(cells.items()))
    stage: Stage = first.settings
    assert stage.training is not None
    members = [DictionaryRun(cell.settings.dictionary, _seed(cell.settings)) for cell in cells]
    trained = train(site_rows(first, inputs, "train"), members, stage.training, seed=stage.seed, device=device)
    test = site_rows(first, inputs, "test")
    for cell, one in zip(cells, trained, strict=True):
        yield cell, _of_dictionary(cell, cells[cell], one, test, device)


def _seed(stage: Stage) -> int:
    return stage.seed + 1000 * stage.number


def _of_dictionary(cell: Cell, inputs: Inputs, trained: Trained, test: ArrayRows, device: torch.device) -> Outcome:
    dictionary = trained.dictionary
    found = quality(dictionary, test, device)
    columns = {"error": found.error, "power": found.power, "cosine": found.cosine, "l0": found.l0}
    if cell.settings.site == JOINT:
        columns |= _zero_shot(cell, inputs, dictionary, test)
    flags = ["many_dead"] if found.dead > 0.5 else []
    flags += ["poor_model"] if found.explained_variance < 0.5 else []
    row = {
        "n_atoms": dictionary.n_atoms,
        "width": dictionary.width,
        "n_train": len(inputs.columns["train"]["activations"]),
        "n_test": len(test),
        "offset_ratio": trained.statistics.offset_ratio,
        "dead_percent": 100 * found.dead,
        "dense_percent": 100 * found.dense,
        "n_restarts": trained.n_restarts,
        "training_seconds": round(trained.seconds, 3),
        "flags": flags,
    }
    curve = trained.curve
    curves = pa.table({"epoch": pa.array(curve.steps, pa.int32()), "loss": curve.losses, "l0": curve.l0})
    return outcome(
        cell,
        row,
        pa.table(columns),
        curves=curves,
        steps=cell.settings.training.steps,
        files={"densities.parquet": _densities(found)},
        products={"dictionary": dictionary.to_bytes()},
    )


def _densities(found: Quality) -> bytes:
    table = pa.table({"atom": np.arange(len(found.fires), dtype=np.int32), "density": found.fires / found.n_rows})
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


@torch.inference_mode()
def _zero_shot(cell: Cell, inputs: Inputs, dictionary: Dictionary, test: ArrayRows) -> dict[str, np.ndarray]:
    """Whether the objects of an image are its best texts, for x and for x̂."""
    joint = open_joint(cell.backbone)
    scene = cell.dataset.config
    labels = inputs.array("test_labels", "object_codes") > 0
    vectors = read_texts(joint, scene_texts(scene)[: scene.space.n_objects], ("{}",))
    if vectors.n_unread:
        return {}
    x = torch.from_numpy(np.array(test[:], dtype=np.float32))
    found = {}
    for name, images in (("zero_shot", x), ("zero_shot_modelled", dictionary.decode(dictionary.encode(x)))):
        scores = torch.nn.functional.normalize(images, dim=1) @ vectors.vectors.T
        found[name] = found_right(scores.numpy(), labels)[1]
    return found


def codes_of(cell: Cell, inputs: Inputs, device: torch.device) -> Outcome:
    """Sparse codes of all splits."""
    dictionary = Dictionary.from_bytes(inputs.products["dictionary"])
    codes = {split: sparse.encode(dictionary, site_rows(cell, inputs, split), device) for split in _SPLITS}
    products = {f"codes_{split}": sparse.to_bytes(one) for split, one in codes.items()}
    test = codes["test"]
    active = np.diff(test.indptr).astype(np.float64)
    fires = np.bincount(test.indices, minlength=dictionary.n_atoms)
    row = {
        "n_atoms": dictionary.n_atoms,
        "width": dictionary.width,
        "n_test": test.shape[0],
        "dead_percent": 100 * float((fires == 0).mean()),
        "bytes_per_image": len(products["codes_test"]) / max(1, test.shape[0]),
        "flags": [],
    }
    if "judge_test" in inputs.columns:
        judged = sparse.monosemanticity(test, inputs.array("judge_test", "activations").astype(np.float32))
        row["monosemanticity"] = float(np.nanmean(judged)) if np.isfinite(judged).any() else None
    tops = sparse.strongest(test, 20)
    table = pa.table(
        {"atom": np.arange(len(fires), dtype=np.int32), "fires": fires, "samples": tops.samples.tolist()}
    )
    files = {"strongest.parquet": naming.to_bytes(table)}
    if test.shape[0]:
        files["clusters.parquet"] = naming.to_bytes(meta_clusters(test, _CLUSTERS, cell.settings.seed))
    return outcome(cell, row, pa.table({"l0": active}), files=files, products=products)


def names_of(cell: Cell, inputs: Inputs, device: torch.device) -> Outcome:
    """A name for every atom, and how many are right where truth is known."""
    stage: Stage = cell.settings
    assert stage.names is not None
    dictionary = Dictionary.from_bytes(inputs.products["dictionary"])
    codes = sparse.encode(dictionary, site_rows(cell, inputs, "test"), device)
    backbone = stage.judge or cell.backbone
    joint = open_joint(backbone)
    vocabulary = read_texts(joint, stage.texts, stage.names.templates)
    if stage.judge is None:
        vectors = naming.centred(vocabulary.vectors) if stage.names.centre else vocabulary.vectors
        table = naming.table_of_names(
            dictionary.directions, vectors, vocabulary.texts, threshold=stage.names.threshold, seed=stage.seed
        )
    else:
        images = joint.image_vectors(inputs.array("judge_test", "activations").astype(np.float32))
        table = naming.table_from_images(
            codes,
            joint.scores(images, vocabulary.vectors.numpy()),
            vocabulary.texts,
            n_images=stage.names.n_images,
            threshold=stage.names.threshold,
            seed=stage.seed,
        )
    truth, kinds = _truth(cell, inputs, codes.toarray(), table)
    fires = np.bincount(codes.indices, minlength=dictionary.n_atoms)
    alive = fires > 0
    table = table.append_column("fires", pa.array(fires.astype(np.int64)))
    table = table.append_column("truth", pa.array(truth, type=pa.string()))
    known = np.array([one is not None for one in truth])
    text_of = table["text"].to_pylist()
    right = np.array([one == other for one, other in zip(truth, text_of, strict=True)])
    named = np.array([name != naming.UNNAMED for name in table["name"].to_pylist()])
    score = table["score"].to_numpy()
    samples = pa.table(
        {
            "alive": alive.astype(np.float64),
            "named": (named & alive).astype(np.float64),
            "score": np.where(alive, score, 0.0),
            "known": known.astype(np.float64),
            "right": (right & known).astype(np.float64),
        }
    )
    row = {
        "n_atoms": dictionary.n_atoms,
        "width": dictionary.width,
        "n_test": dictionary.n_atoms,
        "n_texts": len(vocabulary.texts),
        "n_names": len({text_of[i] for i in np.flatnonzero(named & alive)}),
        "name_margin": _mean(table["margin"].to_numpy()[alive]),
        "name_z": _mean(table["z"].to_numpy()[alive]),
        "null_score": float(table["null_score"][0].as_py()),
        **kinds,
        "flags": ["unread_texts"] if vocabulary.n_unread else [],
    }
    content = naming.to_bytes(table)
    return outcome(cell, row, samples, files={"names.parquet": content}, products={"names": content})


def _mean(values: np.ndarray) -> float | None:
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else None


def _truth(
    cell: Cell, inputs: Inputs, dense: np.ndarray, names: pa.Table
) -> tuple[list[str | None], dict[str, object]]:
    """The concept that each atom detects (None if it detects none well), and what follows for object kinds."""
    scene = cell.dataset.config
    words = scene_texts(scene)
    objects = inputs.array("test_labels", "object_codes")
    labels = np.concatenate([objects > 0, scene.space.feature_codes(objects) > 0], axis=1)
    found = np.nan_to_num(aucs(dense, labels), nan=0.5)
    best = found.argmax(1)
    truth = [words[i] if value > DETECTS else None for i, value in zip(best, found.max(1), strict=True)]
    of_kinds = found[:, : scene.space.n_objects]
    texts = names["text"].to_pylist()
    detectors = of_kinds.argmax(0)
    named = sum(texts[atom] == words[kind] for kind, atom in enumerate(detectors))
    return truth, {"kinds_named": named, "kinds_detected": int((of_kinds.max(0) > _SURE).sum())}


def stability_of(cell: Cell, inputs: Inputs, device: torch.device) -> Outcome:
    """How near each living atom of one training is to one of another, over all ordered pairs of trainings."""
    trained = [Dictionary.from_bytes(inputs.products[name]) for name in sorted(inputs.products)]
    test = site_rows(cell, inputs, "test")
    alive = [quality(one, test, device).fires > 0 for one in trained]
    found = [match(trained[i], trained[j], alive[i], alive[j]) for i, j in permutations(range(len(trained)), 2)]
    cosines = np.concatenate(found)
    samples = pa.table({"nearest": cosines if len(cosines) else np.zeros(1)})
    row = {"n_atoms": trained[0].n_atoms, "width": trained[0].width, "n_test": len(samples), "flags": []}
    return outcome(cell, row, samples)
