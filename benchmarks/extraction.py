"""Speed of extraction: the actor, every layer and pooled mode included, against the bare forward loop.

    python benchmarks/extraction.py                                    # small models, a minute on two cores
    python benchmarks/extraction.py --model timm:vit_small_patch14_dinov2 --image-size 224 --images 128
    python benchmarks/extraction.py --gpu                              # DINOv2-L sizes in bfloat16

Both sides run the same model, weights, batches, precision and device, alternating. The bare loop gets
pixels that lie ready on the device and throws its output away; the actor also draws the images, copies,
resizes and normalises them, reads all layers in all pooled modes, and makes the tables of the store. Rates
are medians. Weights are random: they do not matter for speed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch

from frozen.allocator import keep_freed_memory
from frozen.capture.capture import in_batches
from frozen.capture.conditions import PLAIN
from frozen.capture.reductions import View
from frozen.capture.sites import Site
from frozen.capture.views import MODES, refuses
from frozen.data.scenes import ColorShape, SplitPolicy
from frozen.models import BackboneConfig, describe
from sweep.engine.extractor import Extractor, batch_samples
from sweep.engine.passes import BLOCK_SAMPLES, Output, Pass, make_batch


class Rates(NamedTuple):
    """Images a second."""

    bare: float
    actor: float


def job_of(config: BackboneConfig, images: int, scene_size: int) -> Pass:
    """One pass over all layers and pooled modes."""
    scene = ColorShape(image_size=scene_size, object_size=max(8, scene_size // 16), split=SplitPolicy(train=images))
    description = describe(config, scene)
    modes = [mode for mode in MODES if mode != "all" and refuses(mode, description.layout) is None]
    views = (View(Site(layer), mode) for layer in description.layers for mode in modes)
    outputs = tuple(Output(view, str(view)) for view in views)
    return Pass(scene, "train", config, outputs, "float16", images)


def timed(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(config: BackboneConfig, images: int, scene_size: int, rounds: int, device: torch.device) -> Rates:
    """Both sides, alternating."""
    job = job_of(config, images, scene_size)
    layout = describe(config, job.scene).layout
    extractor = Extractor(device, render_threads=4 if device.type == "cuda" else 1)
    backbone: Any = extractor._loaded(job)
    split = job.scene.open("train")
    n_samples = batch_samples(layout.n_tokens, device.type)
    sizes = [
        len(part)
        for block in range(job.n_blocks)
        for part in in_batches(job.block_samples(block), n_samples, PLAIN, {}, layout)
    ]
    first = make_batch(split, np.arange(max(sizes)), images=True)
    pixels = backbone._pixels(first.images)

    @torch.inference_mode()
    def bare() -> None:
        with backbone._autocast():
            for size in sizes:
                backbone._tower.run(pixels[:size])

    calls = ThreadPoolExecutor(2)  # two at once and always the same threads, as in Ray

    def actor() -> None:
        list(calls.map(lambda block: extractor.extract(job, block), range(job.n_blocks)))

    bare(), actor()
    pairs = [(timed(bare, device), timed(actor, device)) for _ in range(rounds)]
    return Rates(*(images / statistics.median(times) for times in zip(*pairs, strict=True)))


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of large products, the most a model could reach."""
    n = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    timed(lambda: left @ right, device)
    return 2 * n**3 / min(timed(lambda: left @ right, device) for _ in range(20))


def report(config: BackboneConfig, rates: Rates, device: torch.device, peak: float) -> None:
    description = describe(config, ColorShape())
    share = rates.actor * description.forward_flops / peak
    print(
        f"{config.source} {description.image_size} px, {description.layout.n_tokens} tokens, {config.precision}: "
        f"bare {rates.bare:,.1f}/s, actor {rates.actor:,.1f}/s, ratio {rates.actor / rates.bare:.3f}, "
        f"{description.forward_flops / 1e9:,.2f} GFLOP an image, {share:.0%} of the matrix rate "
        f"({peak / 1e12:,.2f} TFLOP/s on {device.type})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="shipped:shapes_vit_objects")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--scene-size", type=int, default=64, help="pixels a side of the drawn images")
    parser.add_argument("--images", type=int, default=4 * BLOCK_SAMPLES)
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gpu", action="store_true", help="DINOv2-L with random weights at 224 and 336 px, bfloat16")
    arguments = parser.parse_args()
    if arguments.gpu and not torch.cuda.is_available():
        parser.error("there is no GPU that torch can use")
    device = torch.device("cuda" if arguments.gpu else "cpu")
    precision = "bfloat16" if arguments.gpu else arguments.precision
    if device.type == "cpu":  # as workers do
        torch.set_num_threads(1)
        keep_freed_memory()
    cases = [(arguments.model, arguments.image_size)]
    if arguments.gpu:
        cases = [("random:vit_large_patch14_dinov2", size) for size in (224, 336)]
    peak = matrix_rate(device, getattr(torch, precision))
    for source, size in cases:
        config = BackboneConfig(source=source, image_size=size, precision=precision, compile=arguments.compile)
        scene_size = 256 if arguments.gpu else arguments.scene_size
        images = 16 * BLOCK_SAMPLES if arguments.gpu else arguments.images
        rates = measure(config, images, scene_size, arguments.rounds, device)
        report(config, rates, device, peak)


if __name__ == "__main__":
    main()
