"""A sparse dictionary: an encoder, a decoder whose rows are atoms, and the normalisation they live in."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

Kind = Literal["relu_l1", "topk", "batchtopk", "jumprelu", "gated", "matryoshka"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FORMAT = 1
_TENSORS = ("encoder", "encoder_bias", "decoder", "bias", "centre", "threshold", "gain", "magnitude_bias")


class DictionaryError(ValueError):
    """Bytes or weights that are no dictionary; the message says why."""


@dataclass(frozen=True)
class Dictionary:
    """A trained sparse dictionary of M atoms over activations of width D.

    It works on z = scale · (x − centre). The code is f(z) = σ(E (z − b) + e), the reconstruction Dᵀ f + b
    (paper, section 3.1); σ depends on the kind.

    Attributes:
        kind: which σ.
        k: active atoms a row of topk, and on average of batchtopk and matryoshka; 0 for the others.
        scale: factor of activations, after the centre was removed.
        encoder: E, float32 [M D].
        encoder_bias: e [M]; of `gated`, that of the gate.
        decoder: D [M D], a row an atom.
        bias: b [D], subtracted before encoding and added after decoding.
        centre: [D], in units of the activations.
        threshold: [M], below which a pre-activation counts as nothing; zeros where the kind has none.
        gain: [M] of `gated`: logarithm of the magnitude's gain on the gate's rows; zeros otherwise.
        magnitude_bias: [M] of `gated`; zeros otherwise.
    """

    kind: Kind
    k: int
    scale: float
    encoder: Float[Tensor, "latents dim"]
    encoder_bias: Float[Tensor, " latents"]
    decoder: Float[Tensor, "latents dim"]
    bias: Float[Tensor, " dim"]
    centre: Float[Tensor, " dim"]
    threshold: Float[Tensor, " latents"]
    gain: Float[Tensor, " latents"]
    magnitude_bias: Float[Tensor, " latents"]

    @property
    def n_atoms(self) -> int:
        """M."""
        return len(self.decoder)

    @property
    def width(self) -> int:
        """D."""
        return self.decoder.shape[1]

    @property
    def directions(self) -> Float[Tensor, "latents dim"]:
        """Unit vectors of the atoms in the space of the activations."""
        return torch.nn.functional.normalize(self.decoder, dim=1)

    def encode(self, x: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows latents"]:
        """Codes, ≥ 0; those of a row do not depend on the other rows."""
        z = (x.float() - self.centre) * self.scale - self.bias
        linear = z @ self.encoder.T
        pre = linear + self.encoder_bias
        if self.kind == "gated":
            magnitude = torch.relu(linear * self.gain.exp() + self.magnitude_bias)
            return magnitude * (pre > 0)
        if self.kind == "topk":
            return keep_largest(torch.relu(pre), self.k)
        return torch.relu(pre) * (pre > self.threshold)

    def decode(self, f: Float[Tensor, "rows latents"]) -> Float[Tensor, "rows dim"]:
        """Reconstructions in units of the activations."""
        return (f @ self.decoder + self.bias) / self.scale + self.centre

    def to(self, device: torch.device) -> Dictionary:
        """The same on a device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in _TENSORS})

    def to_bytes(self) -> bytes:
        """As safetensors, everything that encoding needs included."""
        tensors = {name: getattr(self, name).detach().cpu().contiguous() for name in _TENSORS}
        about = {"format": FORMAT, "kind": self.kind, "k": self.k, "scale": self.scale}
        return save(tensors, {"concepts": json.dumps(about)})

    @classmethod
    def from_bytes(cls, content: bytes) -> Dictionary:
        """What `to_bytes` wrote.

        Raises:
            DictionaryError: other bytes.
        """
        try:
            tensors = load(content)
            length = int.from_bytes(content[:8], "little")
            about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["concepts"])
            if about["format"] != FORMAT:
                raise DictionaryError(f"a dictionary of format {about['format']}; this version reads {FORMAT}")
            return cls(about["kind"], about["k"], about["scale"], **{name: tensors[name] for name in _TENSORS})
        except (SafetensorError, KeyError, ValueError) as error:
            raise DictionaryError(f"not a dictionary of this read-out: {error}") from error


def keep_largest(values: Float[Tensor, "... latents"], k: int) -> Float[Tensor, "... latents"]:
    """The k largest of each row, zeros elsewhere."""
    if k >= values.shape[-1]:
        return values
    largest = values.topk(k, dim=-1)
    return torch.zeros_like(values).scatter_(-1, largest.indices, largest.values)
