"""Weights from a hub, before a run: downloaded once, used without a network, renewed on demand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from safetensors.torch import save

from frozen.models._vision import digest
from sweep.prefetch import main
from tests.frozen.models.checkpoints import CONVERSIONS, MEAN, STD, converted, settings_of, small
from tests.frozen.models.reference import lively
from tests.sweep.hub import Repo, serving

pytest.importorskip("transformers")
STUDY = """\
name: small
datasets:
  - {name: shapes, scene: colorshape, n_colors: 2, n_shapes: 2, image_size: 64, object_size: 12}
backbones: [hf:lab/dinov2-tiny, timm:test_vit.r160_in1k, random:test_vit, shipped:shapes_vit_objects]
layers: all
modes: [mean_spatial]
probes: [{family: linear}]
"""
ONLINE = """\
import json, sys, torch
from frozen.models import BackboneConfig, load
from sweep.prefetch import main
study, *sources = sys.argv[1:]
print("ready", main([study]), flush=True)
found = {source: load(BackboneConfig(source=source), None, torch.device("cpu")).weights_digest for source in sources}
print(json.dumps(found), flush=True)
input()  # until the hub has something newer
print("ready", main([study]), flush=True)
"""
SHOW = """\
import json, sys, time, torch
from frozen.models import BackboneConfig, BackboneError, load
for line in sys.stdin:
    found = {}
    for source in line.split():
        start = time.monotonic()
        try:
            found[source] = load(BackboneConfig(source=source), None, torch.device("cpu")).weights_digest
        except BackboneError as error:
            found[source] = f"{time.monotonic() - start:.1f} {error}"
    print(json.dumps(found), flush=True)
"""


def environment(folder: Path, endpoint: str, **others: str) -> Mapping[str, str]:
    own = {"HF_HOME": str(folder), "HF_HUB_CACHE": str(folder / "hub"), "HF_ENDPOINT": endpoint, "COLUMNS": "120"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return kept | own | {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "error"} | others


def digests(env: Mapping[str, str], *sources: str) -> dict[str, str]:
    process = asked(env)
    return answered(process, sources, last=True)


def asked(env: Mapping[str, str]) -> subprocess.Popen[str]:
    """A process that loads the models of a line, and says their digests or why there are none."""
    return subprocess.Popen(
        [sys.executable, "-c", SHOW], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def answered(process: subprocess.Popen[str], sources: Iterable[str], *, last: bool = False) -> dict[str, str]:
    line = " ".join(sources) + "\n"
    if last:
        return json.loads(process.communicate(line, timeout=200)[0])
    assert process.stdin
    assert process.stdout
    process.stdin.write(line)
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def dinov2(shift: float = 0.0) -> Repo:
    conversion = CONVERSIONS["dinov2"]
    state = {name: value + shift for name, value in converted(conversion, small(conversion)).items()}
    return Repo(
        {
            "config.json": json.dumps(settings_of(conversion)).encode(),
            "preprocessor_config.json": json.dumps({"image_mean": MEAN, "image_std": STD}).encode(),
            "model.safetensors": save(state, metadata={"format": "pt"}),
        }
    )


def test_prefetched_weights_are_used_without_a_network_until_they_are_renewed(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY)
    vit = lively("test_vit")
    state = {name: value.contiguous() for name, value in vit.state_dict().items()}
    repos = {"lab/dinov2-tiny": dinov2(), "timm/test_vit.r160_in1k": Repo({"model.safetensors": save(state)})}
    sources = ("hf:lab/dinov2-tiny", "timm:test_vit.r160_in1k")
    with serving(repos) as (address, requests):
        command = [sys.executable, "-c", ONLINE, str(study), *sources]
        process = subprocess.Popen(
            command, env=environment(tmp_path, address), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        first = until_ready(process)
        before = len(requests)
        online = json.loads(process.stdout.readline())  # type: ignore[union-attr]
        assert not [request for request in requests[before:] if "model.safetensors " in request]
        repos["lab/dinov2-tiny"] = dinov2(shift=0.01)
        second, _ = process.communicate("renew\n", timeout=200)
    assert first[-1] == second.splitlines()[-1] == "ready 0"
    for line in (
        "hf:lab/dinov2-tiny: 3 files",
        "timm:test_vit.r160_in1k: 1 files",
        "random:test_vit: needs no download",
    ):
        assert line in "\n".join(first)
    offline = digests(environment(tmp_path, address, HF_HUB_OFFLINE="1"), *sources)
    assert online["timm:test_vit.r160_in1k"] == offline["timm:test_vit.r160_in1k"] == digest(vit.state_dict())
    assert {len(value) for value in (online | offline).values()} == {64}
    assert online["hf:lab/dinov2-tiny"] != offline["hf:lab/dinov2-tiny"]


def until_ready(process: subprocess.Popen[str]) -> list[str]:
    """Lines of a process up to the one that says it is ready, or its last."""
    lines = []
    for line in process.stdout or ():
        lines.append(line.strip())
        if line.startswith("ready"):
            break
    return lines


def test_whatever_the_hub_says_is_one_sentence_and_one_that_does_not_answer_costs_one_quick_try(
    tmp_path: Path,
) -> None:
    truncated = dinov2()
    truncated.files["model.safetensors"] = truncated.files["model.safetensors"][:5000]
    swin = Repo({"config.json": b'{"model_type": "swin"}'})
    repos = {
        "lab/gated": Repo(status=403, error="GatedRepo"),
        "lab/forbidden": Repo(status=403),
        "lab/truncated": truncated,
        "lab/swin": swin,
        "lab/empty": Repo({name: data for name, data in dinov2().files.items() if name.endswith(".json")}),
        "lab/broken": Repo(status=500),
        "lab/whole": dinov2(),
    }
    expected = {
        "hf:lab/gated": "the repository lab/gated is gated; ask for access",
        "hf:lab/forbidden": "the hub refuses access to lab/forbidden (403)",
        "hf:lab/absent": "the hub has no repository lab/absent, or it is private",
        "hf:lab/truncated": "does not hold a lab/truncated",
        "hf:lab/swin": "is a swin, whose tokens have no layout known here",
        "hf:lab/empty": "has none of model.safetensors, model.safetensors.index.json, pytorch_model.bin",
        "hf:lab/broken": "could not be reached",
        "hf:lab/whole@no-such-tag": "lab/whole has no revision 'no-such-tag'",
    }
    sources = ("timm:vit_tiny_patch16_224", "hf:facebook/dinov2-base")
    with serving(repos) as (address, _):
        process = asked(environment(tmp_path, address))
        found = answered(process, expected)
    unanswered = answered(process, sources, last=True)  # nobody listens there any more
    for source, reason in expected.items():
        assert reason in found[source], source
        assert "\n" not in found[source]
    for source in sources:
        seconds, _, message = unanswered[source].partition(" ")
        assert float(seconds) < 30  # the library's own attempts take most of a minute
        for part in (source, str(tmp_path / "hub"), "python -m sweep.prefetch", "`weights:`", "shipped:shapes_vit"):
            assert part in message


def test_a_study_with_mistakes_is_not_prefetched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "study.yaml").write_text(STUDY.replace("shipped:shapes_vit_objects", "shipped:none"))
    assert main([str(tmp_path / "study.yaml")]) == 2
    assert "unknown shipped backbone 'none'" in capsys.readouterr().err
