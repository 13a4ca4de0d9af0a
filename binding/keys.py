"""The read-out's keys of a study file: their form, and what is made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Discriminator, Tag, TypeAdapter, WrapValidator
from pydantic import Field as ModelField

from binding._pack import Products
from binding.extras import EXTRAS, Extra
from binding.fit import FitConfig
from binding.probes import ALIASES, FAMILIES, Probe
from binding.search import ProbeSpace, ProbeSpec, SearchConfig
from binding.through_keys import Through, ThroughForm, read_through
from frozen.capture.views import MODES, Mode
from frozen.plain import Plain, mapping_of, plain
from frozen.problems import path_text
from frozen.ranges import Choices, Range
from frozen.rates import rates
from frozen.readout.forms import (
    Border,
    Distinct,
    TypeForm,
    list_of,
    literal,
    model_of,
    named_in,
    setting,
    size_in_bytes,
    without_default,
)
from frozen.readout.layers import Layers, LayersForm, read_layers, resolved_layers
from frozen.readout.readout import Path, StudyReader

_DEFAULT_FEATURE_PROBE = "quadratic_concat"


def _probe_model(suffix: str, extra: dict[str, Any], family: str, cls: type[Probe]) -> type[Border]:
    names = [family, *(alias for alias, name in ALIASES.items() if name == family)]
    low, high = cls.learning_rates
    fields = {
        "family": (literal(names), ModelField(description="Probe family.")),
        "learning_rate": _set_by_fit("Step size of Adam", f"; where it gives none, tuned between {low} and {high}."),
        "weight_decay": _set_by_fit("L2 penalty, added to the gradient (not decoupled)", "."),
    }
    return model_of(cls, f"{cls.__name__}{suffix}", wrap=setting, extra=fields | extra)


def _set_by_fit(what: str, otherwise: str) -> tuple[TypeForm, Any]:
    text = f"{what}; by default that of `fit`{otherwise}"
    field = ModelField(default=None, description=text, json_schema_extra=without_default)
    return setting("", float, float), field


def _text_tag(value: object) -> str:
    return "<text>" if isinstance(value, str) else "<mapping>"


FeatureProbe: TypeForm = named_in(FAMILIES, "family", partial(_probe_model, "FeatureProbe", {}), ALIASES)
_feature_probe_field = ModelField(
    default=None,
    description="Probe of the features where it is another one; by default the same family and settings, "
    "and quadratic_concat for families that only measure objects.",
)
_with_feature_probe = {"feature_probe": (FeatureProbe | None, _feature_probe_field)}
ProbeEntry: TypeForm = named_in(FAMILIES, "family", partial(_probe_model, "Probe", _with_feature_probe), ALIASES)
_FitMapping = model_of(FitConfig, "Fit", types_of={"products": Literal[*get_args(Products), "auto"]})
Fit: TypeForm = Annotated[
    Annotated[Literal["paper"], Tag("<text>")] | Annotated[_FitMapping, Tag("<mapping>")], Discriminator(_text_tag)
]
Search: TypeForm = model_of(SearchConfig, "Search")


class BindingKeys(Border):
    """Keys of a study with `readout: binding`.

    Any setting of a probe may be a value, `{choices: [a, b]}` or `{low: a, high: b, log: true}`; what is not fixed is
    tuned. Left out of the grid: a mode the backbone does not offer, attention on pooled modes, all other families on
    the mode `all`. Controls have one layer and are read in the mode `cls`.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    layers: LayersForm  # pyright: ignore[reportInvalidTypeForm]
    """embed, final and numbers of blocks, negative ones from the end, or a part of a block as 11.attention (mid,
    attention, mlp, heads, heads.NUMBER, mlp_hidden, values); all in the place of a number is every one, as
    all.attention or all.heads.all (a cell a head); or all; or {every: 4}, all thinned out."""
    modes: list_of(literal(MODES))  # pyright: ignore[reportInvalidTypeForm]
    """What of a layer's tokens a probe sees."""
    probes: Annotated[tuple[ProbeEntry, ...], ModelField(min_length=1)]  # pyright: ignore[reportInvalidTypeForm]
    """Probe families; any setting may be {choices: [..]} or {low: .., high: .., log: true}."""
    fit: Fit = ModelField(default_factory=_FitMapping)  # pyright: ignore[reportInvalidTypeForm]
    """How a probe is trained; `paper` for the settings of the paper's script."""
    search: Search = ModelField(default_factory=Search)  # pyright: ignore[reportInvalidTypeForm]
    """How much a cell is tuned."""
    seeds: Annotated[int, ModelField(ge=1)] = 2
    """Times the best probe of each cell is trained anew."""
    keep_probes: Annotated[int | str, WrapValidator(size_in_bytes)] = 10 * 10**6
    """Most bytes of tuned probes kept of each cell, in results/NAME/probes: as many seeds as fit; 0 keeps none."""
    extras: Annotated[tuple[literal(EXTRAS), ...], Distinct] = ()  # pyright: ignore[reportInvalidTypeForm]
    """Measures that cost more trainings: selectivity, information beyond that about a control code; mdl, the
    length of an online code of the objects; orders, how much hangs on the order of the objects; and leave_one_out, of
    heads alone (`layers: [all.heads.all]`), what the other heads of the block do not hold."""
    through: Annotated[tuple[ThroughForm, ...], Distinct] = ()  # pyright: ignore[reportInvalidTypeForm]
    """Maps through which activations are read too, for what they keep of binding: class_logits, joint (from the end
    of the model to the space of images and texts), dictionary (those that `concepts` in the same file trains at these
    layers), dictionary.conjunction or dictionary.feature (their atoms of that kind alone, and as many random ones
    beside), or the file of a map with its layer, as {map: dictionary, file: sae.safetensors, layer: 3}."""


_PROBE = TypeAdapter[Any](ProbeEntry)
_FIT = TypeAdapter[Any](Fit)
_SEARCH = TypeAdapter[Any](Search)


@dataclass(frozen=True)
class BindingStudy:
    """The read-out's keys, as frozen values."""

    layers: Layers
    """embed, final and numbers of blocks, negative ones from the end; ("all",) for every layer; or a stride."""
    modes: tuple[Mode, ...]
    """What of a layer's tokens a probe sees."""
    probes: tuple[ProbeSpec, ...]
    """Probe families."""
    fit: FitConfig
    """How a probe is trained."""
    search: SearchConfig
    """How much a cell is tuned."""
    seeds: int
    """Times the best probe of each cell is trained anew."""
    keep_probes_bytes: int = 10 * 10**6
    """Most bytes of tuned probes kept of each cell."""
    extras: tuple[Extra, ...] = ()
    """Measures made beside, at the cost of more trainings."""
    through: tuple[Through, ...] = ()
    """Maps through which activations are read too."""

    def resolved(self) -> Mapping[str, Plain]:
        """In the form of a study file."""
        return {
            "layers": resolved_layers(self.layers),
            "modes": list(self.modes),
            "probes": [_resolved_probe(probe) for probe in self.probes],
            "fit": mapping_of(self.fit),
            "search": mapping_of(self.search),
            "seeds": self.seeds,
            "keep_probes": self.keep_probes_bytes,
            "extras": list(self.extras),
            "through": [plain(one) for one in self.through],
        }


def _resolved_probe(probe: ProbeSpec) -> dict[str, Plain]:
    other = probe.feature_probe
    return {**_resolved_space(probe.space), "feature_probe": None if other is None else _resolved_space(other)}


def _resolved_space(space: ProbeSpace) -> dict[str, Plain]:
    return {"family": space.family, **{name: plain(setting) for name, setting in space.settings}}


def read_keys(reader: StudyReader) -> BindingStudy | None:
    """The read-out's keys, or None if they have mistakes, which are noted."""
    fit = _fit(reader)
    probes = tuple(_probes(reader, fit))
    search = _section(reader, "search", _SEARCH, SearchConfig)
    study = reader.study
    if study is None or (layers := read_layers(reader, ("layers",), study.layers)) is None:
        return None
    return BindingStudy(
        layers=layers,
        modes=study.modes,
        probes=probes,
        fit=fit,
        search=search,
        seeds=study.seeds,
        keep_probes_bytes=study.keep_probes,
        extras=tuple(extra for extra in EXTRAS if extra in study.extras),
        through=read_through(study.through),
    )


def _section(reader: StudyReader, key: str, adapter: TypeAdapter, cls: type[Any]) -> Any:
    model = reader.section(key, adapter)
    made = None if model is None else reader.make((key,), lambda: cls(**model.given()))
    return cls() if made is None else made


def _fit(reader: StudyReader) -> FitConfig:
    if reader.raw("fit", {}) == "paper":
        return FitConfig.paper()
    model = reader.section("fit", _FIT)
    given = {} if model is None else model.given()
    if given.get("products") == "auto":
        given["products"] = rates().choice
    return reader.make(("fit",), lambda: FitConfig(**given)) or FitConfig()


def _probes(reader: StudyReader, fit: FitConfig) -> Iterator[ProbeSpec]:
    first: dict[ProbeSpec, Path] = {}
    for path, model in reader.entries("probes", _PROBE):
        given = model.given()
        other = given.pop("feature_probe", None)
        space = _probe_space(reader, path, given, fit)
        feature_probe = None if other is None else _feature_probe(reader, (*path, "feature_probe"), other, space, fit)
        if space is None:
            continue
        if feature_probe is None and FAMILIES[space.family].objects_only:
            feature_probe = _same_settings(space)
        probe = ProbeSpec(space.family, space, feature_probe)
        if probe in first:
            reader.note(path, f"duplicate entry, the same as {path_text(first[probe])}")
        first.setdefault(probe, path)
        yield probe


def _probe_space(reader: StudyReader, path: Path, given: dict[str, Any], fit: FitConfig) -> ProbeSpace | None:
    family: str = given["family"]
    settings: dict[str, Any] = {}
    for name, value in given.items():
        if name == "family":
            continue
        if not isinstance(value, Border):
            settings[name] = value
        elif (made := reader.make((*path, name), lambda value=value: _setting(value))) is not None:
            settings[name] = made
    return reader.make(path, lambda: fit.probe_space(ALIASES.get(family, family), settings))


def _setting(model: Border) -> Range | Choices:
    given = model.given()
    return Choices(**given) if "choices" in given else Range(**given)


def _feature_probe(
    reader: StudyReader, path: Path, model: Border, probe: ProbeSpace | None, fit: FitConfig
) -> ProbeSpace | None:
    space = _probe_space(reader, path, model.given(), fit)
    if space is None:
        return None
    family = FAMILIES[space.family]
    if family.objects_only:
        reader.note(
            (*path, "family"), f"{space.family} shares parameters between objects, it has no probe for features"
        )
    if probe is not None and family.reads_tokens != FAMILIES[probe.family].reads_tokens:
        reads = "all tokens" if family.reads_tokens else "one vector"
        reader.note((*path, "family"), f"{space.family} reads {reads}, {probe.family} does not")
    return space


def _same_settings(space: ProbeSpace) -> ProbeSpace:
    """The default feature probe of a family that only measures objects, with the settings both have."""
    known = {item.name for item in fields(FAMILIES[_DEFAULT_FEATURE_PROBE])}
    shared: dict[str, Any] = {name: value for name, value in space.settings if name in known}
    return ProbeSpace.of(_DEFAULT_FEATURE_PROBE, **shared)
