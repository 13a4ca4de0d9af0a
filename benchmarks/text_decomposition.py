"""Capture and TextSpan against the plain way, in turns, on the processor.

    python -m benchmarks.text_decomposition [capture] [ablation] [textspan]

Capture: a random ViT of B/16's geometry (2 of its blocks, one image at a time): a bare forward pass, our capture of
heads and MLPs with and without the token map, and the form that the original code has, which holds what every head
wrote at every token from every token [images tokens tokens heads width]. TextSpan: heads of 64 numbers in a space of
512, 3,498 random texts, against the loop over heads and images. Ablation: accuracy among 1,000 classes without all
heads of a layer, of 10,000 stored images of B/16; and without those of eleven other layers in the same pass.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from frozen.capture.capture import capture
from frozen.intervals import IntervalConfig
from frozen.models import BackboneConfig, Pixels, VisionTransformer
from frozen.models._timm import tower_of
from frozen.models._torchvision_ops import declare_missing_operators
from readouts.text_decomposition.asked import Asked, Shared
from readouts.text_decomposition.capture import ImageTerms
from readouts.text_decomposition.given import Given
from readouts.text_decomposition.lens import Lens
from readouts.text_decomposition.removal import removed
from readouts.text_decomposition.texts import Classes, TextTable
from readouts.text_decomposition.textspan import Moments, naive_text_span, text_span

DEPTH, HEADS, WIDTH, IMAGES = 2, 12, 768, 1
TURNS = 5


def backbone() -> VisionTransformer:
    """Two blocks of ViT-B/16."""
    declare_missing_operators()
    from timm.models.vision_transformer import VisionTransformer as Model

    torch.manual_seed(0)
    model = Model(
        img_size=224, patch_size=16, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, pre_norm=True, num_classes=0
    )
    config = BackboneConfig(source="random:vit_base_patch16_224")
    return VisionTransformer(tower_of(model, 224), config, Pixels((0.5,) * 3, (0.5,) * 3), 224, torch.device("cpu"))


class Photos:
    """Random pixels."""

    def images(self, indices: np.ndarray) -> np.ndarray:
        return np.random.default_rng(0).integers(0, 256, (len(indices), 224, 224, 3), dtype=np.uint8)

    def __len__(self) -> int:
        return IMAGES


@torch.inference_mode()
def per_token(model: VisionTransformer, images: np.ndarray) -> None:
    """What every head writes at every token from every token, of which only the rows of CLS are used."""
    assert model.trunk is not None
    handles = []
    for block in model.trunk.blocks:
        attention: Any = block.attn

        def hook(module: Any, inputs: tuple[torch.Tensor], _output: torch.Tensor) -> None:
            x = inputs[0]
            query, keys, values = module.qkv(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
            weights = (module.scale * query @ keys.transpose(2, 3)).softmax(-1)
            shares = torch.einsum("bhnm,bhmd->bnmhd", weights, values)
            wrote = torch.einsum("bnmhd,whd->bnmhw", shares, module.proj.weight.unflatten(1, (HEADS, -1)))
            del wrote

        handles.append(attention.register_forward_hook(hook))
    model.trunk.run(images)
    for handle in handles:
        handle.remove()


def timed(ways: dict[str, Callable[[], object]], turns: int = TURNS) -> dict[str, float]:
    """Median seconds of the processor of each way, so that other work on the machine counts little; in turns."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(turns):
        for name, way in ways.items():
            start = time.process_time()
            way()
            found[name].append(time.process_time() - start)
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def captures() -> dict[str, float]:
    """Seconds of each way for one image."""
    model, photos = backbone(), Photos()
    images = photos.images(np.arange(IMAGES))

    @torch.inference_mode()
    def bare() -> None:
        assert model.trunk is not None
        model.trunk.run(images)

    return timed(
        {
            "bare forward pass": bare,
            "heads and MLPs": lambda: capture(model, photos, [ImageTerms(DEPTH)]),
            "with token map": lambda: capture(model, photos, [ImageTerms(DEPTH, tokens=True)]),
            "per token, as in the original": lambda: per_token(model, images),
        },
        turns=2,
    )


def spans() -> dict[str, float]:
    """Seconds for ten texts of three heads."""
    random = torch.Generator().manual_seed(0)
    basis = torch.randn(3, 512, 64, generator=random, dtype=torch.float64)
    coordinates = torch.randn(1500, 3, 64, generator=random, dtype=torch.float64)
    texts = normalize(torch.randn(3498, 512, generator=random, dtype=torch.float64), dim=1)

    def loop() -> None:
        for head in range(3):
            naive_text_span(coordinates[:, head] @ basis[head].T, texts, 10, 64)

    return timed({"batched": lambda: text_span(Moments.of(coordinates), basis, texts, 10), "loop": loop}, turns=1)


def stored_clip(n: int = 10_000, blocks: int = 12, joint: int = 512, n_classes: int = 1000) -> Given:
    """Random images of ViT-B/16, as they are stored, and a classifier."""
    rng = np.random.default_rng(0)

    def normal(*shape: int, dtype: str = "float32") -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32).astype(dtype)

    heads = normal(n, blocks, HEADS, WIDTH // HEADS, dtype="float16")
    images = {"heads": heads, "from_first": heads, "mlps": normal(n, blocks + 1, WIDTH, dtype="float16")}
    images |= {"mean": normal(n), "scale": np.abs(normal(n)) + 1, "weight": np.ones(n, np.float32)}
    images |= {"embedding": normal(n, WIDTH)}
    weights = {"output": normal(blocks, WIDTH, WIDTH), "output_bias": normal(blocks, WIDTH), "gain": normal(WIDTH)}
    weights |= {"norm_bias": normal(WIDTH), "project": normal(joint, WIDTH), "project_bias": normal(joint)}
    lens = Lens(**{name: torch.from_numpy(one) for name, one in weights.items()}, n_heads=HEADS, n_tokens=197)
    shared = Shared("evaluated", "uniform", (), None, ("auto",), IntervalConfig(), 0)
    classes = Classes(tuple(map(str, range(n_classes))), rng.integers(n_classes, size=n))
    texts = TextTable((), np.zeros((0, joint), np.float32))
    return Given(
        lens,
        texts,
        classes,
        normal(n_classes, joint),
        np.arange(n_classes),
        {},
        {},
        1.0,
        "",
        None,
        {"test": images},
        Asked("ablation", "final", "embedding", shared),
    )


def ablations() -> dict[str, float]:
    """Seconds of one set, and of each further one in the same pass."""
    given = stored_clip()
    layers = [[str(layer)] for layer in range(12)]
    found = timed({"1": lambda: removed(given, layers[:1]), "12": lambda: removed(given, layers)}, turns=1)
    return {"one set": found["1"], "each further set": (found["12"] - found["1"]) / 11}


def main() -> None:
    """Measure, print and keep the numbers."""
    torch.set_num_threads(1)
    known = {"capture": captures, "ablation": ablations, "textspan": spans}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"{', '.join(known)}; all of them by default")
    path = Path(__file__).parent / "results" / "text_decomposition.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    for name in parser.parse_args().what or known:
        found[name] = known[name]()
        print(name, json.dumps(found[name]), flush=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
