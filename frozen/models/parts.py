"""What a model may have beside its trunk: a classifier head, a text tower, a caption decoder.

model = open_shipped("shapes_clip_objects")
images = model.text.image_vectors(model.pixels(split.images(range(8))))
scores = model.text.scores(images, model.text.encode(["a red square", "a blue circle"]))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor
from torch.nn.functional import linear, normalize

from frozen.models._trunk import digest
from frozen.models.decoding import Tokenizer
from frozen.models.text_tower import AttentionalPooler, CaptionDecoder, KeysValues, TextTower
from frozen.models.words import WordTokenizer


class Head(NamedTuple):
    """A linear classifier on the CLS token after the final norm.

    Attributes:
        weight: float32 [classes width].
        bias: float32 [classes].
        classes: what each class is called.
    """

    weight: Float[Tensor, "classes width"]
    bias: Float[Tensor, " classes"]
    classes: tuple[str, ...]

    def logits(self, tokens: Float[Tensor, "... width"]) -> Float[Tensor, "... classes"]:
        """Logits of tokens, of CLS or of any other."""
        return linear(tokens, self.weight, self.bias)


class Text:
    """A text tower, and the joint space that images and texts share.

    Args:
        tokenizer: texts to ids.
        tower: ids to one vector a text.
        project: CLS after the final norm (CLIP), or a memory's first slot (CoCa), to the joint space.
        scale: factor of the cosine of image and text in a score.
        bias: what is added to it.
    """

    def __init__(
        self,
        tokenizer: WordTokenizer,
        tower: TextTower,
        project: Float[Tensor, "joint width"],
        scale: float,
        bias: float,
    ) -> None:
        self.tokenizer, self.tower, self.project = tokenizer, tower, project
        self.scale, self.bias = scale, bias

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts joint"]:
        """One vector a text, not normalised.

        Raises:
            UnknownWordError: a word outside the vocabulary.
        """
        if not texts:
            return np.zeros((0, self.project.shape[0]), dtype=np.float32)
        # texts of one vocabulary repeat: equal texts are read once, so that they have equal vectors to the last bit
        unique = list(dict.fromkeys(texts))
        vectors = self.tower(torch.from_numpy(self.tokenizer.encode(unique)))[1].numpy()
        row = {text: i for i, text in enumerate(unique)}
        return vectors[[row[text] for text in texts]]

    def reads(self, text: str) -> bool:
        """Whether all its words are known, and no more than there is room for."""
        try:
            self.tokenizer.encode([text])
        except ValueError:
            return False
        return True

    def image_vectors(self, pooled: Float[Tensor, "images width"]) -> Float32[np.ndarray, "images joint"]:
        """Vectors of images in the joint space, not normalised."""
        return linear(pooled, self.project).numpy()

    def scores(
        self, images: Float32[np.ndarray, "images joint"], texts: Float32[np.ndarray, "texts joint"]
    ) -> Float32[np.ndarray, "images texts"]:
        """Scaled cosine of every pair, plus the bias: the logit of the text being true, in models trained on it."""
        one, other = (normalize(torch.from_numpy(np.ascontiguousarray(side)), dim=1) for side in (images, texts))
        return (self.scale * one @ other.T + self.bias).numpy()


class State(NamedTuple):
    """What decoding has seen of its captions so far.

    Attributes:
        memory: keys and values of the image's memory in each cross block.
        text: those of the different texts so far in each block of the text tower, which reads no image.
        which: the text of each caption.
        decoder: keys and values of the captions in each block of the decoder.
        length: ids read.
    """

    memory: list[KeysValues]
    text: list[KeysValues] | None
    which: Int64[Tensor, " n"] | None
    decoder: list[KeysValues] | None
    length: int


class Decoder:
    """Reads captions from the tokens of any layer of its trunk, through the model's own pooler.

    Args:
        tokenizer: texts to ids.
        pooler: tokens to a memory; slot 0 is the image's own vector and is not part of the memory.
        tower: the text tower, whose tokens the decoder reads.
        decoder: self and cross blocks.
    """

    def __init__(
        self, tokenizer: Tokenizer, pooler: AttentionalPooler, tower: TextTower, decoder: CaptionDecoder
    ) -> None:
        self.tokenizer, self.pooler, self.tower, self.decoder = tokenizer, pooler, tower, decoder

    @property
    def weights_digest(self) -> str:
        """sha256 of the weights of pooler, text tower and decoder."""
        modules = {"pooler": self.pooler, "text": self.tower, "decoder": self.decoder}
        weights = {f"{part}.{name}": v for part, of in modules.items() for name, v in of.state_dict().items()}
        return digest(weights)

    def to(self, device: torch.device) -> Decoder:
        """The same decoder, its weights moved to a device."""
        for module in (self.pooler, self.tower, self.decoder):
            module.to(device)
        return self

    @torch.inference_mode()
    def memory(self, tokens: Float[Tensor, "images tokens width"]) -> Float[Tensor, "images slots memory_width"]:
        """What the decoder sees of a layer's tokens, prefix tokens included."""
        return self.pooler(tokens)[:, 1:]

    def begin(self, memory: Float[Tensor, "n slots width"]) -> State:
        """Nothing written yet."""
        return State(self.decoder.see(memory), None, None, None, 0)

    def step(self, state: State, ids: Int64[Tensor, "n new"]) -> tuple[Float[Tensor, "n new vocabulary"], State]:
        """Logits of the id after each of the new ids; after the first call, one id at a time."""
        tokens, text, which = self._texts(state, ids)
        logits, seen = self.decoder(tokens, state.memory, state.decoder)
        return logits, State(state.memory, text, which, seen, state.length + ids.shape[1])

    def keep(self, state: State, rows: Int64[Tensor, " some"]) -> State:
        """The state of some captions alone."""
        memory = [one.rows(rows) for one in state.memory]
        decoder = state.decoder and [one.rows(rows) for one in state.decoder]
        return State(memory, state.text, None if state.which is None else state.which[rows], decoder, state.length)

    def _texts(
        self, state: State, ids: Int64[Tensor, "n new"]
    ) -> tuple[Float[Tensor, "n new width"], list[KeysValues], Int64[Tensor, " n"]]:
        """What the text tower makes of the new ids: equal texts, as many layers write them, are read once."""
        if state.text is None or state.which is None:
            unique, which = torch.unique(ids, dim=0, return_inverse=True)
            tokens, seen = self.tower.step(unique, None, 0)
        else:
            n_ids = self.tower.config.vocabulary
            unique, which = torch.unique(state.which * n_ids + ids[:, 0], return_inverse=True)
            before = [one.rows(unique // n_ids) for one in state.text]
            tokens, seen = self.tower.step(unique[:, None] % n_ids, before, state.length)
        return tokens[which], seen, which


class ShippedModel(NamedTuple):
    """A model that ships with the project, with its parts.

    Attributes:
        name: of its file.
        header: the values of the file's header.
        tokens: normalised pixels to the tokens of the last layer, after the final norm if there is one.
        pixels: uint8 images [n height width 3] to normalised pixels [n 3 height width].
        head: classifier, or None.
        text: text tower, or None.
        decoder: caption decoder, or None.
    """

    name: str
    header: dict[str, Any]
    tokens: Callable[[Float[Tensor, "n 3 size size"]], Float[Tensor, "n tokens width"]]
    pixels: Callable[[np.ndarray], Float[Tensor, "n 3 size size"]]
    head: Head | None
    text: Text | None
    decoder: Decoder | None

    @torch.inference_mode()
    def read(self, images: np.ndarray) -> Float[Tensor, "n tokens width"]:
        """Tokens of the last layer of uint8 images [n height width 3]."""
        return self.tokens(self.pixels(images))

    @torch.inference_mode()
    def vectors(self, images: np.ndarray) -> Float32[np.ndarray, "n joint"]:
        """Vectors of uint8 images in the joint space.

        Raises:
            ValueError: a model without a text tower.
        """
        if self.text is None:
            raise ValueError(f"{self.name} has no text tower; shapes_clip_objects, for one, has")
        tokens = self.read(images)
        pooled = tokens[:, 0] if self.decoder is None else self.decoder.pooler(tokens)[:, 0]
        return self.text.image_vectors(pooled)
