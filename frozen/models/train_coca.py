"""Trains the small CoCa that ships with the project: it captions scenes, "two a red square and a blue circle".

python -m frozen.models.train_coca
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax, normalize

from frozen.data.scenes import FewShapes, SplitPolicy, vocabulary
from frozen.models._training import SEED, VISION, TrainingSchedule, normalise, vision_tower
from frozen.models._writing import Content, language, prefixed, run
from frozen.models.text_tower import AttentionalPooler, CaptionDecoder, TextConfig, TextTower
from frozen.models.words import WordTokenizer

IMAGES = 240_000
CONTEXT = 14
QUERIES = 16
HEADS = 4
DECODER_DEPTH = 2
CAPTION_WEIGHT = 2.0
GRAMMAR = "counted"


class Coca(nn.Module):
    """An image tower, a pooler that makes a memory of its tokens, a text tower and a caption decoder."""

    def __init__(self, n_words: int) -> None:
        super().__init__()
        self.visual = vision_tower(pre_norm=True, final_norm=False)
        width = self.visual.embed_dim
        config = TextConfig(n_words, CONTEXT, width=width)
        self.pooler = AttentionalPooler(width, QUERIES, HEADS)
        self.image_projection = nn.Parameter(width**-0.5 * torch.randn(width, width))
        self.text = TextTower(config, width, summary=True)
        self.decoder = CaptionDecoder(config, DECODER_DEPTH)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))


class CocaBatch(NamedTuple):
    """Pixels, ids of the captions, and for each the share of every caption of the batch that equals it."""

    pixels: Tensor
    ids: Tensor
    shares: Tensor


class CocaTask:
    """Contrastive loss on image and caption, and the caption's cross-entropy in nats an id."""

    name = "shapes_coca"

    def __init__(self, images: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.split = FewShapes(seed=SEED, split=SplitPolicy(train=images, validation=1, test=1)).open("train")
        self.tokenizer = WordTokenizer(vocabulary(self.split.space), CONTEXT)
        self.model = Coca(len(self.tokenizer.vocabulary))

    def batch(self, step: int, size: int) -> CocaBatch:
        """Images, their captions, and which captions are the same."""
        indices = np.arange(step * size, (step + 1) * size)
        ids = self.tokenizer.encode(self.split.captions(indices, GRAMMAR))
        ids = torch.from_numpy(ids[:, : int((ids != 0).sum(axis=1).max())])
        equal = (ids[:, None] == ids).all(dim=2).float()
        return CocaBatch(normalise(self.split.images(indices)), ids, equal / equal.sum(dim=1, keepdim=True))

    def losses(self, batch: CocaBatch) -> dict[str, Tensor]:
        """Both terms; equal captions share the contrastive target."""
        model = self.model
        pooled = model.pooler(model.visual.forward_features(batch.pixels))
        tokens, texts = model.text(batch.ids)
        logits, _ = model.decoder(tokens[:, :-1], model.decoder.see(pooled[:, 1:]))
        caption = cross_entropy(logits.flatten(0, 1), batch.ids[:, 1:].flatten(), ignore_index=self.tokenizer.pad)
        images = normalize(pooled[:, 0] @ model.image_projection, dim=1)
        scores = model.logit_scale.exp().clamp(max=100) * images @ normalize(texts, dim=1).T
        contrastive = -(batch.shares * (log_softmax(scores, 1) + log_softmax(scores.T, 1))).sum(dim=1).mean() / 2
        return {"contrastive": contrastive, "caption": CAPTION_WEIGHT * caption}


def content(task: CocaTask) -> Content:
    """What of the model is kept."""
    model = task.model
    tensors = {
        **model.visual.state_dict(),
        **prefixed("text", model.text),
        **prefixed("pooler", model.pooler),
        **prefixed("decoder", model.decoder),
        "joint.weight": model.image_projection.T,
    }
    joint = {"width": model.text.config.width, "scale": model.logit_scale.exp().clamp(max=100).item(), "bias": 0.0}
    header = {"text": model.text.config._asdict(), "joint": joint, **language(task.tokenizer, GRAMMAR)}
    header |= {"decoder": {"depth": DECODER_DEPTH}, "pooler": {"queries": QUERIES, "heads": HEADS}}
    architecture = {**VISION, "pre_norm": True, "final_norm": False, "norm_eps": 1e-5}
    return Content("coca", architecture, tensors, task.split.scene, header)


def main() -> None:
    """Train it and write its file."""
    run(__doc__, {"coca": CocaTask}, TrainingSchedule(IMAGES), content)


if __name__ == "__main__":
    main()
