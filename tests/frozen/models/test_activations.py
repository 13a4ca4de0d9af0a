"""Activations that were made elsewhere: read by rows from npz, safetensors and Arrow files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from frozen.capture.views import read
from frozen.data.readers import ImageFolder
from frozen.data.scenes import SCENES, SPLITS
from frozen.data.spec import split_number
from frozen.models import Backbone, BackboneConfig, BackboneError, Batch, TokenNames, describe, load
from frozen.problems import ConfigurationError
from frozen.testing import BackboneConformance, batch_of
from tests.frozen.data.readers.photos import write_folders

TOKENS = TokenNames(n_registers=2, grid=(2, 3))
Arrays = Mapping[str, np.ndarray]


def scene_of_few() -> Any:
    return SCENES["colorshape"](n_colors=2, n_shapes=2, max_objects=4, image_size=64, object_size=12).limited(5)


def arrays(n_rows: int, *shape: int, layers: tuple[str, ...] = ("final", "11", "2", "embed")) -> Arrays:
    rng = np.random.default_rng(n_rows)
    return {layer: rng.normal(size=(n_rows, *shape)).astype(np.float16) for layer in layers}


def write(path: Path, content: Arrays) -> None:
    if path.suffix == ".npz":
        np.savez(path, **content)  # pyright: ignore[reportArgumentType]
    elif path.suffix == ".safetensors":
        save_file({name: torch.from_numpy(values) for name, values in content.items()}, path)
    else:
        columns = {name: pa.FixedShapeTensorArray.from_numpy_ndarray(values) for name, values in content.items()}
        table = pa.table(columns)
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)  # rows asked for lie in several batches


def write_all(folder: Path, ending: str, *shape: int, n_rows: int = 5) -> dict[str, Arrays]:
    content = {split: arrays(n_rows, *shape) for split in SPLITS}
    for split, values in content.items():
        write(folder / f"vit_{split}{ending}", values)
    return content


def config_of(folder: Path, ending: str = ".npz", tokens: TokenNames = TOKENS) -> BackboneConfig:
    return BackboneConfig(source=f"activations:{folder}/vit_{{split}}{ending}", tokens=tokens)


@pytest.fixture(scope="module")
def scene() -> Any:
    return scene_of_few()


@pytest.fixture(scope="module", params=[".npz", ".safetensors", ".arrow"])
def backbone(request: pytest.FixtureRequest, scene: Any, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder = tmp_path_factory.mktemp("activations")
    write_all(folder, request.param, 9, 4)
    return load(config_of(folder, request.param), scene, torch.device("cpu"))


class TestActivations(BackboneConformance):
    pass


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".feather"])
def test_tokens_are_the_rows_of_the_split(tmp_path: Path, ending: str):
    content = write_all(tmp_path, ending, 9, 4)
    backbone = load(config_of(tmp_path, ending), scene_of_few(), torch.device("cpu"))
    assert backbone.description.layers == ("embed", "2", "11", "final")
    for split in SPLITS:
        tokens = backbone.forward(batch_of(scene_of_few(), [3, 4, 0], split))
        for layer, values in tokens.items():
            np.testing.assert_array_equal(values.numpy(), content[split][layer][[3, 4, 0]])


def test_modes_follow_the_layout_of_the_study(tmp_path: Path):
    content = write_all(tmp_path, ".npz", 9, 4)["test"]["final"].astype(np.float32)
    backbone = load(config_of(tmp_path), scene_of_few(), torch.device("cpu"))
    tokens = backbone.forward(batch_of(scene_of_few(), range(5)))["final"]
    layout = backbone.description.layout
    np.testing.assert_allclose(read(tokens, "mean_spatial", layout), content[:, 3:].mean(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(read(tokens, "all", layout), content[:, [0, 3, 4, 5, 6, 7, 8]])


def test_one_vector_a_sample_is_a_cls_token(tmp_path: Path):
    content = write_all(tmp_path, ".npz", 4)
    backbone = load(config_of(tmp_path, tokens=TokenNames()), scene_of_few(), torch.device("cpu"))
    tokens = backbone.forward(batch_of(scene_of_few(), [1, 2]))["2"]
    np.testing.assert_array_equal(read(tokens, "cls", backbone.description.layout), content["test"]["2"][1:3])


def test_the_digest_follows_the_content_and_not_the_place(tmp_path: Path):
    digests = []
    for name, n_rows in (("a", 5), ("b", 5), ("c", 6)):
        (tmp_path / name).mkdir()
        write_all(tmp_path / name, ".safetensors", 9, 4, n_rows=n_rows)
        config = config_of(tmp_path / name, ".safetensors", TokenNames(n_registers=2, grid=(2, 3), first_rows=True))
        digests.append(load(config, scene_of_few(), torch.device("cpu")).weights_digest)
    assert digests[0] == digests[1] != digests[2]


def test_layers_have_the_numbers_of_their_blocks(tmp_path: Path):
    write_all(tmp_path, ".npz", 9, 4)
    description = describe(config_of(tmp_path), scene_of_few())
    assert [description.layer_number(layer) for layer in description.layers] == [-1, 2, 11, 12]


def refused(folder: Path, ending: str = ".npz", tokens: TokenNames = TOKENS) -> str:
    with pytest.raises(BackboneError) as refusal:
        load(config_of(folder, ending, tokens), scene_of_few(), torch.device("cpu"))
    return str(refusal.value)


def test_another_number_of_rows_is_refused(tmp_path: Path):
    write_all(tmp_path, ".npz", 9, 4, n_rows=6)
    message = refused(tmp_path)
    assert f"{tmp_path}/vit_train.npz: has 6 rows, the data set has 5 samples" in message
    assert "first_rows" in message
    more = load(config_of(tmp_path, tokens=TokenNames(n_registers=2, grid=(2, 3), first_rows=True)), scene_of_few(),
                torch.device("cpu"))  # fmt: skip
    assert len(more.forward(batch_of(scene_of_few(), range(5)))["final"]) == 5
    write(tmp_path / "vit_test.npz", arrays(4, 9, 4))
    assert "has 4 rows" in refused(tmp_path, tokens=TokenNames(n_registers=2, grid=(2, 3), first_rows=True))


def test_other_tokens_than_the_study_says_are_refused(tmp_path: Path):
    write_all(tmp_path, ".npz", 9, 4)
    assert "vit_train.npz: has 9 tokens a sample, `tokens` of the study describes 1" in refused(
        tmp_path, tokens=TokenNames()
    )


def test_files_that_differ_are_refused(tmp_path: Path):
    write_all(tmp_path, ".npz", 9, 4)
    write(tmp_path / "vit_validation.npz", arrays(5, 9, 4, layers=("final",)))
    assert "vit_validation.npz: has the layers final, width 4; vit_train.npz has embed 2 11 final" in refused(
        tmp_path
    )


def test_a_missing_file_is_named(tmp_path: Path):
    write_all(tmp_path, ".npz", 9, 4)
    (tmp_path / "vit_test.npz").unlink()
    assert f"{tmp_path}/vit_test.npz: no such file" in refused(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"final": np.zeros((5, 4), dtype=np.int64)}, "'final' holds int64"),
        ({"final": np.array([{}] * 5, dtype=object)}, "'final' holds object"),
        ({"final": np.zeros((5, 2, 2, 4))}, "it must be [sample, dim] or [sample, token, dim]"),
        ({"final": np.zeros((5, 4)), "1": np.zeros((5, 3))}, "they must be equal"),
        ({"blocks.1": np.zeros((5, 4))}, "arrays are named as layers: embed, 0, 1, .., final"),
        ({}, "it holds no array"),
    ],
)
def test_arrays_that_are_no_layers_are_refused(tmp_path: Path, content: Any, reason: str):
    np.savez(tmp_path / "vit_train.npz", **content)
    message = refused(tmp_path)
    assert message.startswith(f"{tmp_path}/vit_train.npz: cannot be read as activations: ")
    assert reason in message


def test_a_compressed_archive_is_refused(tmp_path: Path):
    np.savez_compressed(tmp_path / "vit_train.npz", final=np.zeros((5, 4)))
    assert "write it with numpy.savez" in refused(tmp_path)


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".arrow"])
def test_a_damaged_file_is_refused(tmp_path: Path, ending: str):
    (tmp_path / f"vit_train{ending}").write_bytes(b"\x80\x04\x95 no such format")
    assert f"vit_train{ending}: cannot be read as activations" in refused(tmp_path, ending)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"source": "activations:vit.npz"}, "a file for each split"),
        ({"source": "activations:vit_{split}.pkl"}, "ending in .npz"),
        ({"source": "activations:vit_{split}.npz", "image_size": 224}, "no model runs"),
        ({"source": "timm:vit_tiny_patch16_224", "tokens": TOKENS}, "knows its own"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: Any, reason: str):
    with pytest.raises(ConfigurationError, match=reason):
        BackboneConfig(**settings)


def test_a_data_set_of_other_splits_has_a_file_for_each_of_them(tmp_path: Path) -> None:
    write_folders(tmp_path / "photos", n=2, splits=("train", "val"))
    dataset = ImageFolder(root=str(tmp_path / "photos"), folders=("first=train", "second=val"))
    content = {split: arrays(4 + number, 3) for number, split in enumerate(("first", "second"))}
    content["second"] = {layer: values[:4] for layer, values in content["second"].items()}
    for split, values in content.items():
        write(tmp_path / f"vit_{split}.npz", values)
    config = config_of(tmp_path, tokens=TokenNames())
    assert describe(config, dataset).layers == ("embed", "2", "11", "final")
    backbone = load(config, dataset, torch.device("cpu"))
    for split, values in content.items():
        rows = np.arange(1, 3)
        empty = np.zeros((2, 0), np.uint8)
        batch = Batch(rows, np.zeros((2, 0, 0, 3), np.uint8), empty, empty, split_number(split))
        found = backbone.forward(batch)["final"]
        np.testing.assert_array_equal(found[:, 0].numpy(), values["final"][1:3].astype(np.float32))
