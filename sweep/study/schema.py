"""What a study file may say: the engine's keys, and those of its read-out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Tag,
    TypeAdapter,
    WithJsonSchema,
    WrapValidator,
    create_model,
)
from pydantic import Field as ModelField
from pydantic.json_schema import models_json_schema

from frozen.data.readers import READERS
from frozen.data.scenes import SCENES
from frozen.intervals import IntervalConfig
from frozen.models import BackboneConfig, Precision
from frozen.problems import did_you_mean, show
from frozen.readout.forms import (
    Border,
    Distinct,
    TypeForm,
    complaint,
    gridded,
    list_of,
    literal,
    model_of,
    named_in,
    size_in_bytes,
)
from frozen.readout.layers import LayersForm
from frozen.readout.readout import Readout, find_readout, readout_names

DATASET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}(\[[A-Za-z0-9._=,+-]{1,160}\])?")
"""In brackets: which point of a grid."""
DEFAULT_READOUT = "binding"
"""Of studies that name none."""

_KIND_TEXTS = {
    "scene": "Kind of data set whose object codes are known.",
    "data": "Kind of data set with other labels; python -m sweep.list data shows them.",
}
_STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_NAME_RULE = "must be 1 to 80 letters, digits, dots, dashes or underscores and begin with a letter or digit"


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
    if name not in readout_names():
        raise complaint(f"unknown readout {show(name)}; {did_you_mean(name, readout_names())}")
    return name


def _text_tag(value: object) -> str:
    return "<text>" if isinstance(value, str) else "<mapping>"


def _scene_model(name: str, cls: type) -> type[Border]:
    return _dataset_model("scene", name, cls)


def _reader_model(name: str, cls: type) -> type[Border]:
    return _dataset_model("data", name, cls)


def _dataset_model(key: str, kind: str, cls: type) -> type[Border]:
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
            key: (literal([kind]), ModelField(description=_KIND_TEXTS[key])),
            "vary": (list_of(point), vary),
        },
    )


def _dataset_tag(value: object) -> str:
    has_data = "data" in value and "scene" not in value if isinstance(value, dict) else hasattr(value, "data")
    return "<data>" if has_data else "<scene>"


Dataset: TypeForm = Annotated[
    Annotated[named_in(SCENES, "scene", _scene_model, {}), Tag("<scene>")]
    | Annotated[named_in(READERS, "data", _reader_model, {}), Tag("<data>")],
    Discriminator(_dataset_tag),
]
Intervals: TypeForm = model_of(IntervalConfig, "Intervals")
_backbone_layers = ModelField(default=None, description="Layers of this backbone; null takes the study's.")
Backbone: TypeForm = Annotated[
    Annotated[str, Tag("<text>")]
    | Annotated[
        model_of(
            BackboneConfig,
            "Backbone",
            extra={"layers": (LayersForm | None, _backbone_layers)},
            types_of={"precision": literal((*get_args(Precision), "auto"))},
        ),
        Tag("<mapping>"),
    ],
    Discriminator(_text_tag),
]
StudyName: TypeForm = _named_by(_STUDY_NAME)


class Written(Border):
    """A mapping whose model is written out below; to look for docstrings of models made of others takes seconds."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Store(Written):
    """How activations are kept."""

    dtype: Literal["float16", "float32"] = "float16"
    """Type of stored activations; read-outs compute in float32 either way. float16 is centred and scaled channel by
    channel, so that neither an offset nor a small size erases anything."""
    memory: Annotated[int | str, WrapValidator(size_in_bytes)] = 4 * 10**9
    """Shared memory for activations in use: bytes, or a size such as 4GB or 500MB."""


class PublishedNumber(Written):
    """A published number, held against what the study measures."""

    column: str
    """Column of the results."""
    value: float
    """The published number."""
    tolerance: float
    """Difference that still counts as reproduced."""
    dataset: str | None = None
    """Only cells of this data set."""
    backbone: str | None = None
    """Only cells of this backbone, as the results name it."""
    source: str = ""
    """Where it was published."""


class EngineKeys(Written):
    """Keys that every study has, whatever its read-out."""

    name: StudyName  # pyright: ignore[reportInvalidTypeForm]
    """Results go to results/NAME."""
    folder: str | None = None
    """What relative paths are relative to; null takes the folder of this file. The study in a
    folder of results says it."""
    readout: Annotated[str, AfterValidator(_readout)] = DEFAULT_READOUT
    """What is measured."""
    seed: Annotated[int, ModelField(ge=0)] = 0
    """Seed of all that is drawn by chance, unless a data set has its own."""
    datasets: Annotated[tuple[Dataset, ...], ModelField(min_length=1)]  # pyright: ignore[reportInvalidTypeForm]
    """Data sets; any field may be {grid: [..]}."""
    backbones: tuple[Backbone, ...] = ()  # pyright: ignore[reportInvalidTypeForm]
    """Frozen models: shipped:NAME, timm:NAME, hf:REPO, open_clip:NAME/TAG, random:NAME, paper:NAME,
    activations:FILE, or a mapping with more settings."""
    controls: Any = ()
    """Set by `study_form`: which there are is the read-out's to say."""
    intervals: Intervals = ModelField(default_factory=Intervals)  # pyright: ignore[reportInvalidTypeForm]
    """Confidence intervals."""
    store: Store = ModelField(default_factory=Store)
    """How activations are kept."""
    published: Any = ()
    """Set by `study_form`: the read-out's dimensions say what a number is about."""


_CONTROLS_TEXT = (
    "Inputs whose answer is known beforehand, measured like a backbone; and for each backbone random_init, its "
    "architecture untrained, and shuffled, its last layer with samples permuted."
)
_PUBLISHED_TEXT = "Published numbers; a run ends with a table of published, measured and difference."


@cache
def study_form(name: str) -> type[Border]:
    """The form of study files of a read-out."""
    readout = find_readout(name)
    controls = (*readout.control_meanings, *readout.control_aliases)
    number = published_form(name)
    return create_model(
        f"{name.title().replace('_', '')}Study",
        __base__=(readout.keys, EngineKeys),
        __doc__=f"A study with `readout: {name}`: a grid of cells and how each is measured.",
        controls=(
            Annotated[tuple[literal(controls), ...], Distinct],  # pyright: ignore[reportInvalidTypeForm]
            ModelField(default=(), description=_CONTROLS_TEXT),
        ),
        published=(
            tuple[number, ...],  # pyright: ignore[reportInvalidTypeForm]
            ModelField(default=(), description=_PUBLISHED_TEXT),
        ),
    )


@cache
def published_form(name: str) -> type[Border]:
    """The form of a published number of a read-out: it may name values of the read-out's dimensions."""
    readout: Readout = find_readout(name)
    dimensions: Mapping[str, Any] = {
        one.name: (str | None, ModelField(default=None, description=f"Only cells of this {one.label}."))
        for one in readout.dimensions
    }
    return create_model("PublishedNumber", __base__=PublishedNumber, __doc__=PublishedNumber.__doc__, **dimensions)


DATASET = TypeAdapter[Any](Dataset)
BACKBONE = TypeAdapter[Any](Backbone)
INTERVALS = TypeAdapter[Any](Intervals)
STORE = TypeAdapter[Any](Store)


class JsonForms(NamedTuple):
    """JSON schema of study files of one read-out.

    Attributes:
        chosen: the form of the read-out that a study names.
        forms: by read-out.
        definitions: what forms refer to, each once.
    """

    chosen: dict[str, Any]
    forms: dict[str, Any]
    definitions: dict[str, Any]


def json_forms(names: Sequence[str]) -> JsonForms:
    """Of these read-outs."""
    places, schema = models_json_schema(
        [(study_form(name), "validation") for name in names], ref_template="#/$defs/{model}"
    )
    definitions = schema["$defs"]
    forms = {name: definitions.pop(places[study_form(name), "validation"]["$ref"].split("/")[-1]) for name in names}
    chosen: dict[str, Any] = {"$ref": f"#/$defs/{DEFAULT_READOUT}"}
    for name in names:
        if name != DEFAULT_READOUT:
            is_it = {"properties": {"readout": {"const": name}}, "required": ["readout"]}
            chosen = {"if": is_it, "then": {"$ref": f"#/$defs/{name}"}, "else": chosen}
    return JsonForms(chosen, forms, definitions)
