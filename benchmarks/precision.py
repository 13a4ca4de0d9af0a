"""What lower precision does to the measures, in bits: of the forward pass, of the store, of probe products.

    python benchmarks/precision.py [--save precision]

Activations of the shipped ViTs on 6,000 scenes are measured with the same seeds and samples, all in float32 and with
one thing in lower precision. The difference of B* is paired: its interval (95%, seeds then samples) is that of the
rounding alone.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch
from measuring import machine, save

from binding.fit import FitConfig
from binding.measurement import measure
from binding.samples import MeasureConfig
from binding.search import ProbeSpace, SearchConfig
from frozen.data.scenes import SPLITS, ColorShape, SplitPolicy
from frozen.data.scenes.priors import UniformPrior
from frozen.intervals import interval, resample, spread
from frozen.models import BackboneConfig
from sweep.engine.extractor import Extractor
from sweep.engine.passes import Output, Pass
from sweep.store.disk import Rows

SIZES = {"train": 3200, "validation": 800, "test": 2000}
SCENE = ColorShape(
    n_colors=4, n_shapes=4, max_objects=6, image_size=64, object_size=12, split=SplitPolicy(**SIZES), seed=0
)
PROBES = {
    "linear": ProbeSpace.of("linear", learning_rate=0.1),
    "quadratic_concat": ProbeSpace.of("quadratic_concat", learning_rate=0.01, rank=8),
    "dnn_concat": ProbeSpace.of("dnn_concat", learning_rate=1e-3, hidden_dim=64),
}
CONFIG = MeasureConfig(fit=FitConfig(epochs=20), search=SearchConfig(suggestions=1, ask=1), n_seeds=3)


def activations(source: str, precision: str, dtype: str) -> np.ndarray:
    """CLS of the last layer, all splits one after the other."""
    extractor, parts = Extractor(torch.device("cpu")), []
    for split in SPLITS:
        backbone = BackboneConfig(source=source, precision=precision)  # type: ignore[arg-type]
        job = Pass(SCENE, split, backbone, (Output("final", "cls", "key"),), dtype, SIZES[split])
        tables = [extractor.extract(job, block)["key"] for block in range(job.n_blocks)]
        parts.append(Rows.of(tables, "activations")[:])
    return np.concatenate(parts)


def read_bits(z: np.ndarray, probe: ProbeSpace, products: str) -> np.ndarray:
    """CE_F - CE_O of every test sample with every seed: B* up to H(O|F)."""
    codes = np.concatenate([SCENE.open(split).object_codes for split in SPLITS])
    ends = np.cumsum([SIZES[split] for split in SPLITS])[:-1]
    config = replace(CONFIG, fit=replace(CONFIG.fit, products=products))  # type: ignore[arg-type]
    prior = UniformPrior(SCENE.space, 0, 6)
    splits = np.split(np.arange(len(codes)), ends)
    losses = measure(z, codes, SCENE.space, prior=prior, probe=probe, splits=splits, config=config).losses
    return losses.features - losses.objects


def effect(reference: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Difference of B* in bits with its interval."""
    differences = other - reference
    value = float(differences.mean())
    drawn = resample({"bits": differences}, resamples=2000, seed=0)
    seeds = [(drawn.seeds["bits"], len(differences))]
    found = interval(value, spread(value, drawn.both["bits"], seeds, drawn.n_samples, seed=0), 0.95)
    return {"bits": round(found.value, 4), "low": round(found.low, 4), "high": round(found.high, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", metavar="NAME", help="write results/NAME.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, object]] = []
    for source in ("shipped:shapes_vit_objects", "shipped:shapes_vit_features"):
        exact = activations(source, "float32", "float32")
        lower = {
            "forward bfloat16": (activations(source, "bfloat16", "float32"), "float32"),
            "forward float16": (activations(source, "float16", "float32"), "float32"),
            "store float16": (exact.astype(np.float16), "float32"),
            "products bfloat16": (exact, "bfloat16"),
        }
        for family, probe in PROBES.items():
            reference = read_bits(exact, probe, "float32")
            for name, (z, products) in lower.items():
                found = effect(reference, read_bits(z, probe, products))
                rows.append({"backbone": source, "probe": family, "lower": name, **found})
                print("  ".join(map(str, rows[-1].values())), flush=True)
    if arguments.save:
        save(arguments.save, machine(torch.device("cpu")), rows)


if __name__ == "__main__":
    main()
