"""The read-out's columns of a row, and those among them that tables and figures show as measures."""

from __future__ import annotations

import re
from typing import NamedTuple

from frozen.readout.measures import Dimension, Measure, Unit
from readouts.captions.categories.names import CATEGORIES

DIMENSIONS = (
    Dimension("layer", "layer", "embed, number of a block, or final", "depth", order="layer_index"),
    Dimension("translator", "translator", "map of the layer's tokens to the last layer's before decoding", "line"),
)
GRID_COLUMNS = {
    "layer": "embed, number of a block, or final",
    "layer_index": "position in depth: embed is -1",
    "depth_fraction": "0 at embed, 1 at final",
    "translator": "none; affine: tokens are first mapped to those of the last layer",
    "split": "whose images are captioned",
}


class Ratio(NamedTuple):
    """A measure that is a sum over images divided by another: both are columns of the samples.

    Attributes:
        column: of the row.
        over: column of the samples that is summed.
        under: column it is divided by; empty for the number of images, those left out where `over` is missing.
        scale: factor.
        most: the largest value there can be; None where there is none.
        label: heading.
        symbol: in formulas.
        unit: of the value.
        meaning: in words.
    """

    column: str
    over: str
    under: str
    scale: float
    most: float | None
    label: str
    symbol: str
    unit: Unit
    meaning: str

    @property
    def measure(self) -> Measure:
        """As the engine shows it."""
        return Measure(self.column, self.label, self.symbol, self.unit, self.meaning)


def _percent(column: str, over: str, under: str, label: str, symbol: str, meaning: str) -> Ratio:
    return Ratio(f"{column}_percent", over, under, 100.0, 100.0, label, symbol, "percent", meaning)


HEADLINE = (
    _percent("exact", "exact", "", "Exact captions", "E", "captions that equal the true one, word for word"),
    _percent(
        "pair_precision",
        "pair_hits",
        "named",
        "Pair precision",
        "P",
        "of the colour-shape pairs that captions name, those that are in the image",
    ),
    _percent(
        "object_recall",
        "pair_hits",
        "pairs",
        "Object recall",
        "R",
        "of the objects in the images, those that captions name with both attributes right",
    ),
    _percent(
        "attribute_recall",
        "attribute_hits",
        "attributes",
        "Attribute recall",
        "R_a",
        "of the attributes in the images, those that captions name, in whatever pairing",
    ),
    _percent(
        "binding_accuracy",
        "pair_hits",
        "possible",
        "Binding accuracy",
        "A_b",
        "of the named pairs whose two words are both true of the image, those that are one object's; chance is "
        "binding_chance_percent",
    ),
    _percent(
        "choice_accuracy",
        "preferred",
        "",
        "Forced choice",
        "A_c",
        "images whose true caption is likelier than the one with colours swapped; ties count half, chance is 50",
    ),
    Ratio(
        "caption_bits",
        "choice_bits",
        "",
        1.0,
        1.0,
        "Caption information",
        "B_c",
        "bits",
        "1 - mean log2(1 + exp(-Δ)), Δ the log-likelihood of the true caption minus that of the swapped one in nats: "
        "a lower bound of I(O;Z|F) on scenes and their twins; 1 is full binding, 0 none, negative is wrong certainty",
    ),
    _percent(
        "object_word_recall",
        "thing_hits",
        "things",
        "Object words",
        "R_o",
        "of the categories that an image's instance labels hold, those that its caption names, in whatever word; an "
        "image's category counts once",
    ),
    _percent(
        "hallucination",
        "things_invented",
        "things_named",
        "Hallucination",
        "CHAIR_i",
        "of the categories that captions name, those that are not among the image's instance labels",
    ),
    _percent(
        "retrieval",
        "retrieved",
        "",
        "Retrieval",
        "R@1",
        "images whose true caption is likelier than those of other scenes; ties share; chance is 100 over the number "
        "of candidates",
    ),
    Ratio(
        "specificity_bits",
        "contrast_bits",
        "",
        1.0,
        None,
        "Image specificity",
        "I_s",
        "bits",
        "log2 of the number of candidates plus the mean log2 share of the true caption in their likelihoods: a lower "
        "bound of what captions say of their image (InfoNCE); 0 or less where captions ignore it",
    ),
    Ratio(
        "entropy_bits",
        "entropy_bits",
        "",
        1.0,
        None,
        "Entropy",
        "H",
        "bits",
        "entropy of the next word, mean over a caption's steps and over captions; writing the end is a step",
    ),
)
REST = (
    _percent("color_recall", "color_hits", "colors", "Colour recall", "R_c", "of the colours, those named"),
    _percent("shape_recall", "shape_hits", "shapes", "Shape recall", "R_s", "of the shapes, those named"),
    _percent(
        "count_accuracy", "number_right", "", "Count accuracy", "A_n", "captions that tell the number of objects"
    ),
    _percent(
        "binding_chance",
        "chance_hits",
        "possible",
        "Binding accuracy by chance",
        "A_b0",
        "the same of the same captions if the shapes of each image were dealt out anew, exactly",
    ),
    _percent(
        "swap",
        "swapped",
        "named",
        "Swap rate",
        "S",
        "of the named pairs, those whose two words are both true of the image, but of different objects",
    ),
    _percent(
        "swap_chance",
        "chance_swaps",
        "named",
        "Swap rate by chance",
        "S_0",
        "the same if the shapes of each image were dealt out anew, exactly",
    ),
    Ratio("delta_nats", "delta_nats", "", 1.0, None, "Margin", "Δ", "nats", "log-likelihood, true minus swapped"),
    Ratio(
        "caption_bits_fitted",
        "fitted_bits",
        "",
        1.0,
        1.0,
        "Caption information, calibrated",
        "B_c'",
        "bits",
        "caption information with Δ times one factor, fitted on the other half of the scenes",
    ),
    Ratio("n_words", "n_words", "", 1.0, None, "Length", "n_w", "count", "words of a caption"),
    Ratio(
        "token_entropy_bits",
        "entropy_sum",
        "n_steps",
        1.0,
        None,
        "Entropy of a step",
        "H_t",
        "bits",
        "entropy of the next word, mean over all steps of all captions",
    ),
    _percent(
        "object_word_recall_chance",
        "thing_chance_hits",
        "things",
        "Object words by chance",
        "R_o0",
        "the same of the same captions if each were held against another image of the split, exactly",
    ),
    _percent(
        "hallucination_chance",
        "things_chance_invented",
        "things_named",
        "Hallucination by chance",
        "CHAIR_0",
        "the same of the same captions if each were held against another image of the split, exactly",
    ),
    _percent(
        "hallucinating",
        "invents",
        "",
        "Captions that hallucinate",
        "CHAIR_s",
        "captions that name a category which is not among the image's instance labels",
    ),
    _percent("ended", "ended", "", "Ended", "e", "captions that end by themselves"),
    _percent("top_caption", "is_top", "", "Most frequent caption", "T", "share of the most frequent caption"),
)
RATIOS = (*HEADLINE, *REST)
MEASURES = tuple(one.measure for one in HEADLINE)
_PLAIN = {
    "distinct_captions": "different captions",
    "top_caption": "the most frequent caption; of several, the first in the alphabet",
    "candidates": "captions that a scene's own is told from in retrieval, itself among them",
    "translator_r2": "share of the variance of the last layer's tokens that the fitted map explains, on other images",
    "n_fit": "training images of the map, a fifth of them to judge it",
    "shares": "JSON: category of caption parts to its share in percent, and the ends of its interval",
    "unknown_words_percent": "of the words of captions, those in no dictionary of the categories",
    "unparsed": "answers of the categoriser that could not be read",
    "n_test": "images",
    "n_units": "scenes that are resampled: a scene and its twin count once",
    "seed": "of the bootstrap, and of what a fit draws",
    "interval_level": "coverage the intervals aim at",
    "interval_resamples": "bootstrap resamples behind each interval",
    "flags": "warnings",
}


SHARES = {category: f"share_{re.sub('[^a-z]+', '_', category.lower())}_percent" for category in CATEGORIES}
"""Columns of the shares of categories; their intervals are in `shares`."""


def _meanings() -> dict[str, str]:
    found: dict[str, str] = {}
    for one in RATIOS:
        found |= {
            one.column: one.meaning,
            f"{one.column}_low": "lower end of its interval",
            f"{one.column}_high": "upper end of its interval",
        }
    shares = {column: f"of the parts of captions, those of the category {name}" for name, column in SHARES.items()}
    return found | _PLAIN | shares


COLUMNS = _meanings()
COLUMN_KINDS = {
    **dict.fromkeys(GRID_COLUMNS, "text"),
    "layer_index": "whole",
    "depth_fraction": "number?",
    "split": "text?",
    **dict.fromkeys(COLUMNS, "number?"),
    "top_caption": "text?",
    "shares": "object?",
    "distinct_captions": "whole?",
    "candidates": "whole?",
    "unparsed": "whole?",
    "n_fit": "whole?",
    "n_test": "whole",
    "n_units": "whole",
    "seed": "whole",
    "interval_resamples": "whole",
    "flags": "texts",
}
FLAGS = {
    "template_collapse": "a quarter of the captions or more are the same: what they say is hardly of the image",
    "not_specific": "likelihoods of captions do not tell their image: the interval of image specificity reaches 0",
    "never_ends": "fewer than half of the captions end by themselves",
}
TEMPLATE_PERCENT = 25.0
