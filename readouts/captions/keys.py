"""The read-out's keys of a study file: their form, and what is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter
from pydantic import Field as ModelField

from frozen.data.scenes import GRAMMARS, Grammar
from frozen.plain import Plain, mapping_of
from frozen.readout.forms import Border, list_of, literal, model_of
from frozen.readout.layers import Layers, LayersForm, read_layers, resolved_layers
from frozen.readout.readout import StudyReader
from readouts.captions.categories.models import CategoriesConfig
from readouts.captions.decode import DecodeConfig

TRANSLATORS = ("none", "affine")
_TOLD = tuple(grammar for grammar in GRAMMARS if grammar != "partial")
_Decode = model_of(DecodeConfig, "Decode")
_Categories = model_of(CategoriesConfig, "Categories")


class CaptionKeys(Border):
    """Keys of a study with `readout: captions`."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    layers: LayersForm = "all"  # pyright: ignore[reportInvalidTypeForm]
    """embed, final and numbers of blocks, negative ones from the end; or all; or {every: 4}, all thinned out."""
    split: str = "test"
    """Split whose images are captioned."""
    decode: _Decode = ModelField(default_factory=_Decode)  # pyright: ignore[reportInvalidTypeForm]
    """How captions are written; greedy by default."""
    grammar: literal(_TOLD) = "counted"  # pyright: ignore[reportInvalidTypeForm]
    """Grammar of the true captions of drawn scenes, which should be the decoder's."""
    candidates: Annotated[int, ModelField(ge=0)] = 8
    """True captions from which each scene's own is told in retrieval, itself among them; 0: no likelihoods at all."""
    translators: list_of(literal(TRANSLATORS)) = ("none",)  # pyright: ignore[reportInvalidTypeForm]
    """none: tokens as they are; affine: mapped to the last layer's by a map fitted on the training images."""
    decoder: str | None = None
    """Model whose decoder reads the translated tokens, such as shipped:shapes_coca; with it, every ViT with as many
    tokens can be translated. By default each backbone's own, which also reads the tokens as they are."""
    categories: _Categories = ModelField(default_factory=_Categories)  # pyright: ignore[reportInvalidTypeForm]
    """How parts of captions get their categories; by default a word list."""
    ridge: Annotated[float, ModelField(ge=0)] = 1e-3
    """Penalty of the fitted maps, in units of the mean variance of the tokens."""


_DECODE = TypeAdapter[Any](_Decode)
_CATEGORIES = TypeAdapter[Any](_Categories)


@dataclass(frozen=True)
class CaptionStudy:
    """The read-out's keys, as frozen values."""

    layers: Layers
    split: str
    decode: DecodeConfig
    grammar: Grammar
    candidates: int
    translators: tuple[str, ...]
    decoder: str | None
    categories: CategoriesConfig
    ridge: float

    def resolved(self) -> dict[str, Plain]:
        """In the form of a study file, nothing left to defaults."""
        return {
            "layers": resolved_layers(self.layers),
            "split": self.split,
            "decode": mapping_of(self.decode),
            "grammar": self.grammar,
            "candidates": self.candidates,
            "translators": list(self.translators),
            "decoder": self.decoder,
            "categories": mapping_of(self.categories),
            "ridge": self.ridge,
        }


def read_keys(reader: StudyReader) -> CaptionStudy | None:
    """The keys of a study; None if they have mistakes, which are noted."""
    given = reader.section("decode", _DECODE)
    decode = given and reader.make(("decode",), lambda: DecodeConfig(**given.given()))
    named = reader.section("categories", _CATEGORIES)
    categories = named and reader.make(("categories",), lambda: _categories(named.given(), reader))
    study = reader.study
    if study is None:
        return None
    layers = read_layers(reader, ("layers",), study.layers)
    if 0 < study.candidates < 2:
        reader.note(("candidates",), f"must be 0 or at least 2, got {study.candidates}")
        return None
    if decode is None or layers is None or categories is None:
        return None
    return CaptionStudy(
        layers,
        study.split,
        decode,
        study.grammar,
        study.candidates,
        tuple(study.translators),
        study.decoder,
        categories,
        study.ridge,
    )


def _categories(given: dict[str, Any], reader: StudyReader) -> CategoriesConfig:
    """The answers' file by where it lies: cells are measured in other folders.

    Raises:
        ConfigurationError: settings that lack something.
    """
    if given.get("answers"):
        given = {**given, "answers": reader.path(given["answers"])}
    return CategoriesConfig(**given)
