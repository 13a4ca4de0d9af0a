from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from frozen.models import SHIPPED, BackboneConfig, BackboneError, load
from frozen.models._checkpoint import _not_plain_numbers
from frozen.models._vision import digest
from frozen.problems import ConfigurationError
from frozen.testing import batch_of
from tests.frozen.models.reference import (
    CPU,
    SCENE,
    TINY,
    TOLERANCE,
    by_hand,
    lively,
    normalised,
    read,
    save,
    timm,
    tiny,
)


@pytest.mark.parametrize("wrapped", [False, True])
def test_files_of_both_kinds_give_the_weights_they_hold(wrapped: bool, tmp_path: Path) -> None:
    batch = batch_of(SCENE, range(2))
    state = tiny().state_dict()
    torch.save({"model": state, "epoch": 3} if wrapped else state, tmp_path / "weights.pth")
    backbones = read(save(tiny(), tmp_path / "weights.safetensors")), read(tmp_path / "weights.pth")
    expected = by_hand(tiny(), normalised(batch.images, 32, (0.5,) * 3, (0.5,) * 3))
    for backbone in backbones:
        assert backbone.weights_digest == digest(tiny().state_dict())
        torch.testing.assert_close(backbone.forward(batch)["final"], expected["final"], **TOLERANCE)
    assert backbones[0].weights_digest != read(kind="random").weights_digest


def test_a_classifier_in_the_file_is_left_aside(tmp_path: Path) -> None:
    trained = timm.create_model(TINY, num_classes=7, img_size=32)
    trained.load_state_dict(tiny().state_dict(), strict=False)
    assert read(save(trained, tmp_path / "weights.safetensors")).weights_digest == digest(tiny().state_dict())


def test_weights_in_the_format_of_clip_are_read(tmp_path: Path) -> None:
    name = "vit_xsmall_patch16_clip_224"
    model = lively(name, img_size=32)
    names = {"patch_embed.proj": "conv1", "pos_embed": "positional_embedding", "blocks.": "transformer.resblocks."}
    names |= {
        "norm_pre": "ln_pre",
        "norm1": "ln_1",
        "norm2": "ln_2",
        "qkv.": "in_proj_",
        "attn.proj": "attn.out_proj",
    }
    names |= {"mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj", "cls_token": "class_embedding"}
    state = {"visual.proj": torch.zeros(256, 512)}
    for key, value in model.state_dict().items():
        new = key.replace("norm.", "ln_post.") if key.startswith("norm.") else key
        for ours, theirs in names.items():
            new = new.replace(ours, theirs)
        flat = value.flatten() if key == "cls_token" else value[0] if key == "pos_embed" else value
        state[f"visual.{new}"] = flat.contiguous()
    save_file(state, tmp_path / "open_clip.safetensors")
    assert read(tmp_path / "open_clip.safetensors", name).weights_digest == digest(model.state_dict())


def test_one_value_changes_the_digest_and_nothing_else_does(tmp_path: Path) -> None:
    path = save(tiny(), tmp_path / "weights.safetensors")
    first = read(path)
    assert read(path).weights_digest == first.weights_digest
    state = {name: value.clone() for name, value in tiny().state_dict().items()}
    state["blocks.2.mlp.fc1.bias"][5] += 1e-6
    save_file(state, path)
    assert read(path).weights_digest != first.weights_digest
    assert read(path).identity == first.identity


def test_models_with_counters_among_their_weights_have_a_digest() -> None:
    model = nn.BatchNorm1d(2)
    before = digest(model.state_dict())
    model.num_batches_tracked += 1  # pyright: ignore
    assert digest(model.state_dict()) != before


def test_the_same_values_under_another_name_are_other_weights() -> None:
    layer = nn.Linear(2, 2)
    query, value = ({f"{name}.{key}": one for key, one in layer.state_dict().items()} for name in ("query", "value"))
    assert digest(query) != digest(value)


class Elsewhere(NamedTuple):
    """What another process says, which reaches no hub and has none of its files."""

    options: list[dict[str, Any]]
    digests: list[str]
    cache_folder: Path
    error: str


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    folder = tmp_path_factory.mktemp("elsewhere")
    code = (
        "import json, sys, torch\n"
        "from frozen.models import BackboneConfig, BackboneError, load\n"
        "configs = [BackboneConfig(**options) for options in json.loads(sys.argv[1])]\n"
        "print(*(load(config, None, torch.device('cpu')).weights_digest for config in configs))\n"
        "try:\n"
        "    load(BackboneConfig(source='timm:vit_tiny_patch16_224'), None, torch.device('cpu'))\n"
        "except BackboneError as error:\n"
        "    print(error)"
    )
    options = [
        {"source": f"timm:{TINY}", "image_size": 32, "weights": str(save(tiny(), folder / "weights.safetensors"))},
        {"source": f"random:{TINY}", "image_size": 32, "seed": 3},
        {"source": f"shipped:{SHIPPED[0]}"},
    ]
    cache_folder = folder / "hub"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder), "HF_HUB_CACHE": str(cache_folder)}
    environment |= {"TORCH_HOME": str(folder)}
    script = [sys.executable, "-W", "error", "-c", code, json.dumps(options)]
    said = subprocess.run(script, env=environment, capture_output=True, text=True, check=True).stdout
    digests, _, error = said.partition("\n")
    return Elsewhere(options, digests.split(), cache_folder, error)


def test_digests_are_equal_in_another_process(elsewhere: Elsewhere) -> None:
    here = [load(BackboneConfig(**options), SCENE, CPU).weights_digest for options in elsewhere.options]
    assert elsewhere.digests == here


def test_untrained_models_follow_their_seed_alone() -> None:
    def loaded(seed: int) -> str:
        return load(BackboneConfig(source=f"random:{TINY}", image_size=32, seed=seed), SCENE, CPU).weights_digest

    torch.manual_seed(1)
    first = loaded(0)
    torch.manual_seed(2)
    assert loaded(0) == first
    assert len({loaded(seed) for seed in range(4)}) == 4


@pytest.mark.parametrize("from_file", [False, True])
def test_loading_leaves_the_state_of_chance_alone(from_file: bool, tmp_path: Path) -> None:
    path = save(tiny(), tmp_path / "weights.safetensors")
    torch.manual_seed(5)
    state = torch.get_rng_state()
    read(path) if from_file else read(kind="random")
    assert torch.equal(torch.get_rng_state(), state)


def test_untrained_models_read_no_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(ConfigurationError, match="untrained; to read a file write timm:test_vit"):
        read(path, kind="random")


class Intruder:
    """An object whose unpickling leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self._trace,)


def without_block(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.startswith("blocks.5.")}


BAD_STATES = {
    "another width": lambda: lively("test_vit3", img_size=32).state_dict(),
    "another kind": lambda: timm.create_model("convnext_atto").state_dict(),
    "a block missing": lambda: without_block(tiny().state_dict()),
    "a block too many": lambda: tiny().state_dict() | {"blocks.6.norm1.weight": torch.ones(64)},
    "a bias missing": lambda: {k: v for k, v in tiny().state_dict().items() if k != "blocks.0.norm1.bias"},
    "a classifier only": lambda: {"head.weight": torch.zeros(10, 64), "head.bias": torch.zeros(10)},
    "nothing": dict,
}


def assert_refused(path: Path) -> None:
    """One error, naming the file, the model and the remedy, on one line."""
    with pytest.raises(BackboneError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"weights file {path} does not")
    assert ".safetensors file or a" in message
    assert "state dict" in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 600


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", BAD_STATES)
def test_weights_of_another_model_are_refused(content: str, suffix: str, tmp_path: Path) -> None:
    """Weights that the file lacks would otherwise be random."""
    state = {name: value.contiguous() for name, value in BAD_STATES[content]().items()}
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    assert_refused(path)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth", "weights.npz", "weights"])
def test_files_that_hold_no_weights_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    assert_refused(path)
    for content in (b"", b"weights", np.random.default_rng(0).bytes(4096)):
        path.write_bytes(content)
        assert_refused(path)
    path.unlink()
    path.mkdir()
    assert_refused(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [0.0005, 0.5, 0.999])
def test_truncated_files_are_refused(suffix: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    save(tiny(), path) if suffix == ".safetensors" else torch.save(tiny().state_dict(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert_refused(path)


@pytest.mark.parametrize("writer", ["pickle", "torch", "torch before 1.6"])
def test_code_in_a_file_is_never_run(writer: str, tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "weights.pth"
    content = {"weights": Intruder(trace)}
    if writer == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=writer == "torch")
    assert_refused(path)
    assert not trace.exists()
    torch.load(path, weights_only=False) if writer != "pickle" else pickle.loads(path.read_bytes())
    assert trace.exists()  # the trap works


def test_a_pickled_model_is_refused(tmp_path: Path) -> None:
    torch.save(tiny(), tmp_path / "weights.pth")
    assert_refused(tmp_path / "weights.pth")


def test_a_list_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(3)], tmp_path / "weights.pth")
    assert_refused(tmp_path / "weights.pth")


def test_models_without_trained_weights_say_so() -> None:
    with pytest.raises(BackboneError, match="timm has no weights of test_vit4; name a local file with `weights:`"):
        read(name="test_vit4")


def test_an_unreachable_hub_is_one_error_with_every_way_out(elsewhere: Elsewhere) -> None:
    for expected in ("timm:vit_tiny_patch16_224", str(elsewhere.cache_folder), "`weights:`", f"shipped:{SHIPPED[0]}"):
        assert expected in elsewhere.error
    assert elsewhere.error.count("\n") == 1


def test_of_several_sets_of_weights_one_has_to_be_chosen(tmp_path: Path) -> None:
    """Which of them is loaded would otherwise be a secret."""
    state, average = ({name: value + shift for name, value in tiny().state_dict().items()} for shift in (0.0, 0.01))
    path = tmp_path / "weights.pth"
    optimiser = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]}
    torch.save({"model": state, "model_ema": average, "optimizer": optimiser, "rng": torch.zeros(3)}, path)
    with pytest.raises(BackboneError) as caught:
        read(path)
    assert str(caught.value) == (
        f"weights file {path} holds several sets of weights: model, model_ema; choose one of them, such as "
        "`weights: weights.pth#model`"
    )
    for name, content in {"model": state, "model_ema": average}.items():
        assert read(Path(f"{path}#{name}")).weights_digest == digest(content)
    with pytest.raises(BackboneError, match="no set of weights 'student'; there are model, model_ema"):
        read(Path(f"{path}#student"))
    plain = save(tiny(), tmp_path / "a#b.safetensors")
    assert read(plain).weights_digest == digest(state)
    with pytest.raises(BackboneError, match="no set of weights 'model'; it has none; name the file alone"):
        read(Path(f"{plain}#model"))


@pytest.mark.parametrize(
    "dtype", [torch.int8, torch.uint8, torch.int32, torch.int64, torch.bool, torch.float8_e4m3fn, torch.complex64]
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_numbers_that_stand_for_others_are_refused(dtype: torch.dtype, suffix: str, tmp_path: Path) -> None:
    """Quantised weights have scales beside them, which nothing here would apply."""
    name = "blocks.2.mlp.fc1.weight"
    state = {key: value.contiguous() for key, value in tiny().state_dict().items()}
    state[name] = (100 * state[name]).to(dtype)
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    assert_refused(path)
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(BackboneError, match=f"{name} is {kind}, as quantised weights are; get those in float32"):
        read(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_numbers_are_read(dtype: torch.dtype, tmp_path: Path) -> None:
    state = {key: value.contiguous().to(dtype) for key, value in tiny().state_dict().items()}
    counters = {"embeddings.position_ids": torch.arange(5)[None], "norm.num_batches_tracked": torch.tensor(3)}
    torch.save({"model": state, "epoch": 3}, tmp_path / "weights.pth")
    save_file(state, tmp_path / "weights.safetensors")
    expected = digest({name: value.float() for name, value in state.items()})
    for suffix in (".pth", ".safetensors"):
        assert read(tmp_path / f"weights{suffix}").weights_digest == expected
    assert _not_plain_numbers(state | counters) is None


def test_names_with_another_prefix_are_shown(tmp_path: Path) -> None:
    state = {f"backbone.{name}": value.contiguous() for name, value in tiny().state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors")
    assert_refused(tmp_path / "weights.safetensors")
    with pytest.raises(BackboneError) as caught:
        read(tmp_path / "weights.safetensors")
    assert 'Missing key(s) in state_dict: "cls_token"' in str(caught.value)
    shown = f"the names in it are backbone.blocks.0.attn.proj.bias .. backbone.pos_embed ({len(state)})"
    assert str(caught.value).endswith(shown)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_pointer_of_git_lfs_is_named(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 346000000\n")
    assert_refused(path)
    with pytest.raises(
        BackboneError, match="it is a Git LFS pointer and not the file itself; get that with `git lfs"
    ):
        read(path)
