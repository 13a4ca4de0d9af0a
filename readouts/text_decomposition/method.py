"""What a paper says of a study of text decompositions: sentences for its methods section, and what to cite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from frozen.readout.readout import Method
from frozen.readout.study import Study
from readouts.text_decomposition.keys import TextDecompositionStudy

PAPER = """@inproceedings{gandelsman2024interpreting,
  title         = {Interpreting {CLIP}'s Image Representation via Text-Based Decomposition},
  author        = {Gandelsman, Yossi and Efros, Alexei A. and Steinhardt, Jacob},
  booktitle     = {International Conference on Learning Representations},
  year          = {2024},
  eprint        = {2310.05916},
  archivePrefix = {arXiv}
}"""
_MEANS = {
    "held_out": "the validation images, which share none with those measured",
    "evaluated": "the very images measured, as in the paper",
}


def method(study: Study, rows: Sequence[Mapping[str, Any]]) -> Method:
    """Sentences on the decomposition, what was asked of it, and intervals."""
    keys: TextDecompositionStudy = study.keys
    sentences = (
        "The image embedding of each CLIP was written as the exact sum of what every attention head and every MLP "
        "adds to it, following Gandelsman et al. (2024; arXiv 2310.05916); the mean and deviation of the final layer "
        "norm are those of the image, so that every term is a linear map of the output of its head or MLP.",
        f"What is removed was replaced by its mean over {_MEANS[keys.means]}; only direct effects change.",
        *_analyses(keys),
        f"Intervals are {100 * study.intervals.level:g}% bootstrap intervals over images "
        f"({study.intervals.resamples:,} resamples; a scene and its twin are drawn together).",
    )
    del rows
    return Method(" ".join(sentences), (PAPER,))


def _analyses(keys: TextDecompositionStudy) -> Iterator[str]:
    if "textspan" in keys.analyses:
        counts = ", ".join(map(str, dict.fromkeys(config.texts for config in keys.textspan)))
        yield (
            f"Each head of the last layers was described by TextSpan with {counts} texts; the variance that they "
            "explain was measured on the test images and held against the same texts under random rotations."
        )
    if "heatmap" in keys.analyses:
        yield (
            "Maps are what all heads read from each token, along a text; they were held against the exact mask of "
            "the object that the text names."
        )
    if "forced_choice" in keys.analyses:
        yield (
            "The margin between the caption of a scene and that of its twin, with the colours exchanged, was split "
            "exactly among the terms."
        )
    if "neighbours" in keys.analyses:
        one = keys.neighbours
        yield f"Neighbours are the {one.count} nearest images by a head's term ({one.metric})."
