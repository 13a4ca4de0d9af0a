"""From a trained model to the file that ships: the command line of the training scripts."""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from frozen.data.scenes import GRAMMAR_VERSION
from frozen.models._training import HELD_OUT_SEED, MEAN, STD, LearningTask, TrainingSchedule, train
from frozen.models._vision import digest
from frozen.models.held_out import numbers
from frozen.models.opening import FORMAT, open_file
from frozen.models.words import WordTokenizer
from frozen.whole_files import appearing

HELD_OUT = 2_000
"""Scenes that each number of a header is measured on."""


class Content(NamedTuple):
    """What a file holds.

    Attributes:
        kind: class, clip or coca; it says which parts the model has.
        architecture: of the vision tower.
        tensors: by name; those of the vision tower have timm's names, those of the parts a prefix.
        scene: the data set that was trained on.
        header: what the parts have to be built from.
    """

    kind: str
    architecture: dict[str, Any]
    tensors: Mapping[str, Tensor]
    scene: Any
    header: dict[str, Any]


def prefixed(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """The weights of a part."""
    return {f"{prefix}.{name}": value for name, value in module.state_dict().items()}


def language(tokenizer: WordTokenizer, grammar: str) -> dict[str, Any]:
    """The header's entries about words."""
    return {"vocabulary": tokenizer.vocabulary, "grammar": grammar, "grammar_version": GRAMMAR_VERSION}


def run(
    description: str | None,
    tasks: Mapping[str, Callable[[int, int], LearningTask[Any]]],
    schedule: TrainingSchedule,
    content: Callable[[Any], Content],
) -> None:
    """Parse the command line, train one task, write its file, and measure what it can do."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if len(tasks) > 1:
        parser.add_argument("task", choices=tuple(tasks))
    parser.add_argument("--images", type=int, default=schedule.images, help="images to train on, each once")
    parser.add_argument("--seed", type=int, default=0, help="of the initial weights and the choice of captions")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--held-out", type=int, default=HELD_OUT, help="scenes to measure the model on")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "weights")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    schedule = schedule._replace(images=arguments.images)
    name = arguments.task if len(tasks) > 1 else next(iter(tasks))
    task = tasks[name](schedule.images, arguments.seed)
    checkpoint = arguments.folder / f"{task.name}.checkpoint"
    progress = train(task, schedule, checkpoint)
    print(f"{progress.processor_seconds:.0f} s of processor time", flush=True)
    record = {**schedule._asdict(), "seed": arguments.seed, "curve": progress.curve}
    path = arguments.folder / f"{task.name}.safetensors"
    task.model.eval()
    write(path, content(task), record, arguments.held_out)
    checkpoint.unlink()
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {open_file(path).header['held_out']}")


def write(path: Path, content: Content, record: dict[str, Any], held_out: int) -> None:
    """Write float16 weights with everything a loader needs in the header, and what these weights can do."""
    weights = {name: value.detach().half().contiguous() for name, value in content.tensors.items()}
    scene = {"scene": type(content.scene).__name__, "seed": content.scene.seed}
    header = {
        "format": FORMAT,
        "kind": content.kind,
        "architecture": content.architecture,
        "mean": MEAN,
        "std": STD,
        "scenes": scene,
        "training": record,
        "digest": digest({name: value.float() for name, value in weights.items()}),
        **content.header,
    }
    with appearing(path) as half:
        save_file(weights, half, metadata={key: json.dumps(value) for key, value in header.items()})
        measured = numbers(open_file(half), held_out, HELD_OUT_SEED)  # of the half precision that ships
        rounded = {name: round(value, 4) for name, value in measured.items()}
        header["held_out"] = {"scenes": held_out, "seed": HELD_OUT_SEED, **rounded}
        save_file(weights, half, metadata={key: json.dumps(value) for key, value in header.items()})
        half.write_bytes(in_order(half.read_bytes()))
        half.chmod(0o644)  # safetensors makes files that their owner alone can read


def in_order(content: bytes) -> bytes:
    """A safetensors file with the entries of its header sorted; safetensors leaves their order to chance."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + content[8 + length :]
