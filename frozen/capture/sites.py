"""Sites: the places in a forward pass that can be read, by the names they have in a study."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal, get_args

from frozen.models import BLOCK_PARTS, Description

Part = Literal["residual", "mid", "attention", "mlp", "heads", "mlp_hidden", "values", "embedding", "logits"]
PARTS: tuple[Part, ...] = get_args(Part)
PART_MEANINGS: dict[Part, str] = {
    "residual": "the residual stream as it leaves the block: tokens [token dim]",
    "mid": "the residual stream between attention and MLP: tokens [token dim]",
    "attention": "what attention adds to the residual stream, layer scale and later norms included: [token dim]",
    "mlp": "what the MLP adds to it, layer scale and later norms included: [token dim]",
    "heads": "output of every attention head as the output projection reads it: [token head dim]",
    "mlp_hidden": "activations of the MLP's hidden units, as its last linear layer reads them: [token unit]",
    "values": "values of every attention head: [token head dim]",
    "embedding": "the image's embedding, pooled after the final norm, before the classifier: [dim]",
    "logits": "class projection of the layer's tokens: [token class]; at `final` the model's own output: [class]",
}
"""What each part is, and its shape for one sample."""
_OF_HEADS = ("heads", "values")


@dataclass(frozen=True)
class Site:
    """A place in a forward pass.

    Attributes:
        layer: embed (what the first block sees), 0, 1, ... (a block; -1 is the last), final (after the final norm).
        part: of the layer; by default the residual stream.
        head: of the parts `heads` and `values`, one head alone; None for all.

    Raises:
        ValueError: a part that the layer cannot have.
    """

    layer: str
    part: Part = "residual"
    head: int | None = None

    def __post_init__(self) -> None:
        if self.head is not None and (self.part not in _OF_HEADS or self.head < 0):
            raise ValueError(f"site {self}: only {' and '.join(_OF_HEADS)} have numbers, from 0")
        if self.part == "embedding" and self.layer != "final":
            raise ValueError(f"site {self}: the image's embedding is pooled at the end; write embedding")
        if self.part in BLOCK_PARTS and self.layer in ("embed", "final"):
            raise ValueError(f"site {self}: {self.part} is a part of blocks; write a block's number before it")

    @classmethod
    def parse(cls, text: str | int) -> Site:
        """A site as a study writes it: 11, -1, embed, final, 11.attention, 11.heads.3, embedding, logits.

        Raises:
            ValueError: a text of another form.
        """
        layer, *rest = str(text).split(".")
        if not rest and layer in ("embedding", "logits"):
            return cls("final", layer)
        if len(rest) > 2 or not layer or (len(rest) == 2 and not rest[1].isdigit()):
            raise ValueError(f"a site is LAYER, LAYER.PART or LAYER.heads.NUMBER, got {text!r}")
        return cls(layer, _part(rest[0]) if rest else "residual", int(rest[1]) if len(rest) == 2 else None)

    def __str__(self) -> str:
        """The text that `parse` reads; of the residual stream, the layer alone."""
        if self.layer == "final" and self.part in ("embedding", "logits"):
            return self.part
        number = "" if self.head is None else f".{self.head}"
        return self.layer + f".{self.part}" * (self.part != "residual") + number

    @property
    def has_tokens(self) -> bool:
        """Whether there is a value for every token, or one for the image."""
        return not (self.layer == "final" and self.part in ("embedding", "logits"))

    def resolved(self, description: Description) -> Site:
        """The same site with the block counted from the first.

        Raises:
            ValueError: more blocks from the end than there are.
        """
        if not self.layer.startswith("-"):
            return self
        blocks = [layer for layer in description.layers if layer.isdigit()]
        number = int(self.layer)
        if -number > len(blocks):
            raise ValueError(f"site {self}: the backbone has {len(blocks)} blocks")
        return replace(self, layer=blocks[number])

    def refusal(self, description: Description) -> str | None:
        """Why a model does not have this site, or None if it does."""
        if self.layer not in description.layers:
            return f"it has no layer {self.layer}; there are {', '.join(description.layers)}"
        if self.part in BLOCK_PARTS:
            shape = description.part(self.part)
            if isinstance(shape, str):
                return shape
            if self.head is not None and self.head >= shape[0]:
                return f"its {self.part} are numbered 0 to {shape[0] - 1}"
        if self.part == "embedding" and not description.embedding_width:
            return "it has no embedding pooled from its tokens"
        if self.part == "logits" and not description.n_classes:
            return "it has no classifier, or was loaded without it"
        return None

    def shape(self, description: Description, n_tokens: int | None = None) -> tuple[int, ...]:
        """Shape of one sample, registers included.

        Args:
            description: of the model; `refusal` says whether it has the site.
            n_tokens: where a condition leaves another number of them.
        """
        layout = description.layout_of(self.layer)
        tokens = layout.n_tokens if n_tokens is None else n_tokens
        if not self.has_tokens:
            return (description.embedding_width if self.part == "embedding" else description.n_classes,)
        if self.part in ("residual", "logits"):
            return (tokens, layout.width if self.part == "residual" else description.n_classes)
        of_token = description.part(self.part)
        assert not isinstance(of_token, str)
        return (tokens, *(of_token if self.head is None else of_token[1:]))


def _part(name: str) -> Part:
    for part in PARTS:
        if part == name:
            return part
    close = get_close_matches(name, PARTS, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise ValueError(f"no part {name!r} of a layer; there are {', '.join(PARTS)}{hint}")


def sites(description: Description) -> tuple[Site, ...]:
    """Every site that a model has, in order of depth; parts with heads once, for all heads together."""
    named = [
        Site(layer, part)
        for layer in description.layers
        for part in PARTS
        if not (part == "embedding" and layer != "final")
        and not (part in BLOCK_PARTS and layer in ("embed", "final"))
    ]
    return tuple(site for site in named if site.refusal(description) is None)
