"""Trains the two small ViTs that ship with the project.

    python -m frozen.models.train_shipped objects
    python -m frozen.models.train_shipped features

Both see the same kind of images (4 colours x 4 shapes, up to 6 objects of 12 px on 64 x 64 px) and have
the same architecture. One is trained to report the object code, so its CLS token must bind; the other to
report the feature code only, so it need not. Their contrast is what the quickstart study shows.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from frozen.data.scenes import ColorShape, SplitPolicy
from frozen.models._torchvision_ops import declare_missing_operators

declare_missing_operators()
from timm.models.vision_transformer import VisionTransformer  # noqa: E402

ARCHITECTURE = {"img_size": 64, "patch_size": 8, "embed_dim": 128, "depth": 6, "num_heads": 4, "mlp_ratio": 2.0}
MEAN = STD = (0.5, 0.5, 0.5)
TARGETS = ("objects", "features")
_HELD_OUT = 4000
_SEED = 20_260  # far from the seeds of any study, so that no study image was trained on


class VitSchedule(NamedTuple):
    """How long and how fast to train."""

    images: int = 480_000
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.05

    @property
    def steps(self) -> int:
        return self.images // self.batch

    def rate(self, step: int) -> float:
        """Linear warm-up, then a cosine to zero; a factor of the learning rate."""
        warmup = self.warmup * self.steps
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (self.steps - warmup)))


def scenes(images: int) -> ColorShape:
    """The training distribution, the quickstart's with another seed."""
    split = SplitPolicy(train=images, validation=_HELD_OUT, test=_HELD_OUT)
    return ColorShape(n_colors=4, n_shapes=4, max_objects=6, image_size=64, object_size=12, seed=_SEED, split=split)


def batches(schedule: VitSchedule, target: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalised images and their codes, rendered one batch ahead; no image is seen twice."""
    split = scenes(schedule.images).open("train")
    codes = split.object_codes if target == "objects" else split.space.feature_codes(split.object_codes)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        indices = np.arange(step * schedule.batch, (step + 1) * schedule.batch)
        return normalise(split.images(indices)), torch.from_numpy(codes[indices]).float()

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(batch, 0)
        for step in range(1, schedule.steps + 1):
            ready = ahead.result()
            if step < schedule.steps:
                ahead = pool.submit(batch, step)
            yield ready


def normalise(images: np.ndarray) -> Tensor:
    """uint8 [batch height width 3] -> float32 [batch 3 height width] with the model's mean and deviation."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255)
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def loss_bits(logits: Tensor, codes: Tensor) -> Tensor:
    """Cross-entropy of the code in bits a sample."""
    total = binary_cross_entropy_with_logits(logits.float(), codes, reduction="sum")
    return total / (len(codes) * math.log(2))


@torch.no_grad()
def evaluate(model: VisionTransformer, target: str) -> float:
    """Loss in bits a sample on images that were not trained on."""
    split = scenes(_HELD_OUT).open("test")
    codes = split.object_codes if target == "objects" else split.space.feature_codes(split.object_codes)
    model.eval()
    losses = [
        loss_bits(model(normalise(split.images(part))), torch.from_numpy(codes[part]).float()).item()
        for part in np.array_split(np.arange(_HELD_OUT), 16)
    ]
    model.train()
    return float(np.mean(losses))


def train(target: str, schedule: VitSchedule, seed: int) -> tuple[VisionTransformer, list[dict[str, float]]]:
    """The trained model and its learning curve in bits."""
    torch.manual_seed(seed)
    space = scenes(1).space
    outputs = space.n_objects if target == "objects" else space.n_features
    model = VisionTransformer(**ARCHITECTURE, num_classes=outputs)  # pyright: ignore
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay, betas=(0.9, 0.98)
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule.rate)
    curve, recent, start = [], [], time.perf_counter()
    for step, (pixels, codes) in enumerate(batches(schedule, target), start=1):
        loss = loss_bits(model(pixels), codes)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        recent.append(loss.item())
        if step % 250 == 0 or step == schedule.steps:
            curve.append({"images": step * schedule.batch, "train_bits": round(float(np.mean(recent)), 4)})
            rate = step * schedule.batch / (time.perf_counter() - start)
            print(
                f"{target}: {curve[-1]['images']:>7} images, {curve[-1]['train_bits']:.3f} bits, {rate:.0f}/s",
                flush=True,
            )
            recent.clear()
    return model, curve


def save(model: VisionTransformer, target: str, record: dict[str, object], folder: Path) -> Path:
    """Write float16 weights, without the head, with everything a loader needs in the header."""
    weights = {
        name: value.detach().half().contiguous()
        for name, value in model.state_dict().items()
        if not name.startswith("head.")
    }
    header = {
        "architecture": json.dumps(ARCHITECTURE),
        "mean": json.dumps(MEAN),
        "std": json.dumps(STD),
        "target": target,
        "training": json.dumps(record),
    }
    path = folder / f"shapes_vit_{target}.safetensors"
    save_file(weights, path, metadata=header)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--images", type=int, default=VitSchedule().images)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "weights")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    schedule = VitSchedule(images=arguments.images)
    model, curve = train(arguments.target, schedule, arguments.seed)
    record = {
        **schedule._asdict(),
        "seed": arguments.seed,
        "train_loss_bits": curve[-1]["train_bits"],
        "test_loss_bits": round(evaluate(model, arguments.target), 4),
        "curve": curve,
    }
    arguments.folder.mkdir(parents=True, exist_ok=True)
    path = save(model, arguments.target, record, arguments.folder)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, test loss {record['test_loss_bits']} bits")


if __name__ == "__main__":
    main()
