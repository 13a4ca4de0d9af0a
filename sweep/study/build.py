"""From the settings of a study file to its `Space`, or to all that is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path as FilePath
from typing import Any

from binding.extras import EXTRAS
from binding.fit import FitConfig
from binding.information import IntervalConfig
from binding.probes import ALIASES, FAMILIES
from binding.search import Choices, ProbeSpace, Range, SearchConfig
from frozen.models import (
    BACKBONE_CONTROLS,
    CONTROL_ALIASES,
    KINDS,
    LIBRARIES,
    PAPER,
    SHIPPED,
    BackboneConfig,
    TokenNames,
)
from sweep.study.datasets import expand
from sweep.study.errors import StudyError, did_you_mean
from sweep.study.generate import Border
from sweep.study.parts import Parts
from sweep.study.place import Settings, path_text
from sweep.study.schema import BACKBONE, DATASET, FIT, INTERVALS, PROBE, PUBLISHED, SEARCH, STORE
from sweep.study.sentences import Sentence
from sweep.study.study import DatasetSpec, Layers, LayerStride, ProbeSpec, Published, Space, StoreConfig
from sweep.study.yaml import Path

_DEFAULT_FEATURE_PROBE = "quadratic_concat"


def build(settings: Settings, folder: FilePath, source: str) -> Space:
    """Check settings and make the study of them.

    Args:
        settings: what the file and the overrides say.
        folder: what relative paths are relative to.
        source: text of the file.

    Raises:
        StudyError: with all mistakes.
    """
    parts = Parts(settings)
    datasets = tuple(_datasets(parts, folder))
    backbones = tuple(_backbones(parts, folder))
    layers = _layers(parts, ("layers",), parts.study and parts.study.layers)
    fit = _fit(parts)
    probes = tuple(_probes(parts, fit))
    search = _plain_section(parts, "search", SEARCH, SearchConfig)
    intervals = _plain_section(parts, "intervals", INTERVALS, IntervalConfig)
    store = _store(parts)
    published = tuple(_published(parts))
    problems = [*settings.problems, *(settings.problem(*sentence) for sentence in parts.found)]
    if problems:
        raise StudyError(problems)
    study = parts.study
    return Space(
        name=study.name,
        readout=study.readout,
        seed=study.seed,
        datasets=datasets,
        backbones=tuple(backbone for backbone, _ in backbones),
        layers=layers,
        modes=study.modes,
        controls=tuple(dict.fromkeys(CONTROL_ALIASES.get(str(name), str(name)) for name in study.controls)),
        probes=probes,
        fit=fit,
        search=search,
        seeds=study.seeds,
        intervals=intervals,
        store=store,
        backbone_layers=own if any(own := tuple(layers for _, layers in backbones)) else (),
        keep_probes_bytes=study.keep_probes,
        extras=tuple(extra for extra in EXTRAS if extra in study.extras),
        published=published,
        source=source,
    )


def _published(parts: Parts) -> Iterator[Published]:
    for path, model in parts.entries("published", PUBLISHED):
        made = parts.make(path, lambda model=model: Published(**model.given()))
        if made is not None:
            yield made


def limited(space: Space, limit: int) -> Space:
    """The same study with at most `limit` samples in each split."""
    datasets = [replace(dataset, config=dataset.config.limited(limit)) for dataset in space.datasets]
    backbones = [
        replace(backbone, tokens=replace(backbone.tokens, first_rows=True))
        if backbone.kind == "activations"
        else backbone
        for backbone in space.backbones
    ]
    return replace(space, datasets=tuple(datasets), backbones=tuple(backbones))


def _plain_section(parts: Parts, key: str, adapter: Any, cls: type[Any]) -> Any:
    model = parts.section(key, adapter)
    made = None if model is None else parts.make((key,), lambda: cls(**model.given()))
    return cls() if made is None else made


def _fit(parts: Parts) -> FitConfig:
    return FitConfig.paper() if parts.raw("fit", {}) == "paper" else _plain_section(parts, "fit", FIT, FitConfig)


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


def _layers(parts: Parts, path: Path, given: Any) -> Any:
    """Layers as a study holds them; None where nothing is given."""
    if isinstance(given, Border):
        return parts.make(path, lambda: LayerStride(**given.given()))
    return ("all",) if given == "all" else given


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
        layers = _layers(parts, (*path, "layers"), given.pop("layers", None))
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
        given["weights"] = _absolute(folder, given["weights"].removeprefix("file:"))
    prefix, _, place = given["source"].rpartition("hf:")
    if prefix in ("", "random:") and place.startswith(("./", "../", "~")):
        given["source"] = f"{prefix}hf:{_absolute(folder, place)}"
    if kind == "activations" and name:
        given["source"] = f"activations:{_absolute(folder, name)}"
    if "tokens" in given:
        tokens = parts.make((*path, "tokens"), lambda: TokenNames(**given["tokens"].given()))
        given["tokens"] = tokens or TokenNames()
    known = len(parts.found)
    config = parts.make(path, lambda: BackboneConfig(**given))
    if at == path:  # the entry is the source itself
        parts.found[known:] = [Sentence(path, found.message) for found in parts.found[known:]]
    return config


def _absolute(folder: FilePath, path: str) -> str:
    return os.path.abspath(folder / os.path.expanduser(path))  # noqa: PTH100, PTH111, links are kept


def _probes(parts: Parts, fit: FitConfig) -> Iterator[ProbeSpec]:
    first: dict[ProbeSpec, Path] = {}
    for path, model in parts.entries("probes", PROBE):
        given = model.given()
        other = given.pop("feature_probe", None)
        space = _probe_space(parts, path, given, fit)
        feature_probe = None if other is None else _feature_probe(parts, (*path, "feature_probe"), other, space, fit)
        if space is None:
            continue
        if feature_probe is None and FAMILIES[space.family].objects_only:
            feature_probe = _same_settings(space)
        probe = ProbeSpec(space.family, space, feature_probe)
        if probe in first:
            parts.note(path, f"duplicate entry, the same as {path_text(first[probe])}")
        first.setdefault(probe, path)
        yield probe


def _probe_space(parts: Parts, path: Path, given: dict[str, Any], fit: FitConfig) -> ProbeSpace | None:
    family: str = given["family"]
    settings: dict[str, Any] = dict(fit.probe_defaults())
    for name, value in given.items():
        if name == "family":
            continue
        if not isinstance(value, Border):
            settings[name] = value
        elif (made := parts.make((*path, name), lambda value=value: _setting(value))) is not None:
            settings[name] = made
    return parts.make(path, lambda: ProbeSpace.of(ALIASES.get(family, family), **settings))


def _setting(model: Border) -> Range | Choices:
    given = model.given()
    return Choices(**given) if "choices" in given else Range(**given)


def _feature_probe(
    parts: Parts, path: Path, model: Border, probe: ProbeSpace | None, fit: FitConfig
) -> ProbeSpace | None:
    space = _probe_space(parts, path, model.given(), fit)
    if space is None:
        return None
    family = FAMILIES[space.family]
    if family.objects_only:
        parts.note(
            (*path, "family"), f"{space.family} shares parameters between objects, it has no probe for features"
        )
    if probe is not None and family.reads_tokens != FAMILIES[probe.family].reads_tokens:
        reads = "all tokens" if family.reads_tokens else "one vector"
        parts.note((*path, "family"), f"{space.family} reads {reads}, {probe.family} does not")
    return space


def _same_settings(space: ProbeSpace) -> ProbeSpace:
    """The default feature probe of a family that only measures objects, with the settings both have."""
    known = {item.name for item in fields(FAMILIES[_DEFAULT_FEATURE_PROBE])}
    shared: dict[str, Any] = {name: value for name, value in space.settings if name in known}
    return ProbeSpace.of(_DEFAULT_FEATURE_PROBE, **shared)
