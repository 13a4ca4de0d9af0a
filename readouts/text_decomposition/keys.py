"""The read-out's keys of a study file: their form, and what is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, TypeAdapter
from pydantic import Field as ModelField

from frozen.models import BackboneConfig
from frozen.models.joint import joint_refusal
from frozen.plain import Plain, mapping_of
from frozen.readout.forms import Border, Grid, gridded, list_of, literal, model_of
from frozen.readout.readout import StudyReader
from readouts.text_decomposition.files import lines_of, placed
from readouts.text_decomposition.lens import Split
from readouts.text_decomposition.settings import (
    AUTO,
    HeatmapConfig,
    JointConfig,
    NeighboursConfig,
    SpuriousConfig,
    TextSpanConfig,
    is_member,
)

Analysis = Literal["ablation", "heads", "textspan", "heatmap", "forced_choice", "neighbours", "spurious"]
ANALYSES: tuple[Analysis, ...] = get_args(Analysis)
Means = Literal["held_out", "evaluated"]

TextSpanForm = model_of(TextSpanConfig, "TextSpan", wrap=gridded)
HeatmapForm = model_of(HeatmapConfig, "Heatmap")
NeighboursForm = model_of(NeighboursConfig, "Neighbours")
SpuriousForm = model_of(SpuriousConfig, "Spurious")
JointForm = model_of(JointConfig, "Joint")


class TextDecompositionKeys(Border):
    """Keys of a study with `readout: text_decomposition`."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    analyses: list_of(literal(ANALYSES)) = ANALYSES  # pyright: ignore[reportInvalidTypeForm]
    """What is measured beside the zero-shot accuracy and the exact sum: ablation (mean ablation of MLPs, of attention
    from CLS to itself, and of attention layer by layer), heads (each head and MLP removed by itself), textspan,
    heatmap, forced_choice (a scene's caption against that of its twin), neighbours, and spurious (heads of a cue that
    is not meant)."""
    preset: Literal["paper"] | None = None
    """paper: what the published code does where that moves a number; it fills in what the study leaves out."""
    means: Literal["held_out", "evaluated"] | None = None
    """Images whose means stand in for what is removed, and by which texts are chosen: the validation split (held_out,
    the default), or the evaluated images themselves (the paper)."""
    norm_split: Literal["uniform", "own_mean"] = "uniform"
    """How the mean of the final norm is shared among terms."""
    templates: Annotated[tuple[str, ...], ModelField(min_length=1)] | str | None = None
    """Prompts of the zero-shot classifier, or a file with one a line; {} is the class. open_clip:imagenet_templates
    are CLIP's for ImageNet. By default {} for scenes, whose classes are captions, and `a photo of a {}.` for labelled
    images."""
    classes: str | None = None
    """File with the name of a class a line, for labelled images that do not say what their classes are called;
    open_clip:imagenet_classes are CLIP's names of ImageNet's classes."""
    fit_split: str | None = None
    """Split that means come from; by default validation, val or train, the first that there is."""
    test_split: str | None = None
    """Split that is measured; by default test, or val."""
    sets: dict[str, tuple[str, ...]] = ModelField(default_factory=dict)
    """Sets of terms that are removed together, by name: 11.3 is head 3 of block 11; 11 all its heads, mlp.11 its MLP,
    mlps all MLPs and what enters the first block."""
    textspan: TextSpanForm = ModelField(default_factory=TextSpanForm)  # pyright: ignore[reportInvalidTypeForm]
    """Texts of heads; any setting may be {grid: [..]}."""
    heatmap: HeatmapForm = ModelField(default_factory=HeatmapForm)  # pyright: ignore[reportInvalidTypeForm]
    """Maps of texts, and the segmentation made of them."""
    neighbours: NeighboursForm = ModelField(default_factory=NeighboursForm)  # pyright: ignore[reportInvalidTypeForm]
    """Nearest images."""
    spurious: SpuriousForm = ModelField(default_factory=SpuriousForm)  # pyright: ignore[reportInvalidTypeForm]
    """Heads of a cue that is not meant, and accuracy without them, in all and in the worst group."""
    joint: JointForm = ModelField(default_factory=JointForm)  # pyright: ignore[reportInvalidTypeForm]
    """Backbones without texts, read through a linear map to a CLIP; its R² on the test split is a row."""


_TEXT_SPAN = TypeAdapter[Any](TextSpanForm)
_HEATMAP = TypeAdapter[Any](HeatmapForm)
_NEIGHBOURS = TypeAdapter[Any](NeighboursForm)
_SPURIOUS = TypeAdapter[Any](SpuriousForm)
_JOINT = TypeAdapter[Any](JointForm)
_PAPER_RANK = 80


@dataclass(frozen=True)
class TextDecompositionStudy:
    """The read-out's keys, as frozen values."""

    analyses: tuple[Analysis, ...]
    means: Means
    norm_split: Split
    templates: tuple[str, ...]
    """Empty for the data set's own."""
    classes: str | None
    fit_split: str | None
    test_split: str | None
    sets: tuple[tuple[str, tuple[str, ...]], ...]
    textspan: tuple[TextSpanConfig, ...]
    """A grid written out."""
    heatmap: HeatmapConfig
    neighbours: NeighboursConfig
    spurious: SpuriousConfig
    joint: JointConfig

    def resolved(self) -> Mapping[str, Plain]:
        """In the form of a study file."""
        return {
            "analyses": list(self.analyses),
            "means": self.means,
            "norm_split": self.norm_split,
            "templates": list(self.templates) or None,
            "classes": self.classes,
            "fit_split": self.fit_split,
            "test_split": self.test_split,
            "sets": {name: list(members) for name, members in self.sets},
            "textspan": _regridded(self.textspan),
            "heatmap": mapping_of(self.heatmap),
            "neighbours": mapping_of(self.neighbours),
            "spurious": mapping_of(self.spurious),
            "joint": mapping_of(self.joint),
        }


def _regridded(configs: tuple[TextSpanConfig, ...]) -> dict[str, Plain]:
    """The grid that configurations were written out from: they are its product."""
    found: dict[str, Plain] = {}
    for item in fields(TextSpanConfig):
        values = list(dict.fromkeys(getattr(config, item.name) for config in configs))
        found[item.name] = values[0] if len(values) == 1 else {"grid": values}
    return found


def read_keys(reader: StudyReader) -> TextDecompositionStudy | None:
    """The read-out's keys, or None if they have mistakes, which are noted."""
    is_paper = reader.raw("preset", None) == "paper"
    textspan = _text_spans(reader, is_paper)
    heatmap = _preset(reader, "heatmap", _HEATMAP, HeatmapConfig(), {"masks": "squashed"} if is_paper else {})
    neighbours = _preset(reader, "neighbours", _NEIGHBOURS, NeighboursConfig(), {"metric": "dot"} if is_paper else {})
    spurious = _section(reader, "spurious", _SPURIOUS, SpuriousConfig)
    joint = _joint(reader)
    study = reader.study
    if study is None:
        return None
    templates = _templates(reader, study.templates)
    for name, members in study.sets.items():
        for member in members:
            if not is_member(member):
                reader.note(("sets", name), f"{member!r} is no term; write 11.3, 11, mlp.11, init or mlps")
    return TextDecompositionStudy(
        analyses=tuple(name for name in ANALYSES if name in study.analyses),
        means=study.means or ("evaluated" if is_paper else "held_out"),
        norm_split=study.norm_split,
        templates=templates,
        classes=study.classes and placed(study.classes, reader),
        fit_split=study.fit_split,
        test_split=study.test_split,
        sets=tuple(study.sets.items()),
        textspan=textspan,
        heatmap=heatmap,
        neighbours=neighbours,
        spurious=spurious,
        joint=joint,
    )


def _preset(reader: StudyReader, key: str, adapter: TypeAdapter, otherwise: Any, preset: Mapping[str, Any]) -> Any:
    """A section, with the preset's values where the study leaves them out."""
    made = _section(reader, key, adapter, type(otherwise))
    given = reader.raw(key, {})
    named = given if isinstance(given, Mapping) else {}
    return replace(made, **{name: value for name, value in preset.items() if name not in named})


def _templates(reader: StudyReader, given: tuple[str, ...] | str | None) -> tuple[str, ...]:
    """Templates of the study or of its file; what is wrong with them is noted."""
    found = given if isinstance(given, tuple) else ()
    if isinstance(given, str):
        try:
            found = lines_of(placed(given, reader), "list of templates")
        except ValueError as error:
            reader.note(("templates",), str(error))
    for position, template in enumerate(found):
        if "{}" not in template:
            path = ("templates",) if isinstance(given, str) else ("templates", position)
            reader.note(path, f"must hold {{}}, where the class goes, got {template!r}")
    return found


def _joint(reader: StudyReader) -> JointConfig:
    made: JointConfig = _section(reader, "joint", _JOINT, JointConfig)
    if made.clip:
        backbone = reader.make(("joint", "clip"), lambda: BackboneConfig(source=made.clip))
        if backbone is not None and (reason := joint_refusal(backbone)):
            reader.note(("joint", "clip"), reason)
    return made


def _section(reader: StudyReader, key: str, adapter: TypeAdapter, cls: type[Any]) -> Any:
    model = reader.section(key, adapter)
    made = None if model is None else reader.make((key,), lambda: cls(**model.given()))
    return cls() if made is None else made


def _text_spans(reader: StudyReader, is_paper: bool) -> tuple[TextSpanConfig, ...]:
    model = reader.section("textspan", _TEXT_SPAN)
    given = {} if model is None else model.given()
    axes = {name: value.values if isinstance(value, Grid) else (value,) for name, value in given.items()}
    found = []
    for point in product(*axes.values()):
        values = dict(zip(axes, point, strict=True))
        if values.get("pool", AUTO) != AUTO:
            values["pool"] = placed(values["pool"], reader)
        made = reader.make(("textspan",), lambda values=values: TextSpanConfig(**values))
        if made is not None:
            is_default = is_paper and "rank" not in given
            found.append(replace(made, rank=_PAPER_RANK) if is_default else made)
    return tuple(found)
