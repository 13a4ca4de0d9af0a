"""How cells are measured, in the words of a methods section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from frozen.readout.readout import Method
from frozen.readout.study import Study
from readouts.class_embedding.keys import ClassStudy

BIBTEX = """@inproceedings{vilas2023analyzing,
  title = {Analyzing Vision Transformers for Image Classification in Class Embedding Space},
  author = {Vilas, Martina G. and Schauml{\\"o}ffel, Timothy and Roig, Gemma},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2023},
  eprint = {2310.18969},
  archivePrefix = {arXiv}
}"""
_PATCHES = {
    "any": "a token shows the class where any pixel of its patch does",
    "half": "a token shows the class where at least half of its patch does",
    "corner": "a token shows the class where the top left pixel of its patch does",
}


def method(study: Study, rows: Sequence[Mapping[str, Any]]) -> Method:
    """Projection, ranks, tokens, intervals."""
    rules: ClassStudy = study.keys
    sizes = sorted({int(row["n_test"]) for row in rows if row.get("n_test")})
    images = f" of {' or '.join(f'{size:,}' for size in sizes)} images" if sizes else ""
    parts = [
        f"Every token of the split {rules.split}{images} was projected onto the classes by the model's own norm "
        "and classifier (Vilas et al., 2023).",
        "Identifiability is 1 - rank / C, where the rank counts classes with a larger logit than the image's class, "
        "ties half; the rate is the share of tokens whose class is first.",
        f"Where masks are known, {_PATCHES[rules.class_patches]}.",
        f"Every {'image' if rules.average == 'images' else 'token'} counts the same.",
        f"Intervals ({study.intervals.level:.0%}) are from {study.intervals.resamples:,} bootstrap resamples of "
        "images, never of tokens.",
    ]
    if rules.permutations:
        parts.append(f"P-values are from {rules.permutations:,} permutations of whole masks between images.")
    return Method(" ".join(parts), (BIBTEX,))
