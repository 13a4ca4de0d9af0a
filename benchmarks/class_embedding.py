"""The read-out class_embedding against the way of the paper's programs, written plainly, in turns on one machine.

    python benchmarks/class_embedding.py [--model vit_base_patch32_224] [--images 10] [--only relevancy]

The plain way works in batches of 5 images: it keeps what every block made in files and reads the memories from there,
token by token in Python, ranks by sorting all logits, takes one backward pass for every token and block, runs one
image at a time for every number of tokens kept, and runs the model anew for every probe. Weights are random: only
time is measured. `bare` is the forward pass alone, below which no way of reading can come.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from frozen.capture.capture import capture
from frozen.capture.conditions import PLAIN
from frozen.capture.reductions import View
from frozen.capture.sites import Site
from frozen.data.scenes import SplitPolicy, TargetShapes
from frozen.models import Backbone, BackboneConfig, load
from readouts.class_embedding.deletion import Deletion
from readouts.class_embedding.memories import Memories
from readouts.class_embedding.probes import Statistics, ridge
from readouts.class_embedding.ranks import ClassRanks

FEW = 5
"""Images of a batch, as the paper's programs have it."""


class Bench:
    """One model and a few images."""

    def __init__(self, name: str, n_images: int) -> None:
        self.n = n_images
        self.split: Any = TargetShapes(split=SplitPolicy(train=n_images, validation=1, test=n_images)).open("test")
        self.model: Backbone = load(
            BackboneConfig(source=f"random:{name}"), self.split.scene, torch.device("cpu"), head=True
        )
        assert self.model.trunk is not None
        assert self.model.head is not None
        self.trunk, self.head = self.model.trunk, self.model.head
        self.n_blocks = len(self.trunk.blocks)
        self.images = self.split.images(np.arange(n_images))
        self.classes = torch.from_numpy(self.split.classes.copy())

    def batches(self, size: int) -> list[np.ndarray]:
        """Indices."""
        return np.array_split(np.arange(self.n), -(-self.n // size))

    def kept(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        """All that the plain way keeps of a batch: residual, attention, MLP, values, attention weights, fc1."""
        found: dict[str, torch.Tensor] = {}
        handles = []

        def keep(name: str) -> Callable[..., None]:
            return lambda _module, _inputs, output: found.__setitem__(name, output)

        for number, block in enumerate(self.trunk.blocks):
            attention: Any = block.get_submodule("attn")
            attention.fused_attn = False
            modules = {
                "hs": block,
                "attn": block.get_submodule("drop_path1"),
                "mlp": block.get_submodule("drop_path2"),
            }
            modules |= {"value": attention.qkv, "weights": attention.attn_drop, "key": block.get_submodule("mlp.fc1")}
            handles += [one.register_forward_hook(keep(f"{name}_{number}")) for name, one in modules.items()]
        with torch.no_grad():
            self.trunk.run(self.images[indices])
        for handle in handles:
            handle.remove()
        for block in self.trunk.blocks:
            block.get_submodule("attn").fused_attn = True  # pyright: ignore
        return found

    @torch.no_grad()
    def extraction_plain(self) -> None:
        """Ranks by sorting, everything in files."""
        with tempfile.TemporaryDirectory() as folder:
            for number, indices in enumerate(self.batches(FEW)):
                found = self.kept(indices)
                true = self.classes[torch.from_numpy(indices)]
                for name, value in found.items():
                    if name.startswith(("hs", "attn", "mlp")):
                        order = self.head.project(value).argsort(-1, descending=True)
                        places = (order == true[:, None, None]).nonzero()[:, 2]
                        torch.save((order[..., :5].clone(), places), Path(folder) / f"{name}_{number}.pt")
                    else:
                        torch.save(value.clone(), Path(folder) / f"{name}_{number}.pt")
                self._memories_plain(Path(folder), number, true)

    def _memories_plain(self, folder: Path, number: int, true: torch.Tensor) -> None:
        """Key-value agreement and memory match of every sublayer, from the files, with loops over tokens."""
        embeddings = self.head.linear.weight
        for block, module in enumerate(self.trunk.blocks):
            attention: Any = module.get_submodule("attn")
            weights = torch.load(folder / f"weights_{block}_{number}.pt")
            value = torch.load(folder / f"value_{block}_{number}.pt").chunk(3, -1)[2]
            value = value.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
            keys = {"attn": (weights @ value).transpose(1, 2).flatten(2)}
            keys["mlp"] = torch.load(folder / f"key_{block}_{number}.pt")
            outputs: Any = {"attn": attention.proj, "mlp": module.get_submodule("mlp.fc2")}
            for name, key in keys.items():
                favour = embeddings @ outputs[name].weight
                best, favoured = favour.topk(5, dim=1).indices, favour.argmax(0)
                active = key.topk(5, dim=-1).indices
                first = torch.load(folder / f"{name}_{block}_{number}.pt")[0][..., 0]
                agreed = [torch.isin(active[i], best[label]).any(-1) for i, label in enumerate(true)]
                torch.save(torch.stack(agreed), folder / f"agreed_{name}_{block}_{number}.pt")
                matched = torch.zeros(active.shape[:2], dtype=torch.bool)
                for i in range(active.shape[0]):
                    for token in range(active.shape[1]):
                        for memory in active[i, token]:
                            if favoured[memory] == first[i, token]:
                                matched[i, token] = True
                torch.save(matched, folder / f"matched_{name}_{block}_{number}.pt")

    @torch.no_grad()
    def extraction_bare(self) -> None:
        """The forward pass, and nothing read of it."""
        for indices in self.batches(64):
            self.head.pooled(self.trunk.run(self.images[indices]))

    def _reductions(self) -> list[Any]:
        """All sites of the paper, and memories."""
        blocks = [str(block) for block in range(self.n_blocks)]
        parts: tuple[Any, ...] = ("residual", "attention", "mlp")
        reductions: list[Any] = [ClassRanks(Site(block, part)) for block in blocks for part in parts]
        sublayers: tuple[Any, ...] = ("attention", "mlp")
        return reductions + [Memories(int(block), sublayer) for block in blocks for sublayer in sublayers]

    def extraction_ours(self) -> None:
        """Reduced where it is."""
        capture(self.model, self.split, self._reductions())

    def gigabytes(self) -> float:
        """What that keeps of 1,000 images."""
        columns = [column for one in self._reductions() for column in one.columns(self.model.description, PLAIN)]
        sizes = [np.dtype(column.dtype).itemsize * math.prod(column.shape or ()) for column in columns]
        return sum(sizes) * 1000 / 1e9

    def relevancy_plain(self) -> None:
        """A backward pass for every token and block, one image at a time."""
        for index in range(self.n):
            found = self.kept(np.array([index]))
            with torch.enable_grad():
                for number, block in enumerate(self.trunk.blocks):
                    attention: Any = block.get_submodule("attn")
                    n_heads = attention.num_heads
                    value = found[f"value_{number}"].chunk(3, -1)[2].unflatten(-1, (n_heads, -1)).transpose(1, 2)
                    weights = found[f"weights_{number}"].clone().requires_grad_()
                    logits = self.head.project(attention.proj((weights @ value).transpose(1, 2).flatten(2)))
                    for token in range(logits.shape[1]):
                        loss = nn.functional.cross_entropy(
                            logits[:, token].softmax(-1), self.classes[index : index + 1]
                        )
                        torch.autograd.grad(loss, weights, retain_graph=True)

    def relevancy_ours(self) -> None:
        """The closed form."""
        capture(self.model, self.split, [Deletion(self.n_blocks, (), ("relevancy",), "double")])

    @torch.no_grad()
    def deletion_plain(self) -> None:
        """One image and one number of tokens at a time."""
        n_prefix, n = self.model.description.layout.n_prefix, self.model.description.layout.n_spatial
        order = torch.from_numpy(np.random.default_rng(0).permutation(n))
        for index in range(self.n):
            for kept in range(1, n):
                chosen = torch.cat([torch.arange(n_prefix), order[:kept].sort().values + n_prefix])
                handle = self.trunk.blocks[0].register_forward_pre_hook(lambda _m, args, at=chosen: (args[0][:, at],))
                self.head.pooled(self.trunk.run(self.images[index : index + 1]))
                handle.remove()

    def deletion_ours(self) -> None:
        """The same curve and the one from the other end, a batch at once: two curves in this time."""
        n = self.model.description.layout.n_spatial
        capture(self.model, self.split, [Deletion(self.n_blocks, tuple(range(1, n)), ("random",))])

    @torch.no_grad()
    def probes_plain(self) -> None:
        """A forward pass over all images, as for every site and position; of 36 x 50 probes, three are timed."""
        for _ in range(3):
            for indices in self.batches(FEW):
                self.trunk.run(self.images[indices])

    def probes_ours(self) -> None:
        """One forward pass for all sites and positions."""
        sites = [
            Site(str(block), part) for block in range(self.n_blocks) for part in ("residual", "attention", "mlp")
        ]
        capture(self.model, self.split, [View(site, "all") for site in sites])

    def fit_seconds(self) -> float:
        """Of one probe on as many images as the paper has, which both ways must fit."""
        x = np.random.default_rng(0).normal(size=(N_TRAIN, self.model.description.layout.width)).astype(np.float32)
        begun = time.process_time()
        ridge(Statistics.of(x, np.arange(N_TRAIN) % self.head.n_classes, self.head.n_classes), 1.0)
        return time.process_time() - begun


N_TRAIN, N_PROBED = 9_090, 13_640
"""Images that a probe of the paper is trained on, and those and the ones it is tried on."""
SCALES = {"extraction": 1.0, "relevancy": 1.0, "deletion": 2.0, "probes": 36 * 50 / 3}
"""How many times more the plain way does for the same result than what is timed."""


def main() -> None:
    """Times in turns; the least of each is compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_base_patch32_224")
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=SCALES, nargs="*", default=list(SCALES))
    given = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(given.model, given.images)
    print(f"all sites and memories keep {bench.gigabytes():.3f} GB of 1,000 images", flush=True)
    for name in given.only:
        least: dict[str, float] = {}
        ways = [way for way in ("bare", "plain", "ours") if hasattr(bench, f"{name}_{way}")]
        for _ in range(given.rounds):
            for way in ways:
                begun = time.process_time()
                getattr(bench, f"{name}_{way}")()
                least[way] = min(least.get(way, np.inf), time.process_time() - begun)
        plain = SCALES[name] * least["plain"] / bench.n
        parts = [f"plain {plain:.3f} s", *(f"{way} {least[way] / bench.n:.3f} s" for way in ways if way != "plain")]
        ratio = plain * bench.n / least["ours"]
        print(f"{name}: {', '.join(parts)} an image, {ratio:.1f} times (processor time)", flush=True)
        if name == "probes":
            fit, n_probes = bench.fit_seconds(), 36 * 50
            ratio = (plain * N_PROBED + n_probes * fit) / (least["ours"] / bench.n * N_PROBED + n_probes * fit)
            print(
                f"probes: with {n_probes:,} fits of {fit:.2f} s and {N_PROBED:,} images {ratio:.0f} times", flush=True
            )


if __name__ == "__main__":
    main()
