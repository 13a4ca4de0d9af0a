"""Replays the labels that were released with the published work.

python -m readouts.captions.categories.released FOLDER [--answers answers.jsonl]

FOLDER holds a file of labels a layer, `*_labels_layer_0_*.json` and so on: JSON lists with the answer to each caption
as a text (data/interpret/label_top3_llama70B of github.com/SogolHaghighat/latent_verbalizer, MIT). For each layer the
number of captions that have a part is held against the published one, and the shares of three categories where these
are known. With `--answers`, captions and answers are written in the form that `categories: {by: replay}` reads; the
captions come from caps_batch0.json in FOLDER or the folder above it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from frozen.whole_files import write_whole
from readouts.captions.categories.answers import parts_of
from readouts.captions.categories.names import CATEGORIES
from readouts.captions.categories.shares import caption_shares

COUNTS = (
    *(441, 481, 477, 479, 494, 491, 496, 497, 500, 500, 499, 488),
    *(496, 498, 499, 499, 499, 500, 500, 500, 500, 498, 499, 500),
)
"""Captions with a part of each layer, of 500; recomputed from the released files."""
SHARES: Mapping[int, Mapping[str, float]] = {17: {"action": 20.8, "person": 21.0, "position": 17.8}}
"""Percent of parts by layer, of the same captions, likewise."""
MODEL = "released"
_LAYER = re.compile(r"_labels_layer_(\d+)_")
_TEXTS = TypeAdapter(list[str])
_CAPTIONS = TypeAdapter(dict[str, list[str]])


class ReleasedError(ValueError):
    """Files that are not there or not of the released form; the message names the file."""


class Layer(NamedTuple):
    """Labels of one layer.

    Attributes:
        number: from 0.
        answers: one a caption, as the model wrote it.
    """

    number: int
    answers: list[str]

    def shares(self) -> tuple[int, dict[str, float]]:
        """Captions with a part, and the mean share of every category in percent; nested objects have no part."""
        found = caption_shares([parts_of(answer, nested="drop") for answer in self.answers])
        has_parts = ~np.isnan(found[:, 0])
        means = found[has_parts].mean(axis=0) if has_parts.any() else np.full(len(CATEGORIES), np.nan)
        return int(has_parts.sum()), dict(zip(CATEGORIES, means.tolist(), strict=True))


def read_layers(folder: Path) -> list[Layer]:
    """The labels of all layers, in order.

    Raises:
        ReleasedError: no such file, or one of another form.
    """
    found = [(int(match[1]), path) for path in folder.rglob("*.json") if (match := _LAYER.search(path.name))]
    if not found:
        raise ReleasedError(f"{folder} has no file called *_labels_layer_0_*.json; name the folder of the labels")
    return [Layer(number, _read(path, _TEXTS)) for number, path in sorted(found)]


def _read(path: Path, form: TypeAdapter) -> Any:
    try:
        return form.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else error
        raise ReleasedError(f"{path}: {reason}") from error


def answers_of(folder: Path, layers: Sequence[Layer]) -> Iterator[dict[str, str]]:
    """Captions with their answers; of one that comes again the first answer.

    Raises:
        ReleasedError: no captions, or another number of them than of answers.
    """
    path = next(
        (one for one in (folder / "caps_batch0.json", folder.parent / "caps_batch0.json") if one.exists()), None
    )
    if path is None:
        raise ReleasedError(
            f"caps_batch0.json is neither in {folder} nor above it; without it answers have no captions"
        )
    captions: Mapping[str, list[str]] = _read(path, _CAPTIONS)
    known = set[str]()
    for layer in layers:
        of = captions.get(f"layer_{layer.number}", [])
        if len(of) != len(layer.answers):
            raise ReleasedError(
                f"{path}: layer_{layer.number} has {len(of)} captions, its labels {len(layer.answers)}"
            )
        for caption, answer in zip(of, layer.answers, strict=True):
            if caption not in known:
                known.add(caption)
                yield {"model": MODEL, "caption": caption, "answer": answer}


def report(layers: Sequence[Layer]) -> tuple[list[str], bool]:
    """A line a layer, and whether all that is published comes out."""
    lines, are_equal = ["layer  counted  published  shares"], True
    for layer in layers:
        count, shares = layer.shares()
        expected = COUNTS[layer.number] if layer.number < len(COUNTS) else None
        known = SHARES.get(layer.number, {})
        right = count == expected and all(abs(shares[name] - value) <= 0.1 for name, value in known.items())
        texts = [f"{name} {shares[name]:.1f} (published {value})" for name, value in known.items()]
        lines.append(f"{layer.number:5}  {count:7}  {expected or '-':>9}  {', '.join(texts)}".rstrip())
        are_equal &= right
    return lines, are_equal and len(layers) == len(COUNTS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0 if everything comes out, 1 if not, 2 for files that cannot be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--answers", type=Path, help="file to write, for `categories: {by: replay, answers: ...}`")
    given = parser.parse_args(arguments)
    try:
        layers = read_layers(given.folder)
        lines, are_equal = report(layers)
        if given.answers:
            texts = [json.dumps(entry) for entry in answers_of(given.folder, layers)]
            write_whole(given.answers, "\n".join(texts) + "\n")
    except ReleasedError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(lines))
    print("equal to the published counts" if are_equal else "NOT equal to the published counts")
    return 0 if are_equal else 1


if __name__ == "__main__":
    sys.exit(main())
