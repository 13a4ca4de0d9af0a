"""Mistakes in a study: one message each, with file, line and remedy; exit code 2; nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from frozen.rates import rates
from sweep.run import main, parser
from tests.sweep.conftest import STUDY

MISTAKES = {
    "unknown key": ("layers:", "layer:", "study.yaml:{line}: layer: unknown key 'layer'; did you mean 'layers'?"),
    "wrong type": ("seeds: 2", "seeds: two", "study.yaml:{line}: seeds:"),
    "empty grid": ("layers: [1, final]", "layers: []", "study.yaml:{line}: layers:"),
    "layer the backbone has not": (
        "layers: [1, final]",
        "layers: [1, 6]",
        "study.yaml:{line}: layers: shipped:shapes_vit_objects: there is no layer 6; it has embed, blocks 0 to 5",
    ),
    "negative layer the backbone has not": ("layers: [1, final]", "layers: [-9]", "there is no layer -9"),
    "probe that needs all tokens": (
        "modes: [cls, all]",
        "modes: [mean_spatial]",
        "no cell of the grid is possible",
    ),
    "rank 0": ("rank: 2", "rank: 0", "study.yaml:{line}: probes[1].rank: must be ≥ 1, got 0"),
    "objects that do not fit": (
        "object_size: 12",
        "object_size: 40",
        "object_size: no free place for 4 objects of object_size 40",
    ),
    "missing weights": (
        "shipped:shapes_vit_objects",
        "{source: 'timm:vit_tiny_patch16_224', weights: nowhere.safetensors}",
        "study.yaml:{line}: backbones[0]: weights file",
    ),
    "unknown model": (
        "shipped:shapes_vit_objects",
        "timm:vit_tiny_patch61_224",
        "study.yaml:{line}: backbones[0]: timm has no model",
    ),
    "unknown shipped model": ("shapes_vit_objects", "shapes_vit_object", "study.yaml:{line}: backbones[0]"),
    "model without tokens": ("shipped:shapes_vit_objects", "timm:swin_tiny_patch4_window7_224", "has no ViT blocks"),
}


def refused(study: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The message of a study that must be refused without a trace on disk."""
    (folder / "study.yaml").write_text(study)
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    assert main(["study.yaml"]) == 2
    assert sorted(folder.rglob("*")) == before
    return capsys.readouterr().err


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_clear_message(
    old: str,
    new: str,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert old in STUDY
    study = STUDY.replace(old, new, 1)
    if "probe that" in message or "no cell" in message:
        study = study.replace("  - family: linear\n", "").replace("controls: [oracle_objects, noise]", "controls: []")
    line = 1 + study[: study.index(new)].count("\n")
    error = refused(study, tmp_path, capsys, monkeypatch)
    assert message.format(line=line) in error
    assert "Traceback" not in error


def test_weights_of_another_architecture_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file({"patch_embed.proj.weight": torch.zeros(8, 3, 4, 4)}, tmp_path / "other.safetensors")
    source = "{source: 'timm:vit_tiny_patch16_224', weights: other.safetensors}"
    error = refused(STUDY.replace("shipped:shapes_vit_objects", source), tmp_path, capsys, monkeypatch)
    assert "other.safetensors does not hold a vit_tiny_patch16_224" in error


def test_several_mistakes_are_shown_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = STUDY.replace("rank: 2", "rank: 0").replace("epochs: 3", "epoch: 3").replace("seeds: 2", "seeds: 0")
    error = refused(study, tmp_path, capsys, monkeypatch)
    assert len(error.strip().splitlines()) == 3


def test_a_missing_file_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no-such-study.yaml"]) == 2
    assert "no-such-study.yaml" in capsys.readouterr().err


def test_auto_is_of_this_machine_and_refused_where_others_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = "- shipped:shapes_vit_objects\n"
    assert entry in STUDY
    auto = "- {source: shipped:shapes_vit_objects, precision: auto}\n"
    (tmp_path / "study.yaml").write_text(STUDY.replace(entry, auto))
    monkeypatch.chdir(tmp_path)
    try:
        assert main(["study.yaml", "--address", "10.0.0.1:6379"]) == 2
        assert capsys.readouterr().err.startswith("`auto` is measured on this machine, and with --address others do")
        assert main(["study.yaml", "--plan"]) == 0
        assert capsys.readouterr().out.startswith("auto: ")
    finally:
        rates.cache_clear()
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


def test_the_command_line_has_just_these_options() -> None:
    options = {option for action in parser()._actions for option in action.option_strings if option.startswith("--")}
    assert options == {
        "--help",
        "--plan",
        "--forecast",
        "--limit",
        "--max-cells",
        "--available",
        "--max-hours",
        "--set",
        "--results",
        "--store",
        "--address",
        "--gpus",
        "--gpus-per-cell",
        "--log",
        "--no-dashboard",
    }


def test_the_help_text_needs_no_heavy_import() -> None:
    import subprocess
    import sys

    code = "import sys; from sweep.run import parser; parser().format_help(); print(' '.join(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "ray", "numpy", "pandas", "yaml", "pydantic", "rich"} & set(output)


def test_a_plan_needs_neither_ray_nor_timm_nor_pandas(tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "study.yaml").write_text(STUDY)
    code = (
        "import sys; from sweep.run import main; main(['study.yaml', '--plan']);"
        "print('modules:', *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "6 cells: 0 done, 6 to do" in done.stdout
    assert not {"ray", "timm", "pandas", "matplotlib", "torchvision"} & set(done.stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]
