"""The read-out's grid: data sets and backbones, then what is asked of each decomposition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from frozen.capture.capture import Capture
from frozen.capture.conditions import PLAIN
from frozen.capture.reductions import WholeSite
from frozen.capture.sites import Site
from frozen.data.scenes import SPLITS
from frozen.models import BackboneConfig, describe
from frozen.models.joint import joint_refusal
from frozen.paths import written
from frozen.plain import mapping_of
from frozen.problems import did_you_mean
from frozen.readout.cells import Cell, LeftOut, Mistake
from frozen.readout.grid import Reading, dataset_path, readings
from frozen.readout.needs import Labels, Product
from frozen.readout.study import Study
from readouts.text_decomposition.asked import (
    CLIP_FIT,
    CLIP_TEST,
    EMBEDDING,
    MAP,
    MAPPED,
    SPACE,
    Asked,
    Heads,
    Shared,
    everything_asked,
    features_of,
    label_values,
    left_out,
)
from readouts.text_decomposition.capture import ImageTerms
from readouts.text_decomposition.files import absent, digest_of
from readouts.text_decomposition.keys import TextDecompositionStudy
from readouts.text_decomposition.lens import POOLING
from readouts.text_decomposition.pooling_head import PooledTerms
from readouts.text_decomposition.settings import (
    AUTO,
    HeatmapConfig,
    JointConfig,
)

VERSION = 1
"""Raised when equal inputs give other numbers; part of every cell's identity."""


def cells(study: Study) -> Iterator[Cell | LeftOut | Mistake]:
    """Every cell of a study, and what is left out of the grid."""
    keys: TextDecompositionStudy = study.keys
    pools = tuple(dict.fromkeys(config.pool for config in keys.textspan))
    shared = Shared(keys.means, keys.norm_split, keys.templates, keys.classes, pools, study.intervals, study.seed)
    named = [pool for pool in pools if pool != AUTO] + [keys.classes] * (keys.classes is not None)
    files = tuple((name, digest_of(name)) for name in named if name is not None)
    missing = tuple(one for pool in pools if pool != AUTO for one in absent(pool, "pool"))
    missing += tuple(absent(keys.classes, "list of classes")) if keys.classes else ()
    if "spurious" in keys.analyses:
        yield from _unknown_features(study, keys)
    for made in _all(study, keys, shared, files):
        yield replace(made, absent=missing) if missing and isinstance(made, Cell) else made


def _unknown_features(study: Study, keys: TextDecompositionStudy) -> Iterator[Mistake]:
    """Target or cue that no data set of the study has; what only some have is left out of the others."""
    known = tuple(dict.fromkeys(name for one in study.datasets for name in features_of(one.config)))
    for key, name in (("target", keys.spurious.target), ("cue", keys.spurious.cue)):
        if name and name not in known:
            yield Mistake(("spurious", key), f"no data set has a feature {name!r}; {did_you_mean(name, known)}")


def _all(
    study: Study, keys: TextDecompositionStudy, shared: Shared, files: tuple[tuple[str, str], ...]
) -> Iterator[Cell | LeftOut | Mistake]:
    for reading in readings(study, ("all",)):
        if isinstance(reading, Mistake):
            yield reading
        elif reason := _refusal(reading, keys.joint):
            yield LeftOut(f"{reading.dataset.name} · {written(reading.backbone.source)}", reason)
        else:
            yield from _of_reading(study, keys, reading, shared, files)


def _refusal(reading: Reading, joint: JointConfig) -> str | None:
    """Why a backbone cannot be decomposed, as far as known without its weights."""
    if reason := joint_refusal(reading.backbone):
        if not joint.clip:
            return f"{reason}; with `joint: {{clip: ..}}` it is mapped to a CLIP that has"
        if reading.control == "shuffled":
            return "a map from the images of others maps nothing"
    if reading.description.no_sum:
        return f"its embedding is no sum of what heads and MLPs write: {reading.description.no_sum}"
    try:
        _terms(reading).columns(reading.description, PLAIN)
    except ValueError as error:
        return str(error)
    return None


def _terms(
    reading: Reading, tokens: bool = False, layers: tuple[int, ...] | None = None, heads: Sequence[str] = ()
) -> ImageTerms | PooledTerms:
    """What is kept of an image, by what ends the backbone."""
    pairs = tuple(name.split(".") for name in heads)
    if reading.description.pooling_heads:
        return PooledTerms(tokens, tuple(int(head) for _, head in pairs))
    blocks = tuple(layer for layer in reading.description.layers if layer.isdigit())
    return ImageTerms(len(blocks), tokens, layers, tuple((int(layer), int(head)) for layer, head in pairs))


def _heads(reading: Reading) -> Heads:
    """The heads that are told apart."""
    description = reading.description
    if description.pooling_heads:
        return Heads((POOLING,), description.pooling_heads[0])
    heads = description.part("heads")
    assert not isinstance(heads, str)
    return Heads(tuple(layer for layer in description.layers if layer.isdigit()), heads[0])


def _of_reading(
    study: Study,
    keys: TextDecompositionStudy,
    reading: Reading,
    shared: Shared,
    files: tuple[tuple[str, str], ...],
) -> Iterator[Cell | LeftOut | Mistake]:
    try:
        names = split_names(keys, reading.dataset.config)
    except ValueError as error:
        yield Mistake(dataset_path(study, reading.dataset), str(error))
        return
    heads = _heads(reading)
    try:
        asked = list(everything_asked(keys, shared, heads))
    except ValueError as error:
        yield Mistake(_where(keys), f"{written(reading.backbone.source)}: {error}")
        return
    reductions = {"validation": _terms(reading), "test": _with_tokens(keys, reading, len(heads.layers))}
    captures = {
        role: Capture(reading.dataset, split, reading.backbone, reductions[role], dtype=study.store.dtype)
        for role, split in zip(("validation", "test"), names, strict=True)
    }
    joint = keys.joint if joint_refusal(reading.backbone) else None
    mapping: Cell | None = None
    if joint is not None:
        try:
            mapping = _mapping(study, reading, captures, Asked(MAP, "final", MAPPED, shared, (), joint, names))
        except ValueError as error:
            yield Mistake(("joint", "clip"), str(error))
            return
        yield mapping
    term = EMBEDDING if joint is None else MAPPED
    first = Asked("decomposition", "final", term, shared, split_names=names, files=files, joint=joint)
    giver = _cell(study, reading, captures, first, None, mapping)
    yield giver
    if reading.description.is_control or reading.control is not None:
        return  # accuracies at chance: there is nothing to decompose
    values = label_values(reading.dataset.config, names[1]) if "spurious" in keys.analyses else None
    for one in asked:
        if reason := left_out(one, reading.dataset.config, values):
            yield LeftOut(f"{reading.dataset.name} · {one.analysis} · {one.term}", reason)
        else:
            own = replace(one, split_names=names, files=files, joint=joint)
            yield _cell(study, reading, captures, own, giver)


def _where(keys: TextDecompositionStudy) -> tuple[str, ...]:
    """Which key names a term that a backbone does not have, as far as that can be known."""
    if keys.sets:
        return ("sets",)
    return ("spurious",) if keys.spurious.named else ("heatmap",)


def _with_tokens(keys: TextDecompositionStudy, reading: Reading, n_blocks: int) -> ImageTerms | PooledTerms:
    """What is kept of the images that are measured."""
    if "heatmap" not in keys.analyses:
        return _terms(reading)
    layers = keys.heatmap.layers
    some = None if layers is None or set(layers) == set(range(n_blocks)) else tuple(sorted(set(layers)))
    return _terms(reading, True, some, keys.heatmap.heads)


def _mapping(study: Study, reading: Reading, captures: dict[str, Capture], asked: Asked) -> Cell:
    """The cell that fits a map from a backbone's embedding to the joint space of a CLIP.

    Raises:
        ValueError: a CLIP that does not fit the data set.
    """
    assert isinstance(asked.config, JointConfig)
    clip = BackboneConfig(source=asked.config.clip)
    describe(clip, reading.dataset.config)
    whole = WholeSite(Site("final", "embedding"))
    needs: list[tuple[str, Any]] = list(captures.items())
    for role, name in zip((CLIP_FIT, CLIP_TEST), asked.split_names, strict=True):
        needs.append((role, Capture(reading.dataset, name, clip, whole, dtype=study.store.dtype)))
    needs.append(("test_labels", Labels(reading.dataset, asked.split_names[1])))
    cell = _cell(study, reading, captures, asked, None)
    return replace(cell, needs=tuple(needs), gives=(MAP,))


def split_names(keys: TextDecompositionStudy, config: Any) -> tuple[str, str]:
    """The split that means come from, and the one that is measured.

    Raises:
        ValueError: a split that the data set does not have.
    """
    known: tuple[str, ...] = tuple(getattr(config, "splits", SPLITS))
    for name in (keys.fit_split, keys.test_split):
        if name is not None and name not in known:
            raise ValueError(f"there is no split {name}; {did_you_mean(name, known)}")
    test = keys.test_split or next((name for name in ("test", "val", "validation") if name in known), known[-1])
    others = [name for name in ("validation", "val", "train") if name in known and name != test]
    return keys.fit_split or (others[0] if others else test), test


@cache
def _known(config: object) -> object:
    """Settings as identities have them: maps without what came later, unless it says something."""
    if not isinstance(config, HeatmapConfig):
        return config
    plain, usual = mapping_of(config), mapping_of(HeatmapConfig())
    later = ("layers", "heads", "masks")
    return {name: value for name, value in plain.items() if name not in later or value != usual[name]}


def _cell(
    study: Study,
    reading: Reading,
    captures: dict[str, Capture],
    asked: Asked,
    giver: Cell | None,
    mapping: Cell | None = None,
) -> Cell:
    description, shared = reading.description, asked.shared
    needs: list[tuple[str, object]] = list(captures.items())
    needs += [(f"{role}_labels", Labels(reading.dataset, capture.split)) for role, capture in captures.items()]
    if giver is not None:
        needs.append((SPACE, Product(giver.cell_id, SPACE)))
    if mapping is not None:
        needs.append((MAP, Product(mapping.cell_id, MAP)))
    return Cell(
        readout=study.readout,
        dataset=reading.dataset,
        backbone=reading.backbone,
        description=description,
        columns=(
            ("analysis", asked.analysis),
            ("layer", asked.layer),
            ("layer_index", description.layer_number(asked.layer)),
            ("term", asked.term),
            ("setting", asked.setting),
        ),
        names=tuple(name for name in (asked.analysis, asked.layer, asked.term, asked.setting) if name),
        settings=asked,
        identity=(
            ("readout", f"{study.readout} {VERSION}"),
            ("dataset", reading.dataset),
            ("backbone", reading.backbone),
            ("analysis", asked.analysis),
            ("layer", asked.layer),
            ("term", asked.term),
            ("removed", asked.removed),
            ("splits", asked.split_names),
            ("config", _known(asked.config)),
            ("shared", shared),
            ("dtype", study.store.dtype),
            *((("files", asked.files),) if asked.files else ()),
            *((("joint", asked.joint),) if asked.joint else ()),
        ),
        needs=tuple(needs),  # pyright: ignore[reportArgumentType]
        gives=() if giver else (SPACE,),
        control=reading.control,
        control_of=reading.control_of,
        seed=study.seed,
    )
