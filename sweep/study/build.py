"""From the settings of a study file to its `Study`, or to all that is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from pydantic import TypeAdapter

from frozen.data.spec import DatasetSpec
from frozen.intervals import IntervalConfig
from frozen.models import BACKBONE_CONTROLS, KINDS, LIBRARIES, PAPER, SHIPPED, BackboneConfig, TokenNames
from frozen.problems import did_you_mean, path_text
from frozen.rates import rates
from frozen.readout.layers import Layers, read_layers
from frozen.readout.study import Published, StoreConfig, Study
from sweep.study.datasets import expand
from sweep.study.errors import StudyError
from sweep.study.parts import Parts
from sweep.study.paths import study_path
from sweep.study.place import Settings
from sweep.study.schema import BACKBONE, DATASET, INTERVALS, STORE, published_form
from sweep.study.sentences import Sentence
from sweep.study.yaml import Path


def build(settings: Settings, folder: FilePath, source: str) -> Study:
    """Check settings and make the study of them.

    Args:
        settings: what the file and the overrides say.
        folder: what relative paths are relative to, unless the settings name another.
        source: text of the file.

    Raises:
        StudyError: with all mistakes.
    """
    parts = Parts(settings, folder)
    folder = parts.folder
    datasets = tuple(_datasets(parts, folder))
    backbones = tuple(_backbones(parts, folder))
    keys = None if parts.readout is None else parts.readout.read(parts)
    intervals = _plain_section(parts, "intervals", INTERVALS, IntervalConfig)
    store = _store(parts)
    published = tuple(_published(parts))
    problems = [*settings.problems, *(settings.problem(*sentence) for sentence in parts.found)]
    if problems or parts.readout is None or parts.study is None:
        raise StudyError(problems)
    study, aliases = parts.study, parts.readout.control_aliases
    return Study(
        name=study.name,
        readout=study.readout,
        seed=study.seed,
        datasets=datasets,
        backbones=tuple(backbone for backbone, _ in backbones),
        controls=tuple(dict.fromkeys(aliases.get(str(name), str(name)) for name in study.controls)),
        intervals=intervals,
        store=store,
        keys=keys,
        backbone_layers=own if any(own := tuple(layers for _, layers in backbones)) else (),
        published=published,
        source=source,
        folder=folder.absolute(),
    )


def _published(parts: Parts) -> Iterator[Published]:
    if parts.readout_name is None:
        return
    own = ("column", "value", "tolerance", "source")
    for path, model in parts.entries("published", TypeAdapter(published_form(parts.readout_name))):
        given = {name: value for name, value in model.given().items() if value is not None}
        where = tuple((name, value) for name, value in given.items() if name not in own)
        given = {name: value for name, value in given.items() if name in own}
        made = parts.make(path, lambda given=given, where=where: Published(**given, where=where))
        if made is not None:
            yield made


def limited(study: Study, limit: int) -> Study:
    """The same study with at most `limit` samples in each split."""
    datasets = [replace(dataset, config=dataset.config.limited(limit)) for dataset in study.datasets]
    backbones = [
        replace(backbone, tokens=replace(backbone.tokens, first_rows=True))
        if backbone.kind == "activations"
        else backbone
        for backbone in study.backbones
    ]
    return replace(study, datasets=tuple(datasets), backbones=tuple(backbones))


def _plain_section(parts: Parts, key: str, adapter: Any, cls: type[Any]) -> Any:
    model = parts.section(key, adapter)
    made = None if model is None else parts.make((key,), lambda: cls(**model.given()))
    return cls() if made is None else made


def _store(parts: Parts) -> StoreConfig:
    model = parts.section("store", STORE)
    made = model and parts.make(("store",), lambda: StoreConfig(dtype=model.dtype, memory_bytes=model.memory))
    return made or StoreConfig()


def _datasets(parts: Parts, folder: FilePath) -> Iterator[DatasetSpec]:
    seed = parts.raw("seed", 0)
    seed = seed if isinstance(seed, int) and seed >= 0 else 0
    first: dict[str, Path] = {}
    for path, model in parts.entries("datasets", DATASET):
        for made in expand(model, path, seed, folder):
            if isinstance(made, Sentence):
                parts.note(*made)
                continue
            if made.name in first:
                parts.note((*path, "name"), f"duplicate name {made.name!r}, first in {path_text(first[made.name])}")
            first.setdefault(made.name, path)
            yield made


def _backbones(parts: Parts, folder: FilePath) -> Iterator[tuple[BackboneConfig, Layers | None]]:
    if parts.raw("backbones", ()) == () and parts.raw("controls", ()) == ():
        parts.note(("backbones",), "empty grid: needs at least one backbone or control")
    controls = parts.raw("controls", ())
    for number, name in enumerate(controls if isinstance(controls, tuple) and not parts.raw("backbones", ()) else ()):
        if name in BACKBONE_CONTROLS:
            parts.note(("controls", number), f"{name} is a control of backbones, and there are none")
    first: dict[BackboneConfig, Path] = {}
    for path, entry in parts.entries("backbones", BACKBONE):
        given = {"source": entry} if isinstance(entry, str) else entry.given()
        at = path if isinstance(entry, str) else (*path, "source")
        layers = read_layers(parts, (*path, "layers"), given.pop("layers", None))
        if given.get("precision") == "auto":
            given["precision"] = rates().choice
        if given["source"].partition(":")[0] == "paper":
            given, layers = _paper(parts, at, given, layers)
        config = None if given is None else _backbone(parts, path, at, given, folder)
        if config is None:
            continue
        if config in first:
            parts.note(path, f"duplicate entry, the same as {path_text(first[config])}")
        first.setdefault(config, path)
        yield config, layers


def _paper(parts: Parts, at: Path, given: dict[str, Any], layers: Any) -> tuple[dict[str, Any] | None, Any]:
    """Settings of one of the paper's backbones; what the entry says beside its name takes their place."""
    name = given["source"].partition(":")[2]
    if name not in PAPER:
        parts.note(at, f"unknown backbone of the paper {name!r}; {did_you_mean(name, PAPER)}")
        return None, None
    choice = PAPER[name]
    settings = {"image_size": choice.config.image_size, **given, "source": choice.config.source}
    return settings, choice.layers if layers is None else layers


def _backbone(parts: Parts, path: Path, at: Path, given: dict[str, Any], folder: FilePath) -> BackboneConfig | None:
    kind, _, name = given["source"].partition(":")
    if kind in KINDS and (fault := LIBRARIES.fault(kind)):
        parts.note(at, fault)
    if kind == "control":
        parts.note(at, f"controls are named under `controls:`, got {given['source']!r}")
    if kind == "random" and name.startswith("shipped:"):
        kind, name = "shipped", name.removeprefix("shipped:")
    if kind == "shipped" and name not in SHIPPED:
        parts.note(at, f"unknown shipped backbone {name!r}; {did_you_mean(name, SHIPPED)}")
    if given.get("weights") is not None:
        given["weights"] = study_path(folder, given["weights"].removeprefix("file:"))
    for library in ("hf:", "open_clip:"):
        prefix, _, place = given["source"].rpartition(library)
        if prefix in ("", "random:") and place.startswith(("./", "../", "~")):
            given["source"] = study_path(folder, place, prefix=f"{prefix}{library}", is_marked=True)
    if kind == "activations" and name:
        given["source"] = study_path(folder, name, prefix="activations:")
    if "tokens" in given:
        tokens = parts.make((*path, "tokens"), lambda: TokenNames(**given["tokens"].given()))
        given["tokens"] = tokens or TokenNames()
    known = len(parts.found)
    config = parts.make(path, lambda: BackboneConfig(**given))
    if at == path:  # the entry is the source itself
        parts.found[known:] = [Sentence(path, found.message) for found in parts.found[known:]]
    return config
