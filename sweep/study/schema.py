"""What a study file may say."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import entry_points
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Tag,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    WrapValidator,
)
from pydantic import Field as ModelField

from binding.extras import EXTRAS
from binding.fit import FitConfig
from binding.information import IntervalConfig
from binding.probes import ALIASES, FAMILIES, Probe
from binding.search import SearchConfig
from frozen.capture.views import MODES
from frozen.data.scenes import SCENES
from frozen.models import BACKBONE_CONTROLS, CONTROL_ALIASES, CONTROLS, BackboneConfig
from frozen.registry import Registry
from sweep.study.errors import did_you_mean
from sweep.study.generate import (
    Border,
    Distinct,
    TypeForm,
    complaint,
    gridded,
    list_of,
    literal,
    model_of,
    named,
    setting,
    without_default,
)
from sweep.study.study import LayerStride, Published
from sweep.study.yaml import show

DATASET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}(\[[A-Za-z0-9._=,+-]{1,160}\])?")
"""In brackets: which point of a grid."""

_STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_NAME_RULE = "must be 1 to 80 letters, digits, dots, dashes or underscores and begin with a letter or digit"
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]i?)?B", re.IGNORECASE)
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_FACTORS |= {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def _named_by(pattern: re.Pattern[str]) -> TypeForm:
    """Names that are harmless as parts of paths."""

    def check(name: str) -> str:
        if not pattern.fullmatch(name):
            raise complaint(f"{_NAME_RULE}, got {show(name)}")
        return name

    return Annotated[
        str, AfterValidator(check), WithJsonSchema({"type": "string", "pattern": f"^{pattern.pattern}$"})
    ]


def _readout(name: str) -> str:
    """`binding` is always there; others are found among the installed packages."""
    if name != "binding":
        known = sorted({"binding", *(point.name for point in entry_points(group="sweep.readouts"))})
        if name not in known:
            raise complaint(f"unknown readout {show(name)}; {did_you_mean(name, known)}")
    return name


def _layer(value: object, inner: Callable[[object], Any]) -> Any:
    try:
        return inner(value)
    except ValidationError:
        hint = f"; {did_you_mean(value, ['embed', 'final'])}" if isinstance(value, str) else ""
        raise complaint(f"expected embed, final or the number of a block, got {show(value)}{hint}") from None


def _memory(value: object, inner: Callable[[object], Any]) -> int:
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match:
        return int(float(match[1]) * _FACTORS[(match[2] or "").lower()])
    try:
        return inner(value) if isinstance(value, int) else inner(None)
    except ValidationError:
        raise complaint(f"expected bytes or a size such as 4GB or 500MB, got {show(value)}") from None


def _text_tag(value: object) -> str:
    return "<text>" if isinstance(value, str) else "<mapping>"


def _layers_tag(value: object) -> str:
    if value == "all":
        return "<all>"
    return "<stride>" if isinstance(value, dict | Border) else "<list>"


def _dataset_model(scene: str, cls: type) -> type[Border]:
    name = cls.__name__
    point = model_of(cls, f"{name}Vary", is_partial=True)
    vary = ModelField(
        default=(),
        description="Fields that move together: a data set for each entry, such as {n_colors: 2, n_shapes: 2}.",
    )
    return model_of(
        cls,
        f"{name}Dataset",
        wrap=gridded,
        extra={
            "name": (_named_by(DATASET_NAME), ModelField(description="Unique in the study; part of folder names.")),
            "scene": (literal([scene]), ModelField(description="Kind of data set.")),
            "vary": (list_of(point), vary),
        },
    )


def _probe_model(suffix: str, extra: dict[str, Any], family: str, cls: type[Probe]) -> type[Border]:
    names = [family, *(alias for alias, name in ALIASES.items() if name == family)]
    low, high = cls.learning_rates
    fields = {
        "family": (literal(names), ModelField(description="Probe family.")),
        "learning_rate": _set_by_fit("Step size of Adam", f"; where it gives none, tuned between {low} and {high}."),
        "weight_decay": _set_by_fit("L2 penalty, added to the gradient (not decoupled)", "."),
    }
    return model_of(cls, f"{cls.__name__}{suffix}", wrap=setting, extra=fields | extra)


def _named_in(
    registry: Registry[Any], key: str, model: Callable[[str, Any], type[Border]], aliases: Mapping[str, str]
) -> TypeForm:
    """What a registry has, by name; a part of another package that has no model is refused where it is named."""
    faults = registry.faults()
    models = {name: model(name, cls) for name, cls in registry.own.items() if name not in faults}
    for name in [name for name in registry if name not in registry.own]:
        try:
            models[name] = model(name, registry[name])
            models[name].model_rebuild(force=True)
        except Exception as error:  # noqa: BLE001, another package may have fields of any kind
            reason = str(error).partition("\n")[0]
            faults[name] = f"{key} {name!r} has a field that a study file cannot set: {reason}; see docs/extending.md"
    return named(key, models, aliases, faults)


def _set_by_fit(what: str, otherwise: str) -> tuple[TypeForm, Any]:
    text = f"{what}; by default that of `fit`{otherwise}"
    field = ModelField(default=None, description=text, json_schema_extra=without_default)
    return setting("", float, float), field


Dataset: TypeForm = _named_in(SCENES, "scene", _dataset_model, {})
FeatureProbe: TypeForm = _named_in(FAMILIES, "family", partial(_probe_model, "FeatureProbe", {}), ALIASES)
_feature_probe = ModelField(
    default=None,
    description="Probe of the features where it is another one; by default the same family and settings, "
    "and quadratic_concat for families that only measure objects.",
)
_with_feature_probe = {"feature_probe": (FeatureProbe | None, _feature_probe)}
ProbeEntry: TypeForm = _named_in(FAMILIES, "family", partial(_probe_model, "Probe", _with_feature_probe), ALIASES)
_FitMapping = model_of(FitConfig, "Fit")
Fit: TypeForm = Annotated[
    Annotated[Literal["paper"], Tag("<text>")] | Annotated[_FitMapping, Tag("<mapping>")], Discriminator(_text_tag)
]
Search: TypeForm = model_of(SearchConfig, "Search")
Intervals: TypeForm = model_of(IntervalConfig, "Intervals")
_Layer = Annotated[int | Literal["embed", "final"], WrapValidator(_layer)]
Layers: TypeForm = Annotated[
    Annotated[Literal["all"], Tag("<all>")]
    | Annotated[list_of(_Layer), Tag("<list>")]
    | Annotated[model_of(LayerStride, "LayerStride"), Tag("<stride>")],
    Discriminator(_layers_tag),
]
_backbone_layers = ModelField(default=None, description="Layers of this backbone; null takes the study's.")
Backbone: TypeForm = Annotated[
    Annotated[str, Tag("<text>")]
    | Annotated[
        model_of(BackboneConfig, "Backbone", extra={"layers": (Layers | None, _backbone_layers)}), Tag("<mapping>")
    ],
    Discriminator(_text_tag),
]


PublishedNumber: TypeForm = model_of(Published, "PublishedNumber")
StudyName: TypeForm = _named_by(_STUDY_NAME)


class Written(Border):
    """A mapping whose model is written out below; to look for docstrings of models made of others takes seconds."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Store(Written):
    """How activations are kept."""

    dtype: Literal["float16", "float32"] = "float16"
    """Type of stored activations; probes compute in float32 either way. float16 is centred and scaled channel by
    channel, so that neither an offset nor a small size erases anything."""
    memory: Annotated[int | str, WrapValidator(_memory)] = 4 * 10**9
    """Shared memory for activations in use: bytes, or a size such as 4GB or 500MB."""


class Study(Written):
    """A study: a grid of cells and how each is measured."""

    name: StudyName  # pyright: ignore[reportInvalidTypeForm]
    """Results go to results/NAME."""
    readout: Annotated[str, AfterValidator(_readout)] = "binding"
    """What is measured."""
    seed: Annotated[int, ModelField(ge=0)] = 0
    """Seed of all that is drawn by chance, unless a data set has its own."""
    datasets: Annotated[tuple[Dataset, ...], ModelField(min_length=1)]  # pyright: ignore[reportInvalidTypeForm]
    """Data sets; any field may be {grid: [..]}."""
    backbones: tuple[Backbone, ...] = ()  # pyright: ignore[reportInvalidTypeForm]
    """Frozen models: shipped:NAME, timm:NAME, hf:REPO, random:NAME, paper:NAME, activations:FILE, or a mapping
    with more settings."""
    layers: Layers  # pyright: ignore[reportInvalidTypeForm]
    """embed, final and numbers of blocks, negative ones from the end; or all; or {every: 4}, all thinned out."""
    modes: list_of(literal(MODES))  # pyright: ignore[reportInvalidTypeForm]
    """What of a layer's tokens a probe sees."""
    controls: Annotated[tuple[literal((*CONTROLS, *BACKBONE_CONTROLS, *CONTROL_ALIASES)), ...], Distinct] = ()  # pyright: ignore[reportInvalidTypeForm]
    """Inputs whose answer is known beforehand, measured like a backbone of one layer (oracle is oracle_objects); and
    for each backbone random_init, its architecture untrained, and shuffled, its last layer with samples permuted."""
    probes: Annotated[tuple[ProbeEntry, ...], ModelField(min_length=1)]  # pyright: ignore[reportInvalidTypeForm]
    """Probe families; any setting may be {choices: [..]} or {low: .., high: .., log: true}."""
    fit: Fit = ModelField(default_factory=_FitMapping)  # pyright: ignore[reportInvalidTypeForm]
    """How a probe is trained; `paper` for the settings of the paper's script."""
    search: Search = ModelField(default_factory=Search)  # pyright: ignore[reportInvalidTypeForm]
    """How much a cell is tuned."""
    seeds: Annotated[int, ModelField(ge=1)] = 2
    """Times the best probe of each cell is trained anew."""
    intervals: Intervals = ModelField(default_factory=Intervals)  # pyright: ignore[reportInvalidTypeForm]
    """Confidence intervals."""
    store: Store = ModelField(default_factory=Store)
    """How activations are kept."""
    keep_probes: Annotated[int | str, WrapValidator(_memory)] = 10 * 10**6
    """Most bytes of tuned probes kept of each cell, in results/NAME/probes: as many seeds as fit; 0 keeps none."""
    extras: Annotated[tuple[literal(EXTRAS), ...], Distinct] = ()  # pyright: ignore[reportInvalidTypeForm]
    """Measures that cost more trainings: selectivity, information beyond that about a control code; and mdl, the
    length of an online code of the objects."""
    published: tuple[PublishedNumber, ...] = ()  # pyright: ignore[reportInvalidTypeForm]
    """Published numbers; a run ends with a table of published, measured and difference."""


DATASET = TypeAdapter[Any](Dataset)
BACKBONE = TypeAdapter[Any](Backbone)
PROBE = TypeAdapter[Any](ProbeEntry)
FIT = TypeAdapter[Any](Fit)
SEARCH = TypeAdapter[Any](Search)
INTERVALS = TypeAdapter[Any](Intervals)
PUBLISHED = TypeAdapter[Any](PublishedNumber)
STORE = TypeAdapter[Any](Store)


def json_schema() -> dict[str, Any]:
    """JSON schema of study files, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Study.model_json_schema()
