"""The read-out's grid: data sets, backbones with their controls, layers and translators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from frozen.capture.capture import Capture
from frozen.capture.reductions import WholeSite
from frozen.capture.sites import Site
from frozen.data.scenes import Grammar
from frozen.data.spec import AnyDataset, has_object_codes, label_names
from frozen.intervals import IntervalConfig
from frozen.models import BACKBONE_CONTROLS, BackboneConfig, Description, describe
from frozen.paths import written
from frozen.plain import mapping_of
from frozen.readout.cells import Cell, LeftOut, Mistake
from frozen.readout.grid import Reading, backbone_path, readings
from frozen.readout.measures import Expectation
from frozen.readout.needs import Labels, Need
from frozen.readout.study import Study
from readouts.captions.categories.models import CategoriesConfig
from readouts.captions.decode import CaptionChoices, DecodeConfig, Memory, Verbalise
from readouts.captions.keys import CaptionStudy

VERSION = 1
"""Raised when equal inputs give other numbers; part of every cell's identity."""
OWN_CONTROLS = {
    "blank": "the decoder sees zeros in place of the image: what it says unseen; forced choice is at 50 percent, "
    "caption information 0 or less",
    "permuted_layers": "each image's captions come from its layers in an order of its own: curves are flat in depth",
}
CONTROL_MEANINGS = {
    "random_init": "the same image tower with random weights, and the trained decoder: object words at chance",
    "shuffled": "captions and likelihoods of other images: retrieval at chance, image specificity 0 or less",
    **OWN_CONTROLS,
}
_TELLS = "Captions of what tells nothing of its image are told from others: look for a leak between images."
EXPECTATIONS = (
    Expectation(control="shuffled", column="specificity_bits", high=0.0, otherwise=_TELLS),
    Expectation(control="random_init", column="specificity_bits", high=0.0, otherwise=_TELLS),
    Expectation(
        control="blank",
        column="choice_accuracy_percent",
        low=50.0,
        high=50.0,
        otherwise="Without an image one of two bindings is preferred: use scenes with their twins (twinshapes), or "
        "more of them.",
    ),
)
_COUNTED_OBJECTS = 3
"""There are count words for so many."""


@dataclass(frozen=True)
class CaptionCell:
    """How one cell is measured."""

    layer: str
    translator: str
    decode: DecodeConfig
    choices: CaptionChoices | None
    grammar: Grammar | None
    """Of the true captions; None where the data set has none."""
    split: str
    seed: int
    intervals: IntervalConfig
    categories: CategoriesConfig
    decoder: BackboneConfig | None = None
    """The model whose decoder reads translated tokens; None without a translator."""
    ridge: float | None = None
    """Penalty of the translator."""


def cells(study: Study) -> Iterator[Cell | LeftOut | Mistake]:
    """Every possible cell of a study, and what is left out of the grid."""
    keys: CaptionStudy = study.keys
    for made in _readings(study, keys):
        if isinstance(made, Mistake):
            yield made
        elif isinstance(decoder := _decoder(study, keys, made), Mistake):
            yield decoder._replace(path=decoder.path or backbone_path(study, made.backbone))
        elif reason := _refused_words(keys, decoder[1]):
            yield Mistake(("decode",), f"{written(decoder[0].source)} {reason}")
        else:
            yield from _of_reading(study, keys, made, decoder[0])


def _readings(study: Study, keys: CaptionStudy) -> Iterator[Reading | Mistake]:
    """Backbones and the controls that every read-out has, then this one's own, which have the same weights."""
    common = tuple(control for control in study.controls if control in BACKBONE_CONTROLS)
    known = list(readings(replace(study, controls=common), keys.layers))
    yield from known
    for control in study.controls:
        if control in OWN_CONTROLS:
            for one in known:
                if isinstance(one, Reading) and one.control is None:
                    yield replace(one, control=control, control_of=written(one.backbone.source))


def _decoder(study: Study, keys: CaptionStudy, reading: Reading) -> tuple[BackboneConfig, Description] | Mistake:
    """The model whose decoder reads a backbone's tokens, or why none does; a mistake of the backbone has no path."""
    source = written(reading.backbone.source)
    if keys.decoder is None:
        if reading.description.caption_context:
            # a map from random tokens is fitted to the trained tower's last layer: what can the map do by itself?
            trained = (one for one in study.backbones if written(one.source) == reading.control_of)
            return next(trained, reading.backbone), reading.description
        advice = "shipped:shapes_coca, for one, has; with `decoder: shipped:shapes_coca` tokens are translated for it"
        return Mistake((), f"{source} has no caption decoder; {advice}")
    try:
        model = BackboneConfig(source=keys.decoder)
        found = describe(model, reading.dataset.config)
    except ValueError as error:
        return Mistake(("decoder",), str(error))
    own, its = reading.description.layout.n_tokens, found.layout.n_tokens
    if not found.caption_context:
        return Mistake(("decoder",), f"{keys.decoder} has no caption decoder; shipped:shapes_coca, for one, has")
    if "affine" not in keys.translators:
        return Mistake(("translators",), f"must hold affine for tokens to be translated for {keys.decoder}")
    if own != its:
        return Mistake((), f"{source} has {own} tokens, {keys.decoder} {its}: only equally many can be translated")
    return model, found


def _refused_words(keys: CaptionStudy, description: Description) -> str | None:
    """Why the decoder cannot keep the bounds on the number of words, or None."""
    most = description.caption_context - 2
    asked = max(keys.decode.max_words or 0, keys.decode.min_words, len(keys.decode.prefix.split()))
    return f"writes at most {most} words, {asked} are asked for" if asked > most else None


def grammar_of(scene: AnyDataset, grammar: Grammar) -> tuple[Grammar | None, str]:
    """The grammar, if the scenes have captions in it; else why not."""
    most = getattr(scene, "most_objects", None)
    if most is None or not hasattr(scene, "canvas"):
        return None, "scenes of this data set have no captions"
    if grammar in ("counted", "placed") and most > _COUNTED_OBJECTS:
        return None, f"captions of the grammar {grammar} have up to {_COUNTED_OBJECTS} objects, scenes up to {most}"
    return grammar, ""


def _of_reading(study: Study, keys: CaptionStudy, reading: Reading, decoder: BackboneConfig) -> Iterator[Cell]:
    data: AnyDataset = reading.dataset.config
    grammar, _ = grammar_of(data, keys.grammar)
    has_captions = grammar is not None or (not has_object_codes(data) and "caption" in (label_names(data) or ()))
    choices = CaptionChoices(grammar, keys.candidates) if has_captions and keys.candidates else None
    # what tells nothing of the image tells nothing at any depth: one layer is enough
    is_flat = reading.control in ("shuffled", "blank")
    for layer in reading.layers[-1:] if is_flat else reading.layers:
        plain = CaptionCell(
            layer,
            "none",
            keys.decode,
            choices,
            grammar,
            keys.split,
            study.seed,
            study.intervals,
            keys.categories,
        )
        if "none" in keys.translators and reading.description.caption_context:
            yield _cell(study, reading, plain)
        if "affine" in keys.translators and reading.control in (None, "random_init"):
            yield _cell(study, reading, replace(plain, translator="affine", decoder=decoder, ridge=keys.ridge))


def _captures(reading: Reading, settings: CaptionCell, dtype: str) -> Iterator[tuple[str, Need]]:
    """Captions, which were decoded where the backbone ran; with a translator, tokens of two splits."""
    if settings.translator == "affine":
        whole = WholeSite(Site.parse(settings.layer))
        for name, split in (("fit", "train"), ("tokens", settings.split)):
            yield name, Capture(reading.dataset, split, reading.backbone, whole, dtype=dtype)
        return
    memory: Memory = "blank" if reading.control == "blank" else "own"
    layers = reading.layers if reading.control == "permuted_layers" else (settings.layer,)
    for layer in layers:
        reduction = Verbalise(Site.parse(layer), settings.decode, settings.choices, memory)
        name = f"captions {layer}"
        yield name, Capture(reading.dataset, settings.split, reading.backbone, reduction, dtype=dtype)


def _cell(study: Study, reading: Reading, settings: CaptionCell) -> Cell:
    backbone: BackboneConfig = reading.backbone
    needs = [*_captures(reading, settings, study.store.dtype), ("labels", Labels(reading.dataset, settings.split))]
    return Cell(
        readout=study.readout,
        dataset=reading.dataset,
        backbone=backbone,
        description=reading.description,
        columns=_columns(reading, settings),
        names=(settings.layer, settings.translator),
        settings=settings,
        identity=(
            ("readout", f"{study.readout} {VERSION}"),
            ("dataset", reading.dataset),
            ("backbone", backbone),
            ("layers", list(reading.layers) if reading.control == "permuted_layers" else []),
            ("settings", {**mapping_of(settings), "categories": settings.categories.content()}),
        ),
        needs=tuple(needs),
        absent=() if (missing := settings.categories.missing()) is None else (missing,),
        gives=("translator",) if settings.translator == "affine" else (),
        control=reading.control,
        control_of=reading.control_of,
        seed=study.seed,
    )


def _columns(reading: Reading, settings: CaptionCell) -> tuple[tuple[str, object], ...]:
    return (
        ("layer", settings.layer),
        ("layer_index", reading.description.layer_number(settings.layer)),
        ("depth_fraction", reading.description.depth_fraction(settings.layer)),
        ("translator", settings.translator),
        ("split", settings.split),
    )
