"""Files of probes from anywhere: their header is held against bounds, space and tensors, in one sentence each."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from binding.apply import apply, main, open_backbone
from binding.fit import Fitted
from binding.probe_file import ProbeFile, ProbeFileError
from binding.probes import FAMILIES, HeadShape, Target
from frozen.data.scenes.codes import FeatureGroup, FeatureSpace
from frozen.models import BackboneConfig, TokenNames
from frozen.rows import Standardizer

SPACE = FeatureSpace.of(color=2, shape=2)
WIDTH, CPU = 128, torch.device("cpu")
SHAPES: dict[Target, HeadShape] = {
    "objects": HeadShape(WIDTH, 4, 0, (2, 2)),
    "features": HeadShape(WIDTH, 4),
    "direct": HeadShape(WIDTH, 4, 4, (2, 2)),
    "given": HeadShape(0, 4, 4, (2, 2)),
}


def made(family: str = "linear", **changes: Any) -> ProbeFile:
    """Probes of the shipped model as they start."""
    probe = FAMILIES[family]()
    seed = torch.Generator().manual_seed(0)
    targets = {name: [Fitted(probe, shape, probe.initial(shape, seed))] for name, shape in SHAPES.items()}
    parts: dict[str, Any] = {
        "space": SPACE,
        "backbone": BackboneConfig(source="shipped:shapes_vit_objects"),
        "layer": "final",
        "mode": "cls",
        "dtype": "float16",
        "standardizer": Standardizer(np.zeros(WIDTH), np.ones(WIDTH)),
        "targets": targets,
        "about": {},
    }
    return ProbeFile(**{**parts, **changes})


Tensors = dict[str, torch.Tensor]
Metadata = dict[str, Any]
Change = Callable[[Tensors, Metadata], object]
IN_JSON = ("space", "backbone", "targets", "about")


def write(path: Path, change: Change) -> Path:
    """A file of which something was changed by hand."""
    file = made()
    tensors, texts = file._tensors(1), file._metadata(1)
    metadata = {name: json.loads(text) if name in IN_JSON else text for name, text in texts.items()}
    change(tensors, metadata)
    written = {name: json.dumps(value) if name in IN_JSON else value for name, value in metadata.items()}
    path.write_bytes(save(tensors, written))
    return path


def put(*where: str | int, to: object) -> Change:
    """Set a value deep in the metadata."""

    def change(_tensors: Tensors, metadata: Metadata) -> None:
        *steps, last = where
        inner: Any = metadata
        for step in steps:
            inner = inner[step]
        inner[last] = to

    return change


def fit(*where: str | int, to: object) -> Change:
    return put("targets", "objects", 0, *where, to=to)


def tensor(name: str, value: torch.Tensor) -> Change:
    return lambda tensors, _metadata: tensors.update({name: value})


def of_family(**values: object) -> Change:
    return lambda _tensors, metadata: metadata["targets"]["objects"][0].update(values)


ODD: dict[str, tuple[Change, str]] = {
    "no layer": (lambda _, m: m.pop("layer"), "layer: Field required"),
    "something more": (put("more", to="x"), "more: Extra inputs are not permitted"),
    "mode": (put("mode", to="half"), "mode: Input should be 'cls', 'mean_spatial', 'cls_mean' or 'all'"),
    "space is a number": (put("space", to=3), "space: Input should be a valid list"),
    "group is a number": (put("space", to=[3]), "space.0: Input should be a dictionary"),
    "values are text": (put("space", 0, "values", to="red"), "space.0.values: Input should be a valid tuple"),
    "no group": (put("space", to=[]), "space: groups: at least one group is needed"),
    "equal values": (put("space", 0, "values", to=["a", "a"]), "space: color: values must differ"),
    "many objects": (
        put("space", to=[{"name": n, "values": [str(i) for i in range(100_000)]} for n in "ab"]),
        "space: groups of 100000 x 100000 values make more than 4,096 features or objects",
    ),
    "many groups": (
        put("space", to=[{"name": str(i), "values": ["a", "b"]} for i in range(2000)]),
        "space: groups of 2 x 2 x 2 x 2 x 2 x ... values make more than 4,096",
    ),
    "another space": (
        put("space", 0, "values", to=["a", "b", "c"]),
        "targets.objects.0.shape.n_heads: must be 6 in this file, got 4",
    ),
    "backbone is a list": (put("backbone", to=[]), "backbone: Input should be a dictionary"),
    "no source": (put("backbone", to={}), "backbone.source: Field required"),
    "odd source": (put("backbone", "source", to="nowhere:x"), "backbone: Value error, backbone: source: must be"),
    "setting of no backbone": (put("backbone", "pickle", to=True), "backbone.pickle: Unexpected keyword argument"),
    "large images": (put("backbone", "image_size", to=100_000), "image_size: must be ≤ 8192, got 100000"),
    "about": (put("about", to=[1]), "about: Input should be a valid dictionary"),
    "target": (put("targets", "colors", to=[]), "targets.colors.[key]: Input should be 'objects', 'features'"),
    "no targets": (put("targets", to={}), "targets: no probe of it reads activations"),
    "no seeds": (put("targets", "features", to=[]), "targets.features: must be 1 to 100 probes, got 0"),
    "many seeds": (
        lambda _, m: m["targets"].update(given=[{**m["targets"]["given"][0], "parameters": []}] * 101),
        "targets.given: must be 1 to 100 probes, got 101",
    ),
    "fit is text": (put("targets", "objects", 0, to="x"), "targets.objects.0: Input should be a valid dictionary"),
    "family": (fit("family", to="guess"), "targets.objects.0.family: these are probes of the family 'guess': "),
    "family of tokens": (fit("family", to="attention_quadratic"), "attention_quadratic reads all tokens, mode cls"),
    "hyper-parameter": (
        fit("hyperparameters", "learning_rat", to=1),
        "targets.objects.0.hyperparameters: linear has no 'learning_rat'; did you mean 'learning_rate'?",
    ),
    "value": (fit("hyperparameters", "learning_rate", to="x"), "hyperparameters.learning_rate: Input should be"),
    "range": (fit("hyperparameters", "learning_rate", to=-1), "learning_rate: must be > 0, got -1"),
    "epoch": (fit("best_epoch", to=-1), "targets.objects.0.best_epoch: Input should be greater than or equal to 0"),
    "huge shape": (
        lambda _, m: m["targets"]["objects"][0].update(
            parameters=[], shape={"z_dim": WIDTH, "n_heads": 10**12, "n_given": 0, "group_sizes": [], "has_cls": True}
        ),
        "targets.objects.0.shape.n_heads: must be 4 in this file, got 1000000000000",
    ),
    "huge rank": (
        of_family(
            family="quadratic_concat",
            hyperparameters={"rank": 10**12},
            parameters=["z_weight", "code_weight", "bias"],
        ),
        "a quadratic_concat probe of this shape has 1.056e+15 parameters, its tensors have 532",
    ),
    "huge width": (
        lambda _, m: (
            [m["targets"][name][0].update(parameters=[]) for name in m["targets"]]
            and m["targets"]["objects"][0]["shape"].update(z_dim=10**12)
        ),
        "standardizer.mean: must be F64 [1000000000000], got F64 [128]",
    ),
    "no width": (fit("shape", "z_dim", to=0), "targets.objects.0.shape.z_dim: must be ≥ 1, got 0"),
    "width of a seed": (
        put("targets", "features", 0, "shape", "z_dim", to=9),
        "features.0.shape.z_dim: must be 128 in",
    ),
    "sizes": (fit("shape", "group_sizes", to=[4, 1]), "shape.group_sizes: must be (2, 2) in this file, got (4, 1)"),
    "missing tensor": (lambda t, _: t.pop("objects.0.bias"), "tensor objects.0.bias: is not in the file"),
    "unnamed tensor": (tensor("more", torch.zeros(2)), "tensor more: belongs to no probe of the file"),
    "fewer names": (
        of_family(parameters=["bias", "code_weight"]),
        "a linear probe of this shape has 532 parameters, its tensors have 20",
    ),
    "other names": (
        lambda t, m: (
            m["targets"]["objects"][0].update(parameters=["bias", "code_weight", "weight"]),
            t.update({"objects.0.weight": t.pop("objects.0.z_weight")}),
        ),
        "targets.objects.0.parameters: must be bias and code_weight and z_weight",
    ),
    "turned tensor": (
        tensor("objects.0.z_weight", torch.zeros(4, WIDTH)),
        "tensor objects.0.z_weight: must be F32 [128, 4], got F32 [4, 128]",
    ),
    "halves": (
        tensor("objects.0.bias", torch.zeros(4, dtype=torch.float16)),
        "tensor objects.0.bias: must be F32 [4], got F16 [4]",
    ),
    "not a number": (
        tensor("objects.0.bias", torch.full((4,), torch.nan)),
        "tensor objects.0.bias: holds numbers that are not finite",
    ),
    "half a standardizer": (
        lambda t, _: t.pop("standardizer.deviation"),
        "tensor standardizer.deviation: is not in the file",
    ),
    "no deviation": (
        tensor("standardizer.deviation", torch.zeros(WIDTH, dtype=torch.float64)),
        "tensor standardizer.deviation: must be > 0 everywhere",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files_get_one_sentence_that_names_the_field(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, expected = ODD[name]
    path = write(tmp_path / "a.safetensors", change)
    assert main([str(path), str(path)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{path}: ")
    assert expected in line
    assert len(line) < 600


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000, '{"a": ' * 1000])
@pytest.mark.parametrize("field", IN_JSON)
def test_what_is_no_json_is_said(field: str, text: str, tmp_path: Path) -> None:
    file, path = made(), tmp_path / "a.safetensors"
    path.write_bytes(save(file._tensors(1), {**file._metadata(1), field: text}))
    with pytest.raises(ProbeFileError, match=f"a.safetensors: {field}: Invalid JSON"):
        ProbeFile.read(path)


def test_little_is_allocated_for_a_file_that_says_much(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", ODD["many objects"][0])
    tracemalloc.start()
    with pytest.raises(ProbeFileError):
        ProbeFile.read(path)
    assert tracemalloc.get_traced_memory()[1] < 2**28
    tracemalloc.stop()


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "attention_quadratic"])
def test_what_is_written_is_read(family: str, tmp_path: Path) -> None:
    shapes = {
        name: shape for name, shape in SHAPES.items() if name != "features" or not FAMILIES[family].objects_only
    }
    probe, seed = FAMILIES[family](), torch.Generator().manual_seed(0)
    fits = {name: [Fitted(probe, shape, probe.initial(shape, seed))] for name, shape in shapes.items()}
    file = made(targets={**made().targets, **fits})
    (tmp_path / "a.safetensors").write_bytes(file.to_bytes(10**8) or b"")
    found = ProbeFile.read(tmp_path / "a.safetensors")
    for target, [fitted] in file.targets.items():
        [again] = found.targets[target]
        assert (again.probe, again.shape) == (fitted.probe, fitted.shape)
        assert again.parameters is not None
        assert fitted.parameters is not None
        for name, value in fitted.parameters.items():
            torch.testing.assert_close(again.parameters[name], value, rtol=0, atol=0)
    assert (found.space, found.backbone, found.about) == (file.space, file.backbone, file.about)


def test_probes_of_too_many_objects_are_not_written() -> None:
    groups = tuple(FeatureGroup(name, tuple(map(str, range(65)))) for name in "ab")
    assert made(space=FeatureSpace(groups)).to_bytes(10**9) is None


PATHS = {
    "hf:./model": "--folder",
    "hf:/model": "--folder",
    "hf:~/model": "--folder",
    "random:hf:../model": "--folder",
    "timm:vit_tiny_patch16_224": "--weights",
}


@pytest.mark.parametrize("source", PATHS)
def test_no_path_is_read_that_the_user_has_not_named(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[BackboneConfig] = []

    class OpenedError(Exception):
        pass

    def load(config: BackboneConfig, *_: object) -> None:
        opened.append(config)
        raise OpenedError

    monkeypatch.setattr("binding.apply.load", load)
    weights = "/etc/secret.safetensors" if PATHS[source] == "--weights" else None
    file = made(backbone=BackboneConfig(source=source, weights=weights))
    with pytest.raises(ProbeFileError, match=f"a path that the file names; .* name it too: {PATHS[source]} PATH"):
        open_backbone(file, CPU)
    assert not opened
    mine = {"folder": "mine"} if weights is None else {"weights": "mine.safetensors"}
    with pytest.raises(OpenedError):
        open_backbone(file, CPU, **mine)
    assert (opened[0].source, opened[0].weights) == (
        (source.rpartition(":")[0] + ":./mine", None) if weights is None else (source, "mine.safetensors")
    )


def test_options_and_files_that_do_not_belong_together() -> None:
    with pytest.raises(ProbeFileError, match="shipped:shapes_vit_objects reads no such path; leave out --weights"):
        open_backbone(made(), CPU, weights="a.safetensors")
    rows = BackboneConfig(source="activations:/etc/{split}.npz", tokens=TokenNames(grid=(2, 2)))
    with pytest.raises(ProbeFileError, match="reads files of activations, not images"):
        open_backbone(made(backbone=rows), CPU)
    with pytest.raises(ProbeFileError, match="layer: shipped:shapes_vit_objects hands out no '99'; it has embed, 0"):
        open_backbone(made(layer="99"), CPU)
    alone: Any = {"objects": made().targets["objects"]}
    with pytest.raises(ProbeFileError, match="targets: there are no probes of the features"):
        next(apply(made(targets=alone), open_backbone(made(), CPU), [Path("a.png")]))
    narrow = {name: [Fitted(FAMILIES["linear"](), HeadShape(7, 4))] for name in SHAPES}
    with pytest.raises(ProbeFileError, match=r"probes of 7 channels with a CLS token; .* has 128 and one"):
        open_backbone(made(targets=narrow), CPU)
