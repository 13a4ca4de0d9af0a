"""Study files that are right: what is read from them."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from binding.fit import FitConfig
from binding.keys import BindingStudy
from binding.probes import ALIASES, FAMILIES
from binding.search import ProbeSpace, ProbeSpec, SearchConfig
from frozen.data.scenes import BalancedColorShape, ColorShape, SplitPolicy
from frozen.data.spec import DatasetSpec
from frozen.intervals import IntervalConfig
from frozen.models import PAPER, BackboneConfig
from frozen.ranges import Choices, Range
from frozen.rates import Rates
from frozen.readout.layers import LayerStride
from frozen.readout.study import StoreConfig, Study
from sweep.study.load import StudyError, dump_yaml

SMALL = """\
name: small
datasets:
  - {name: shapes, scene: colorshape}
backbones: [timm:vit_tiny_patch16_224]
layers: [final]
modes: [cls]
probes:
  - family: linear
"""


QUICKSTART = """\
name: quickstart
readout: binding
seed: 3
datasets:
  - name: shapes4x4
    scene: colorshape
    n_colors: 4
    n_shapes: 4
    max_objects: 6
    image_size: 64
    object_size: 12
    split: {policy: independent, train: 6400, validation: 1600, test: 2000}
backbones:
  - shipped:shapes_vit_objects
  - {source: timm:vit_tiny_patch16_224, image_size: 256, weights: tiny.safetensors}
layers: [embed, 2, -1, final]
modes: [cls, mean_spatial]
controls: [oracle_objects, noise]
probes:
  - family: linear
  - family: quadratic
    rank: {choices: [4, 16]}
    weight_decay: {low: 1e-6, high: 1, log: true}
fit: {epochs: 40, batch_size: 512, standardize: true, patience: 3}
search: {suggestions: 4, ask: 2, pruner: median}
seeds: 2
intervals: {level: 0.9, resamples: 500}
store: {dtype: float32, memory: 500MB}
"""


def test_a_whole_study(read, tmp_path):
    assert read(QUICKSTART) == Study(
        name="quickstart",
        readout="binding",
        seed=3,
        datasets=(
            DatasetSpec(
                "shapes4x4",
                "colorshape",
                ColorShape(
                    n_colors=4,
                    n_shapes=4,
                    max_objects=6,
                    image_size=64,
                    object_size=12,
                    seed=3,
                    split=SplitPolicy(policy="independent", train=6400, validation=1600, test=2000),
                ),
            ),
        ),
        backbones=(
            BackboneConfig(source="shipped:shapes_vit_objects"),
            BackboneConfig(
                source="timm:vit_tiny_patch16_224", image_size=256, weights=str(tmp_path / "tiny.safetensors")
            ),
        ),
        controls=("oracle_objects", "noise"),
        intervals=IntervalConfig(level=0.9, resamples=500),
        store=StoreConfig(dtype="float32", memory_bytes=500_000_000),
        keys=BindingStudy(
            layers=("embed", 2, -1, "final"),
            modes=("cls", "mean_spatial"),
            probes=(
                ProbeSpec("linear", ProbeSpace.of("linear")),
                ProbeSpec(
                    "quadratic_concat",
                    ProbeSpace.of(
                        "quadratic_concat",
                        rank=Choices(choices=(4, 16)),
                        weight_decay=Range(low=1e-6, high=1.0, log=True),
                    ),
                ),
            ),
            fit=FitConfig(epochs=40, batch_size=512, standardize=True, patience=3),
            search=SearchConfig(suggestions=4, ask=2, pruner="median"),
            seeds=2,
        ),
    )


def test_what_a_study_leaves_out(read):
    study = read(SMALL)
    assert study.readout == "binding"
    assert study.seed == 0
    assert study.datasets == (DatasetSpec("shapes", "colorshape", ColorShape()),)
    assert study.controls == ()
    assert study.keys.probes == (ProbeSpec("linear", ProbeSpace.of("linear"), None),)
    assert (study.keys.fit, study.keys.search, study.intervals) == (FitConfig(), SearchConfig(), IntervalConfig())
    assert (study.keys.seeds, study.store) == (2, StoreConfig(dtype="float16", memory_bytes=4 * 10**9))
    assert study.source == SMALL


def test_every_layer_and_controls_alone(read):
    text = SMALL.replace("[final]", "all").replace("backbones: [timm:vit_tiny_patch16_224]", "controls: [noise]")
    study = read(text)
    assert study.keys.layers == ("all",)
    assert study.backbones == ()
    assert study.controls == ("noise",)


@pytest.mark.parametrize(
    ("memory", "in_bytes"),
    [
        ("4GB", 4 * 10**9),
        ("1.5 GB", 1_500_000_000),
        ("500mb", 5 * 10**8),
        ("2GiB", 2**31),
        ("64KiB", 2**16),
        ("1TB", 10**12),
        ("7B", 7),
        ("123", 123),
    ],
)
def test_memory_sizes(read, memory, in_bytes):
    assert read(f"{SMALL}store: {{memory: {memory}}}").store.memory_bytes == in_bytes


def test_fit_as_in_the_paper_sets_the_settings_of_probes(read):
    study = read(f"{SMALL}  - {{family: dnn, learning_rate: 0.5}}\nfit: paper\n")
    assert study.keys.fit == FitConfig.paper()
    assert dict(study.keys.probes[0].space.settings)["learning_rate"] == 1e-3
    assert dict(study.keys.probes[0].space.settings)["weight_decay"] == 1e-4
    assert dict(study.keys.probes[1].space.settings)["learning_rate"] == 0.5


def test_whole_numbers_are_read_as_numbers(read):
    (probe,) = read(
        SMALL.replace("linear", "{low: 1, high: 2}").replace("family:", "family: linear\n    learning_rate:")
    ).keys.probes
    learning_rate = dict(probe.space.settings)["learning_rate"]
    assert isinstance(learning_rate, Range)
    assert isinstance(learning_rate.low, float)
    assert isinstance(learning_rate.high, float)


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_aliases_of_families(read, alias):
    assert read(SMALL.replace("linear", alias)).keys.probes[0].family == ALIASES[alias]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_setting_of_every_family_can_be_given_fixed_or_chosen(read, family):
    values = {item.name: item.default for item in fields(FAMILIES[family])}
    fixed = json.dumps(values)
    chosen = json.dumps({name: {"choices": [value]} for name, value in values.items()})
    text = SMALL.removesuffix("  - family: linear\n")
    probes = read(f"{text}  - {{family: {family}, {fixed[1:]}\n  - {{family: {family}, {chosen[1:]}\n").keys.probes
    assert dict(probes[0].space.settings) == values
    assert dict(probes[1].space.settings) == {name: Choices(choices=(value,)) for name, value in values.items()}


def test_the_feature_probe_of_families_for_objects_only(read):
    text = SMALL.replace("linear", "quadratic_concat_reuse\n    rank: 3\n    use_conditioned_query: false")
    (probe,) = read(text).keys.probes
    assert probe.feature_probe == ProbeSpace.of("quadratic_concat", rank=3, use_conditioned_query=False)
    (probe,) = read(
        f"{text}    feature_probe: {{family: dnn, num_layers: 2, dropout: {{choices: [0, 0.5]}}}}\n"
    ).keys.probes
    assert probe.feature_probe == ProbeSpace.of("dnn_concat", num_layers=2, dropout=Choices(choices=(0.0, 0.5)))


@pytest.mark.parametrize(("bfloat16", "choice"), [(250.0, "bfloat16"), (110.0, "float32")])
def test_auto_is_what_this_machine_multiplies_fast(read, monkeypatch, bfloat16, choice):
    for module in ("sweep.study.build", "binding.keys"):
        monkeypatch.setattr(f"{module}.rates", lambda: Rates(100.0, bfloat16))
    text = SMALL.replace("timm:vit_tiny_patch16_224", "{source: timm:vit_tiny_patch16_224, precision: auto}")
    text += "fit: {products: auto, epochs: 3}\n"
    found = read(text)
    assert found.backbones[0].precision == found.keys.fit.products == choice
    assert dump_yaml(found.resolved()) == dump_yaml(read(text.replace("auto", choice)).resolved())


def test_a_data_set_of_its_own_seed(read):
    text = SMALL.replace("scene: colorshape}", "scene: colorshape, seed: 7}\n  - {name: other, scene: colorshape}")
    first, second = read(f"{text}seed: 5\n").datasets
    assert first.config == ColorShape(seed=7)
    assert second.config == ColorShape(seed=5)


def test_what_is_left_out_of_a_split_is_the_scenes_own(read):
    text = SMALL.replace("colorshape}", "balancedcolorshape, split: {train: 100}}")
    default = BalancedColorShape().split
    split = read(text).datasets[0].config.split
    assert split == SplitPolicy(policy=default.policy, code_counts=default.code_counts, train=100)


GRID = SMALL.replace(
    "{name: shapes, scene: colorshape}",
    """name: shapes
    scene: colorshape
    vary: [{n_colors: 2, n_shapes: 2}, {n_colors: 3, n_shapes: 4}]
    max_objects: {grid: [1, 2]}
    split: {test: 10, train: {grid: [20, 30]}}
    margin: 1""",
)


def test_grids_and_fields_that_move_together(read):
    datasets = read(GRID).datasets
    assert [dataset.name for dataset in datasets] == [
        "shapes[n_colors=2,n_shapes=2,split.train=20,max_objects=1]",
        "shapes[n_colors=2,n_shapes=2,split.train=20,max_objects=2]",
        "shapes[n_colors=2,n_shapes=2,split.train=30,max_objects=1]",
        "shapes[n_colors=2,n_shapes=2,split.train=30,max_objects=2]",
        "shapes[n_colors=3,n_shapes=4,split.train=20,max_objects=1]",
        "shapes[n_colors=3,n_shapes=4,split.train=20,max_objects=2]",
        "shapes[n_colors=3,n_shapes=4,split.train=30,max_objects=1]",
        "shapes[n_colors=3,n_shapes=4,split.train=30,max_objects=2]",
    ]
    policy = ColorShape().split.policy
    assert datasets[5].config == ColorShape(
        n_colors=3, n_shapes=4, max_objects=2, margin=1, split=SplitPolicy(policy=policy, test=10, train=20)
    )


def test_a_grid_of_splits_and_of_other_values(read):
    splits = "{grid: [{policy: independent}, {policy: f_disjoint_hash, test_buckets: [1, 2], salt: a/b}]}"
    text = SMALL.replace("colorshape}", f"colorshape, split: {splits}}}")
    assert [dataset.name for dataset in read(text).datasets] == [
        "shapes[split.policy=independent]",
        "shapes[split.policy=f_disjoint_hash,split.salt=a-b,split.test_buckets=1-2]",
    ]


def test_a_grid_of_one(read):
    text = SMALL.replace("colorshape}", "colorshape, n_colors: {grid: [3]}}")
    assert read(text).datasets == (DatasetSpec("shapes[n_colors=3]", "colorshape", ColorShape(n_colors=3)),)


@pytest.mark.parametrize(
    "text",
    [
        QUICKSTART,
        SMALL,
        GRID,
        SMALL.replace("linear", "multilinear_concat_reuse\n    rank: {low: 2, high: 8, log: true}"),
        SMALL.replace("linear", "linear\n    feature_probe: {family: dnn}") + "fit: paper\n",
        SMALL.replace("name: small", "name: 1e3x").replace("name: shapes", "name: '1e3'") + "seed: 9\n",
    ],
)
def test_a_resolved_study_is_read_back_as_the_same(read, text):
    study = read(text)
    resolved = study.resolved()
    assert json.loads(json.dumps(resolved)) == resolved
    again = read(dump_yaml(resolved))
    assert again == study
    assert again.resolved() == resolved


def test_resolved_values_leave_nothing_to_defaults(read):
    resolved = read(SMALL).resolved()
    assert resolved["layers"] == ["final"]
    assert resolved["store"] == {"dtype": "float16", "memory": 4000000000}
    assert resolved["backbones"] == [
        {
            "source": "timm:vit_tiny_patch16_224",
            "image_size": None,
            "weights": None,
            "seed": 0,
            "precision": "float32",
            "compile": False,
            "tokens": {"has_cls": True, "n_registers": 0, "grid": [0, 0], "first_rows": False},
        }
    ]
    assert resolved["probes"] == [
        {
            "family": "linear",
            "learning_rate": {"low": 0.001, "high": 2.0, "log": True},
            "use_conditioned_query": True,
            "weight_decay": 0.0,
            "feature_probe": None,
        }
    ]
    assert isinstance(resolved["datasets"], list)
    (dataset,) = resolved["datasets"]
    assert isinstance(dataset, dict)
    assert set(dataset) == {"name", "scene", *(item.name for item in fields(ColorShape))}


def test_study_errors_are_values_too(read, tmp_path):
    with pytest.raises(StudyError) as caught:
        read(SMALL.replace("linear", "lineer"))
    (problem,) = caught.value.problems
    assert problem.file == str(tmp_path / "study.yaml")
    assert (problem.line, problem.path) == (8, "probes[0].family")
    assert problem.message == "unknown family 'lineer'; did you mean 'linear'?"


def test_layers_may_be_a_stride_and_a_backbone_may_have_its_own(read):
    text = SMALL.replace("[final]", "{every: 4}").replace(
        "[timm:vit_tiny_patch16_224]",
        "[timm:vit_tiny_patch16_224, {source: timm:vit_small_patch16_224, layers: [-1, embed]}]",
    )
    study = read(text)
    assert study.keys.layers == LayerStride(every=4)
    assert [study.layers_of(position, study.keys.layers) for position in range(2)] == [
        LayerStride(every=4),
        (-1, "embed"),
    ]
    resolved = study.resolved()
    assert resolved["layers"] == {"every": 4}
    assert "layers" not in resolved["backbones"][0]
    assert resolved["backbones"][1]["layers"] == [-1, "embed"]
    assert read(dump_yaml(resolved)) == study
    assert read(SMALL).backbone_layers == ()


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_backbones_are_what_its_script_reads(read, name):
    study = read(SMALL.replace("timm:vit_tiny_patch16_224", f"paper:{name}").replace("[final]", "all"))
    expected = {
        "dinov2_large": ("hf:facebook/dinov2-large", 256, ("final",)),
        "clip_large_224": ("hf:openai/clip-vit-large-patch14", 224, (-1,)),
        "clip_large_336": ("hf:openai/clip-vit-large-patch14-336", 336, (-1,)),
    }[name]
    [backbone] = study.backbones
    assert (backbone.source, backbone.image_size, study.layers_of(0, study.keys.layers)) == expected
    assert read(dump_yaml(study.resolved())) == study


def test_an_entry_may_change_a_backbone_of_the_paper(read):
    entry = "{source: paper:dinov2_large, image_size: 224, layers: all, precision: bfloat16}"
    study = read(SMALL.replace("timm:vit_tiny_patch16_224", entry))
    assert study.backbones[0].image_size == 224
    assert study.backbones[0].precision == "bfloat16"
    assert study.layers_of(0, study.keys.layers) == ("all",)


def test_paths_of_models_are_relative_to_the_study(read, tmp_path):
    entries = "hf:./model, random:hf:../model, {source: timm:vit_tiny_patch16_224, weights: file:tiny.safetensors}"
    first, second, third = read(SMALL.replace("timm:vit_tiny_patch16_224", entries)).backbones
    assert first.source == f"hf:{tmp_path / 'model'}"
    assert second.source == f"random:hf:{tmp_path.parent / 'model'}"
    assert third.weights == str(tmp_path / "tiny.safetensors")
