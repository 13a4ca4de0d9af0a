from __future__ import annotations

import pytest

from binding.controls import CONTROLS
from binding.probes import FAMILIES
from frozen.data.readers import READERS
from frozen.data.scenes import SCENES
from frozen.models import PAPER, SHIPPED
from sweep.list import main


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(arguments) == 0
    return capsys.readouterr().out.splitlines()


def test_every_backbone_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    found = lines(capsys, "backbones")
    names = [f"shipped:{name}" for name in SHIPPED] + [f"control:{name}" for name in CONTROLS]
    names += [f"paper:{name}" for name in PAPER]
    assert [line.rpartition(": ")[0].partition(": ")[0] or line for line in found][: len(names)] == names
    assert found[0] == (
        "shipped:shapes_vit_objects: 6 blocks, width 128, 65 tokens (CLS + 8x8) at 64 px, 0.8M parameters, "
        "0.1 GFLOP an image"
    )


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (
            "vit_large_patch14_reg4_dinov2*",
            "timm:vit_large_patch14_reg4_dinov2.lvd142m: 24 blocks, width 1024, 1374 tokens (CLS + 4 registers + "
            "37x37) at 518 px, 304.4M parameters, 1,022.0 GFLOP an image",
        ),
        (
            "timm:convnext_atto.d2*",
            "timm:convnext_atto.d2_in1k: 12 blocks, from 56x56 tokens of width 40 to width 320",
        ),
        ("timm:swin_s3_tiny*", "timm:swin_s3_tiny_224.ms_in1k: cannot be used: SwinTransformer has no ViT blocks"),
    ],
)
def test_models_of_timm_are_listed_by_a_pattern(
    capsys: pytest.CaptureFixture[str], pattern: str, expected: str
) -> None:
    [line] = lines(capsys, "backbones", pattern)
    assert line.startswith(expected)


def test_scenes_and_probes_have_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert [line.partition(":")[0] for line in lines(capsys, "scenes")] == list(SCENES)
    assert [line.partition(":")[0].partition(" ")[0] for line in lines(capsys, "probes")] == list(FAMILIES)
    assert len(lines(capsys, "probes", "*concat")) == 2


def test_data_sets_have_a_line_each_with_their_labels(capsys: pytest.CaptureFixture[str]) -> None:
    found = {line.partition(":")[0]: line for line in lines(capsys, "data")}
    assert list(found) == list(READERS)
    assert found["imagenet_s"].endswith("Labels: class, mask, class_mask")
    assert found["waterbirds"].endswith("Labels: class, place, group")
    [target] = lines(capsys, "scenes", "targetshapes")
    assert target.endswith("caption:placed, class, class_mask")
    [files] = lines(capsys, "scenes", "files")
    assert files.endswith("Labels: object_codes")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("shipped:shapes_vit_class", "; parts: head"),
        ("shipped:shapes_clip_objects", "; parts: text"),
        ("shipped:shapes_coca", "; parts: text, decoder"),
        ("shipped:shapes_vit_objects", "0.1 GFLOP an image"),
        ("timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k", "; parts: head"),
        ("timm:vit_small_patch14_dinov2.lvd142m", "GFLOP an image"),
    ],
)
def test_backbones_show_what_they_have_beside_their_trunk(
    capsys: pytest.CaptureFixture[str], name: str, parts: str
) -> None:
    found = [line for line in lines(capsys, "backbones", name) if line.startswith(f"{name}: ")]
    assert found[0].endswith(parts)


def test_a_pattern_without_a_match_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probes", "cubic*"]) == 2
    assert "there are no probes whose name matches 'cubic*'" in capsys.readouterr().err
