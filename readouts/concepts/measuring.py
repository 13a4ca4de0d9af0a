"""Measures the stages about the dictionary itself: its fit, its codes, its names, its stability."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import permutations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from frozen.models.joint import JointSpace, open_joint
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
from readouts.concepts.settings import DictionaryConfig
from readouts.concepts.sites import JOINT, Projected
from readouts.concepts.stages import Stage
from readouts.concepts.stream import blocks, statistics
from readouts.concepts.texts import read_texts, scene_texts
from readouts.concepts.training import Curve, DictionaryRun, Trained, given_dictionary, train

DETECTS = 0.9
"""AUC above which an atom counts as a detector of a concept."""
_SURE = 0.95
_BLOCK_NUMBERS = 2**23


def site_rows(cell: Cell, inputs: Inputs, split: str) -> ArrayRows:
    """Activations of a split, in the joint space where that is the site."""
    array = inputs.columns[split]["activations"]
    if cell.settings.site != JOINT:
        return array
    return Projected(array, open_joint(cell.backbone))


def dictionaries(cells: Mapping[Cell, Inputs], device: torch.device) -> Iterator[tuple[Cell, Outcome]]:
    """Train the dictionaries of one site together, on one stream of its activations."""
    begun = [cell for cell in cells if cell.settings.dictionary.weights is None]
    test = site_rows(next(iter(cells)), next(iter(cells.values())), "test")
    for cell in cells:
        if cell not in begun:
            config: DictionaryConfig = cell.settings.dictionary
            given = Trained(given_dictionary(config, test.shape[-1]), Curve([], [], []), statistics(test), 0, 0.0)
            yield cell, _of_dictionary(cell, cells[cell], given, test, device)
    if not begun:
        return
    first, stage = begun[0], begun[0].settings
    members = [DictionaryRun(cell.settings.dictionary, _seed(cell.settings)) for cell in begun]
    array = site_rows(first, cells[first], "train")
    for cell, one in zip(begun, train(array, members, stage.training, seed=stage.seed, device=device), strict=True):
        yield cell, _of_dictionary(cell, cells[cell], one, test, device)


def _seed(stage: Stage) -> int:
    return stage.seed + 1000 * stage.number


def _of_dictionary(cell: Cell, inputs: Inputs, trained: Trained, test: ArrayRows, device: torch.device) -> Outcome:
    dictionary = trained.dictionary
    found = quality(dictionary, test, device)
    columns = {"error": found.error, "power": found.power, "cosine": found.cosine, "l0": found.l0}
    if cell.settings.site == JOINT and "test_labels" in inputs.columns:
        columns |= _zero_shot(cell, inputs, dictionary, test)
    flags = ["many_dead"] if found.dead > 0.5 else []
    flags += ["poor_model"] if found.explained_variance < 0.5 else []
    row = {
        "n_atoms": dictionary.n_atoms,
        "width": dictionary.width,
        "n_train": len(inputs.columns["train"]["activations"]) if "train" in inputs.columns else None,
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
    found: dict[str, list[np.ndarray]] = {"zero_shot": [], "zero_shot_modelled": []}
    done = 0
    for x in blocks(test):
        for name, images in (("zero_shot", x), ("zero_shot_modelled", dictionary.decode(dictionary.encode(x)))):
            scores = torch.nn.functional.normalize(images, dim=1) @ vectors.vectors.T
            found[name].append(found_right(scores.numpy(), labels[done : done + len(x)])[1])
        done += len(x)
    return {name: np.concatenate(values) for name, values in found.items()}


def codes_of(cell: Cell, inputs: Inputs, device: torch.device) -> Outcome:
    """Sparse codes of all splits."""
    dictionary = Dictionary.from_bytes(inputs.products["dictionary"])
    test = sparse.encode(dictionary, site_rows(cell, inputs, "test"), device)
    products = {"codes_test": sparse.to_bytes(test)}
    for role in ("train", "validation"):  # one after another: only the test's stay in memory
        if role in inputs.columns:
            codes = sparse.encode(dictionary, site_rows(cell, inputs, role), device)
            products[f"codes_{role}"] = sparse.to_bytes(codes)
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
    tops = sparse.strongest(test, 20)
    table = pa.table(
        {"atom": np.arange(len(fires), dtype=np.int32), "fires": fires, "samples": tops.samples.tolist()}
    )
    files = {"strongest.parquet": naming.to_bytes(table)}
    if test.shape[0]:
        files["clusters.parquet"] = naming.to_bytes(meta_clusters(test, cell.settings.n_clusters, cell.settings.seed))
    return outcome(cell, row, pa.table({"l0": active}), files=files, products=products)


def monosemanticity_of(cell: Cell, inputs: Inputs) -> Outcome:
    """How alike another model finds the images of every atom that fires on two or more."""
    images = inputs.array("judge_test", "activations").astype(np.float32)
    codes = sparse.from_bytes(inputs.products["codes_test"], len(images))
    judged = sparse.monosemanticity(codes, images)
    known = np.isfinite(judged)
    samples = pa.table({"known": known.astype(np.float64), "alike": np.where(known, judged, 0.0)})
    row = {"n_atoms": codes.shape[1], "n_test": codes.shape[1], "flags": []}
    return outcome(cell, row, samples, files={"judged.parquet": naming.to_bytes(samples)})


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
        table = naming.table_from_images(
            codes,
            partial(_scores, joint, inputs.columns["judge_test"]["activations"], vocabulary.vectors.numpy()),
            vocabulary.texts,
            n_images=stage.names.n_images,
            threshold=stage.names.threshold,
            seed=stage.seed,
        )
    truth: list[str | None] = [None] * dictionary.n_atoms
    kinds: dict[str, object] = {}
    if "test_labels" in inputs.columns:
        truth, kinds = _truth(cell, inputs, codes, table)
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
            "z": np.where(alive, table["z"].to_numpy(), 0.0),
            "margin": np.where(alive, np.nan_to_num(table["margin"].to_numpy()), 0.0),
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
        "null_score": float(table["null_score"][0].as_py()),
        **kinds,
        "flags": ["unread_texts"] if vocabulary.n_unread else [],
    }
    content = naming.to_bytes(table)
    return outcome(cell, row, samples, files={"names.parquet": content}, products={"names": content})


def _scores(joint: JointSpace, embeddings: ArrayRows, texts: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Scores of all images with all texts, a block of images after another."""
    n = max(1, _BLOCK_NUMBERS // len(texts))
    for start in range(0, len(embeddings), n):
        rows = slice(start, start + n)
        images = joint.image_vectors(np.array(embeddings[rows], dtype=np.float32))
        yield rows, joint.scores(images, texts)


def _truth(
    cell: Cell, inputs: Inputs, codes: sparse.Csr, names: pa.Table
) -> tuple[list[str | None], dict[str, object]]:
    """The concept that each atom detects (None if it detects none well), and what follows for object kinds."""
    scene = cell.dataset.config
    words = scene_texts(scene)
    objects = inputs.array("test_labels", "object_codes")
    labels = np.concatenate([objects > 0, scene.space.feature_codes(objects) > 0], axis=1)
    found = np.nan_to_num(aucs(codes, labels), nan=0.5)
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
