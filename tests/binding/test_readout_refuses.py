"""Which probes the binding read-out leaves out, and why."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from binding.readout import BindingReadout
from frozen.readout.cells import Cell, LeftOut, Mistake
from sweep.study.load import load_study


def found(folder: Path, mode: str, *probes: dict[str, object]) -> list[str]:
    """Of every probe its cell, or why there is none; the data set has two feature groups."""
    shapes = {"name": "shapes", "scene": "colorshape", "n_colors": 2, "n_shapes": 2, "image_size": 64}
    study = {
        "name": "refusals",
        "datasets": [shapes],
        "backbones": ["shipped:shapes_vit_objects"],
        "layers": ["final"],
        "modes": [mode],
        "probes": list(probes),
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    made = list(BindingReadout().cells(load_study(path)))
    assert all(isinstance(one, Cell | LeftOut) for one in made)
    return [one.reason if isinstance(one, LeftOut) else "" for one in made if isinstance(one, Cell | LeftOut)]


REUSE = {"family": "quadratic_concat_reuse", "feature_probe": {"family": "quadratic"}}
BY_ATTENTION = {"family": "linear", "feature_probe": {"family": "attention"}}


@pytest.mark.parametrize(
    ("mode", "probe", "reason"),
    [
        ("cls", {"family": "linear"}, ""),
        ("cls", REUSE, ""),
        ("all", {"family": "attention_quadratic"}, ""),
        ("all", {"family": "linear"}, "linear reads one vector, mode all gives all tokens"),
        ("cls_mean", {"family": "attention_quadratic"}, "attention_quadratic reads all tokens, mode cls_mean gives"),
    ],
)
def test_what_is_refused(mode: str, probe: dict[str, object], reason: str, tmp_path: Path) -> None:
    [said] = found(tmp_path, mode, probe)
    assert said.startswith(reason)
    assert bool(said) == bool(reason)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("final", "leave_one_out is measured of single heads, and `layers` names none; add all.heads.all"),
        ("2.heads.7", "there is no 2.heads.7: its heads are numbered 0 to 3"),
    ],
)
def test_heads_that_are_left_out_must_be_there_and_each_mistake_is_told_once(
    tmp_path: Path, layer: str, message: str
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        "name: refusals\n"
        "datasets: [{name: shapes, scene: colorshape, n_colors: 2, n_shapes: 2, image_size: 64}]\n"
        "backbones: [shipped:shapes_vit_objects]\n"
        f"layers: [{layer}]\n"
        "modes: [cls]\n"
        "probes: [{family: linear}]\n"
        "extras: [leave_one_out]\n"
    )
    [mistake] = [one for one in BindingReadout().cells(load_study(path)) if isinstance(one, Mistake)]
    assert message in mistake.message
