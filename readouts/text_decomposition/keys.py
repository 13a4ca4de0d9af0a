"""The read-out's keys of a study file: their form, and what is made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, TypeAdapter
from pydantic import Field as ModelField

from frozen.plain import Plain, mapping_of
from frozen.problems import Problem, at_least, refuse
from frozen.readout.forms import Border, Grid, gridded, list_of, literal, model_of
from frozen.readout.readout import StudyReader
from readouts.text_decomposition.lens import Split

Analysis = Literal["ablation", "heads", "textspan", "heatmap", "forced_choice", "neighbours", "spurious"]
ANALYSES: tuple[Analysis, ...] = get_args(Analysis)
Means = Literal["held_out", "evaluated"]
AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class TextSpanConfig:
    """Texts that span the output of each head (paper, algorithm 1)."""

    texts: int = 5
    """Texts a head."""
    last_layers: int = 4
    """Heads of so many last layers are described."""
    rank: int | None = None
    """Singular vectors to which texts are projected; null for all that a head has, the paper has 80."""
    norm_split: Split = "uniform"
    """How the mean of the final norm is shared among terms: uniform (paper), or own_mean."""
    pool: str = AUTO
    """File with a description a line; auto for words and phrases of the data set."""
    rotations: int = 20
    """Random rotations of the pool, by which what is explained by chance is known."""

    def __post_init__(self) -> None:
        refuse("textspan", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        yield from at_least("texts", self.texts, 1)
        yield from at_least("last_layers", self.last_layers, 1)
        yield from at_least("rank", 1 if self.rank is None else self.rank, 1)
        yield from at_least("rotations", self.rotations, 1)

    @property
    def label(self) -> str:
        """What tells it apart from others in a table."""
        rank = "" if self.rank is None else f", rank {self.rank}"
        split = "" if self.norm_split == "uniform" else ", own mean"
        pool = "" if self.pool == AUTO else f", {self.pool}"
        return f"{self.texts} texts{rank}{split}{pool}"


@dataclass(frozen=True, kw_only=True)
class HeatmapConfig:
    """Maps of what heads read from each token, along a text."""

    threshold: float | None = None
    """Foreground is where the map, scaled to 0..1, is larger; null for its mean (paper)."""

    def __post_init__(self) -> None:
        refuse("heatmap", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        if self.threshold is not None and not 0 <= self.threshold < 1:
            yield Problem("threshold", f"must lie in 0..1, got {self.threshold}")


@dataclass(frozen=True, kw_only=True)
class NeighboursConfig:
    """Nearest images by the term of one head."""

    count: int = 15
    """Neighbours an image."""
    metric: Literal["centred_cosine", "cosine", "dot"] = "centred_cosine"
    """How near images are: the cosine of what in a head's terms differs from their mean, that of the terms, or their
    dot product (published; long terms are near everything)."""

    def __post_init__(self) -> None:
        refuse("neighbours", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        yield from at_least("count", self.count, 1)


@dataclass(frozen=True, kw_only=True)
class SpuriousConfig:
    """Heads that tell a cue apart which goes along with the classes without being meant (paper, section 4.2)."""

    target: str = ""
    """Feature whose values are the classes; by default the last one."""
    cue: str = ""
    """Feature that is not meant; by default the first one."""
    share: float = 0.5
    """Heads go whose variance the cue tells by so much more than the target does, on validation images."""
    keywords: tuple[str, ...] = ()
    """Words of the cue: heads go with one of them in most of their texts; by default the cue's values."""
    draws: int = 5
    """Random sets of equally many heads of the same layers, as a control."""

    def __post_init__(self) -> None:
        refuse("spurious", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        if not -1 <= self.share <= 1:
            yield Problem("share", f"must lie in -1..1, got {self.share}")
        yield from at_least("draws", self.draws, 1)


TextSpanForm = model_of(TextSpanConfig, "TextSpan", wrap=gridded)
HeatmapForm = model_of(HeatmapConfig, "Heatmap")
NeighboursForm = model_of(NeighboursConfig, "Neighbours")
SpuriousForm = model_of(SpuriousConfig, "Spurious")


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
    templates: Annotated[tuple[str, ...], ModelField(min_length=1)] = ("{}",)
    """Prompts of the zero-shot classifier; {} is the class."""
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


_TEXT_SPAN = TypeAdapter[Any](TextSpanForm)
_HEATMAP = TypeAdapter[Any](HeatmapForm)
_NEIGHBOURS = TypeAdapter[Any](NeighboursForm)
_SPURIOUS = TypeAdapter[Any](SpuriousForm)
_PAPER_RANK = 80


@dataclass(frozen=True)
class TextDecompositionStudy:
    """The read-out's keys, as frozen values."""

    analyses: tuple[Analysis, ...]
    means: Means
    norm_split: Split
    templates: tuple[str, ...]
    sets: tuple[tuple[str, tuple[str, ...]], ...]
    textspan: tuple[TextSpanConfig, ...]
    """A grid written out."""
    heatmap: HeatmapConfig
    neighbours: NeighboursConfig
    spurious: SpuriousConfig

    def resolved(self) -> Mapping[str, Plain]:
        """In the form of a study file."""
        return {
            "analyses": list(self.analyses),
            "means": self.means,
            "norm_split": self.norm_split,
            "templates": list(self.templates),
            "sets": {name: list(members) for name, members in self.sets},
            "textspan": _regridded(self.textspan),
            "heatmap": mapping_of(self.heatmap),
            "neighbours": mapping_of(self.neighbours),
            "spurious": mapping_of(self.spurious),
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
    heatmap = _section(reader, "heatmap", _HEATMAP, HeatmapConfig)
    neighbours = _neighbours(reader, is_paper)
    spurious = _section(reader, "spurious", _SPURIOUS, SpuriousConfig)
    study = reader.study
    if study is None:
        return None
    for position, template in enumerate(study.templates):
        if "{}" not in template:
            reader.note(("templates", position), f"must hold {{}}, where the class goes, got {template!r}")
    for name, members in study.sets.items():
        for member in members:
            if not is_member(member):
                reader.note(("sets", name), f"{member!r} is no term; write 11.3, 11, mlp.11, init or mlps")
    return TextDecompositionStudy(
        analyses=tuple(name for name in ANALYSES if name in study.analyses),
        means=study.means or ("evaluated" if is_paper else "held_out"),
        norm_split=study.norm_split,
        templates=study.templates,
        sets=tuple(study.sets.items()),
        textspan=textspan,
        heatmap=heatmap,
        neighbours=neighbours,
        spurious=spurious,
    )


def _neighbours(reader: StudyReader, is_paper: bool) -> NeighboursConfig:
    made = _section(reader, "neighbours", _NEIGHBOURS, NeighboursConfig)
    given = reader.raw("neighbours", {})
    is_default = is_paper and not (isinstance(given, Mapping) and "metric" in given)
    return replace(made, metric="dot") if is_default else made


def is_member(text: str) -> bool:
    """Whether a text names a term, or several."""
    if text in ("init", "mlps"):
        return True
    parts = text.removeprefix("mlp.").split(".")
    return all(part.isdigit() for part in parts) and len(parts) <= (1 if text.startswith("mlp.") else 2)


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
        made = reader.make(("textspan",), lambda values=values: TextSpanConfig(**values))
        if made is not None:
            is_default = is_paper and "rank" not in given
            found.append(replace(made, rank=_PAPER_RANK) if is_default else made)
    return tuple(found)
