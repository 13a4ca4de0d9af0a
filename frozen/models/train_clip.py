"""Trains the two small CLIPs that ship with the project.

    python -m frozen.models.train_clip objects
    python -m frozen.models.train_clip features

An image and a text belong together when the text is true of the image, which follows from the scene's code. The
texts of a batch are one caption an image, a random part of its truth, and a fixed list of every kind and attribute.
`objects` reads plain captions ("a red square and a blue circle"), the kinds, "a red" and "red"; the captions of
`features` name attributes only ("red and blue and circle"), so that its texts cannot tell how they are bound.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from frozen.data.scenes import FewShapes, Grammar, SplitPolicy, entails, phrase, vocabulary
from frozen.data.scenes.codes import FeatureSpace
from frozen.models._training import SEED, VISION, TrainingSchedule, normalise, vision_tower
from frozen.models._writing import Content, language, prefixed, run
from frozen.models.text_tower import TextConfig, TextTower
from frozen.models.words import WordTokenizer

IMAGES = 150_000
JOINT = 64
CONTEXT = 13
SCALE, BIAS = 12.0, -6.0
"""Where the score's scale and bias begin."""

Kind = Literal["objects", "features"]
KINDS: tuple[Kind, ...] = get_args(Kind)
GRAMMAR: dict[Kind, Grammar] = {"objects": "plain", "features": "features"}


def fixed_texts(kind: Kind, space: FeatureSpace) -> list[str]:
    """Texts of every batch: the attributes, and for the model of objects their phrases and the kinds."""
    words = [value for group in space.groups for value in group.values]
    if kind == "features":
        return words
    return [*words, *(f"a {word}" for word in words), *(phrase(k, space) for k in range(space.n_objects))]


class Clip(nn.Module):
    """An image tower and a text tower, and how similar an image and a text must be to belong together."""

    def __init__(self, n_words: int) -> None:
        super().__init__()
        self.visual = vision_tower(pre_norm=True)
        self.visual.head = nn.Linear(self.visual.embed_dim, JOINT, bias=False)
        nn.init.normal_(self.visual.head.weight, std=self.visual.embed_dim**-0.5)
        self.text = TextTower(TextConfig(n_words, CONTEXT), JOINT, summary=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(SCALE)))
        self.logit_bias = nn.Parameter(torch.tensor(BIAS))

    def scores(self, images: Tensor, texts: Tensor) -> Tensor:
        """Logit of each text [texts joint] being true of each image [images joint]."""
        return self.logit_scale.exp() * normalize(images, dim=1) @ normalize(texts, dim=1).T + self.logit_bias


class ClipBatch(NamedTuple):
    """Pixels, ids of the captions, and which texts, captions and fixed ones, are true of which image."""

    pixels: Tensor
    ids: Tensor
    truth: Tensor


class ClipTask:
    """Binary cross-entropy of every text's truth for every image of a batch."""

    def __init__(self, images: int, seed: int, kind: Kind) -> None:
        torch.manual_seed(seed)
        self.name, self.seed = f"shapes_clip_{kind}", seed
        self.grammar: Grammar = GRAMMAR[kind]
        self.split = FewShapes(seed=SEED, split=SplitPolicy(train=images, validation=1, test=1)).open("train")
        self.space = self.split.space
        self.tokenizer = WordTokenizer(vocabulary(self.space), CONTEXT)
        self.fixed = fixed_texts(kind, self.space)
        self.fixed_ids = _trimmed(self.tokenizer.encode(self.fixed))
        self.model = Clip(len(self.tokenizer.vocabulary))

    def batch(self, step: int, size: int) -> ClipBatch:
        """Images, one caption each, and the truth of all texts."""
        indices = np.arange(step * size, (step + 1) * size)
        rng = np.random.default_rng([SEED, self.seed, step])
        captions = self.split.captions(indices, self.grammar, rng)
        truth = entails(self.split.object_codes[indices], [*captions, *self.fixed], self.space)
        ids = _trimmed(self.tokenizer.encode(captions))
        return ClipBatch(normalise(self.split.images(indices)), ids, torch.from_numpy(truth).float())

    def losses(self, batch: ClipBatch) -> dict[str, Tensor]:
        """Mean over all pairs of an image and a text."""
        texts = torch.cat([self.model.text(batch.ids)[1], self.model.text(self.fixed_ids)[1]])
        scores = self.model.scores(self.model.visual(batch.pixels), texts)
        return {"entailment": binary_cross_entropy_with_logits(scores, batch.truth)}


def _trimmed(ids: np.ndarray) -> Tensor:
    """Without the columns that are padding in every row."""
    return torch.from_numpy(ids[:, : int((ids != 0).sum(axis=1).max())])


def content(task: ClipTask) -> Content:
    """What of the model is kept; the vision tower's head maps CLS to the joint space."""
    model = task.model
    joint = {"width": JOINT, "scale": model.logit_scale.exp().item(), "bias": model.logit_bias.item()}
    tensors = {**model.visual.state_dict(), **prefixed("text", model.text)}
    header = {"text": model.text.config._asdict(), "joint": joint, **language(task.tokenizer, task.grammar)}
    architecture = {**VISION, "pre_norm": True, "norm_eps": 1e-5}
    return Content("clip", architecture, tensors, task.split.scene, header)


def main() -> None:
    """Train one of the two and write its file."""
    makers = {kind: partial(ClipTask, kind=kind) for kind in KINDS}
    run(__doc__, makers, TrainingSchedule(IMAGES), content)


if __name__ == "__main__":
    main()
