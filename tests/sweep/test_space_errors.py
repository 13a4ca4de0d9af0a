"""Study files with mistakes: every message with its line, and all of them at once."""

from __future__ import annotations

import time

import pytest

from binding.scenes import SCENES
from sweep.space import StudyError, load_space

STUDY = """\
name: small
seed: 0
datasets:
  - name: shapes
    scene: colorshape
    n_colors: 2
backbones:
  - timm:vit_tiny_patch16_224
layers: [final]
modes: [cls]
probes:
  - family: linear
  - family: quadratic_concat
    rank: 4
fit: {epochs: 40}
search: {suggestions: 4}
"""


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Lines of the error message, without the name of the file."""
    monkeypatch.chdir(tmp_path)

    def read(text: str, *overrides: str, limit: int | None = None) -> list[str]:
        (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(StudyError) as caught:
            load_space("study.yaml", overrides, limit)
        return [line.removeprefix("study.yaml:").strip() for line in str(caught.value).splitlines()]

    return read


def changed(*changes: tuple[str, str]) -> str:
    text = STUDY
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


NAME_RULE = "must be 1 to 80 letters, digits, dots, dashes or underscores and begin with a letter or digit"
MAPPING = "expected a mapping of keys to values"
EMPTY = "empty grid: needs at least one entry, got none"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # keys
        ("seed: 0", "sead: 0", "2: sead: unknown key 'sead'; did you mean 'seed'?"),
        (
            "seed: 0",
            "zzz: 0",
            "2: zzz: unknown key 'zzz'; known: name, readout, seed, datasets, backbones, layers, modes, controls, "
            "probes, fit, search, seeds, intervals, store, keep_probes, extras, published",
        ),
        (
            "n_colors: 2",
            "n_colours: 2",
            "6: datasets[0].n_colours: unknown key 'n_colours'; did you mean 'n_colors'?",
        ),
        ("rank: 4", "rnk: 4", "14: probes[1].rnk: unknown key 'rnk'; did you mean 'rank'?"),
        (
            "family: linear",
            "family: linear\n    rank: 2",
            "13: probes[0].rank: unknown key 'rank'; known: family, learning_rate, weight_decay, feature_probe, "
            "use_conditioned_query",
        ),
        ("{epochs: 40}", "{epoch: 40}", "15: fit.epoch: unknown key 'epoch'; did you mean 'epochs'?"),
        (
            "n_colors: 2",
            "split:\n      tests: 3",
            "7: datasets[0].split.tests: unknown key 'tests'; did you mean 'test'?",
        ),
        ("name: small\n", "", "1: missing key 'name'"),
        ("layers: [final]\n", "", "1: missing key 'layers'"),
        ("  - name: shapes\n    scene", "  - scene", "4: datasets[0]: missing key 'name'"),
        ("    scene: colorshape\n", "", "4: datasets[0]: missing key 'scene'"),
        ("family: linear", "rank: 1", "12: probes[0]: missing key 'family'"),
        ("rank: 4", "rank: {low: 4}", "14: probes[1].rank: missing key 'high'"),
        ("- timm:vit_tiny_patch16_224", "- {image_size: 4}", "8: backbones[0]: missing key 'source'"),
        # names
        ("colorshape", "colorshap", "5: datasets[0].scene: unknown scene 'colorshap'; did you mean 'colorshape'?"),
        ("colorshape", "x", "5: datasets[0].scene: unknown scene 'x'; known: " + ", ".join(SCENES)),
        ("linear", "lineer", "12: probes[0].family: unknown family 'lineer'; did you mean 'linear'?"),
        ("seed: 0", "readout: bindin", "2: readout: unknown readout 'bindin'; did you mean 'binding'?"),
        ("seed: 0", "controls: [noise, noize]", "2: controls[1]: unknown control 'noize'; did you mean 'noise'?"),
        ("seed: 0", "extras: [foo]", "2: extras[0]: unknown extra 'foo'; known: selectivity, mdl"),
        ("[cls]", "[cls, mean_spacial]", "10: modes[1]: unknown mode 'mean_spacial'; did you mean 'mean_spatial'?"),
        (
            "[cls]",
            "[1]",
            "10: modes[0]: expected one of cls, mean_spatial, cls_mean, all, got 1",
        ),
        ("suggestions: 4", "pruner: medn", "16: search.pruner: unknown pruner 'medn'; did you mean 'median'?"),
        (
            "n_colors: 2",
            "split: {policy: hash}",
            "6: datasets[0].split.policy: unknown policy 'hash'; known: independent, f_disjoint_hash, "
            "f_ranked_three_way",
        ),
        ("{epochs: 40}", "papr", "15: fit: unknown fit 'papr'; did you mean 'paper'?"),
        (
            "[final]",
            "[final, finl]",
            "9: layers[1]: expected embed, final or the number of a block, got 'finl'; did you mean 'final'?",
        ),
        (
            "timm:vit_tiny_patch16_224",
            "shipped:shapes_vit_object",
            "8: backbones[0]: unknown shipped backbone 'shapes_vit_object'; did you mean 'shapes_vit_objects'?",
        ),
        ("name: small", "name: a/b", f"1: name: {NAME_RULE}, got 'a/b'"),
        ("name: small", "name: ..", f"1: name: {NAME_RULE}, got '..'"),
        ("name: small", "name: ''", f"1: name: {NAME_RULE}, got ''"),
        ("name: small", "name: a[b=1]", f"1: name: {NAME_RULE}, got 'a[b=1]'"),
        ("name: small", f"name: {'x' * 81}", f"1: name: {NAME_RULE}, got '{'x' * 57}...'"),
        ("name: shapes", "name: a b", f"4: datasets[0].name: {NAME_RULE}, got 'a b'"),
        # types
        ("n_colors: 2", "n_colors: '2'", "6: datasets[0].n_colors: expected a whole number, got '2'"),
        ("n_colors: 2", "n_colors: true", "6: datasets[0].n_colors: expected a whole number, got true"),
        ("n_colors: 2", "n_colors: 2.0", "6: datasets[0].n_colors: expected a whole number, got 2.0"),
        ("n_colors: 2", "n_colors: 1e0", "6: datasets[0].n_colors: expected a whole number, got 1.0"),
        ("n_colors: 2", "n_colors:", "6: datasets[0].n_colors: expected a whole number, got nothing"),
        ("n_colors: 2", "n_colors: [2]", "6: datasets[0].n_colors: expected a whole number, got a list"),
        ("name: small", "name: 12", "1: name: expected text, got 12"),
        ("seed: 0", "seed: 1.5", "2: seed: expected a whole number, got 1.5"),
        ("{epochs: 40}", "{standardize: 1}", "15: fit.standardize: expected true or false, got 1"),
        ("{epochs: 40}", "{standardize: yes}", "15: fit.standardize: expected true or false, got 'yes'"),
        ("{epochs: 40}", "{learning_rate: true}", "15: fit.learning_rate: expected a number, got true"),
        ("{epochs: 40}", "[1]", f"15: fit: {MAPPING}, got a list"),
        ("{epochs: 40}", "", f"15: fit: {MAPPING}, got nothing"),
        ("[final]", "final", "9: layers: expected a list, got 'final'"),
        ("[final]", "", "9: layers: expected a list, got nothing"),
        ("[final]", "{every: 0}", "9: layers.every: must be ≥ 1, got 0"),
        (
            "timm:vit_tiny_patch16_224",
            "paper:dino_large",
            "8: backbones[0]: unknown backbone of the paper 'dino_large'; did you mean 'dinov2_large'?",
        ),
        (
            "timm:vit_tiny_patch16_224",
            "{source: timm:vit_tiny_patch16_224, layers: [last]}",
            "8: backbones[0].layers[0]: expected embed, final or the number of a block, got 'last'; "
            "known: embed, final",
        ),
        (
            "timm:vit_tiny_patch16_224",
            "{source: timm:vit_tiny_patch16_224, precision: half}",
            "8: backbones[0].precision: unknown precision 'half'; known: float32, bfloat16, float16",
        ),
        (
            "timm:vit_tiny_patch16_224",
            "{source: random:vit_tiny_patch16_224, weights: a.pth}",
            "8: backbones[0].weights: random:vit_tiny_patch16_224 is untrained; "
            "to read a file write timm:vit_tiny_patch16_224",
        ),
        ("[final]", "[true]", "9: layers[0]: expected embed, final or the number of a block, got true"),
        ("[final]", "[1.5]", "9: layers[0]: expected embed, final or the number of a block, got 1.5"),
        ("- family: linear", "- linear", f"12: probes[0]: {MAPPING}, got 'linear'"),
        ("- timm:vit_tiny_patch16_224", "- 5", f"8: backbones[0]: {MAPPING}, got 5"),
        ("rank: 4", "rank: 4.5", "14: probes[1].rank: expected a whole number, got 4.5"),
        (
            "rank: 4",
            "rank: [4, 8]",
            "14: probes[1].rank: expected a value, {choices: [..]} or {low: .., high: ..}, got a list",
        ),
        (
            "rank: 4",
            "use_conditioned_query: {low: 0, high: 1}",
            "14: probes[1].use_conditioned_query: expected a value or {choices: [..]}, got a mapping",
        ),
        ("rank: 4", "rank: {choices: [4, x]}", "14: probes[1].rank.choices[1]: expected a whole number, got 'x'"),
        ("rank: 4", "rank: {low: 1.5, high: 4}", "14: probes[1].rank.low: expected a whole number, got 1.5"),
        ("rank: 4", "feature_probe: linear", f"14: probes[1].feature_probe: {MAPPING}, got 'linear'"),
        (
            "seed: 0",
            "store: {memory: 4 apples}",
            "2: store.memory: expected bytes or a size such as 4GB or 500MB, got '4 apples'",
        ),
        (
            "seed: 0",
            "store: {memory: 1.5}",
            "2: store.memory: expected bytes or a size such as 4GB or 500MB, got 1.5",
        ),
        (
            "seed: 0",
            "store: {memory: true}",
            "2: store.memory: expected bytes or a size such as 4GB or 500MB, got true",
        ),
        ("seed: 0", "store: {dtype: int8}", "2: store.dtype: unknown dtype 'int8'; known: float16, float32"),
        (
            "n_colors: 2",
            "split: {code_counts: [1, 2]}",
            "6: datasets[0].split.code_counts: too few entries, there is no [2]",
        ),
        (
            "n_colors: 2",
            "split: {code_counts: [1, 2, 3, 4]}",
            "6: datasets[0].split.code_counts: expected 3 entries, got 4",
        ),
        # values
        ("seed: 0", "seed: -1", "2: seed: must be ≥ 0, got -1"),
        ("seed: 0", "seeds: 0", "2: seeds: must be ≥ 1, got 0"),
        ("seed: 0", "intervals: {level: 1}", "2: intervals.level: must lie strictly between 0 and 1, got 1.0"),
        ("seed: 0", "intervals: {resamples: 99}", "2: intervals.resamples: must be ≥ 100, got 99"),
        ("seed: 0", "store: {memory: 0}", "2: store.memory: must be ≥ 1, got 0"),
        ("suggestions: 4", "suggestions: 0", "16: search.suggestions: must be ≥ 1, got 0"),
        ("epochs: 40", "epochs: 0", "15: fit.epochs: must be ≥ 1, got 0"),
        ("n_colors: 2", "n_colors: 9", "6: datasets[0].n_colors: must lie in 1..8, got 9"),
        ("n_colors: 2", "split:\n      train: 0", "7: datasets[0].split.train: must be ≥ 1, got 0"),
        ("rank: 4", "rank: 0", "14: probes[1].rank: must be ≥ 1, got 0"),
        ("rank: 4", "rank:\n      low: 0\n      high: 4", "14: probes[1].rank: must be ≥ 1, got 0"),
        ("rank: 4", "rank:\n      choices: [4, 0]", "14: probes[1].rank: must be ≥ 1, got 0"),
        ("rank: 4", "rank:\n      low: 4\n      high: 4", "16: probes[1].rank.high: must be above low, got 4 to 4"),
        (
            "rank: 4",
            "weight_decay:\n      low: 0\n      high: 1\n      log: true",
            "15: probes[1].weight_decay.low: must be > 0 for a logarithmic range, got 0.0",
        ),
        (
            "timm:vit_tiny_patch16_224",
            "tim:x",
            "8: backbones[0]: must be shipped:NAME, timm:NAME, hf:REPO, random:NAME, random:hf:REPO, "
            "random:shipped:NAME, activations:FILE or control:NAME, got 'tim:x'",
        ),
        (
            "- timm:vit_tiny_patch16_224",
            "- source: timm:x\n    image_size: 0",
            "9: backbones[0].image_size: must be ≥ 1, got 0",
        ),
        (
            "timm:vit_tiny_patch16_224",
            "control:noise",
            "8: backbones[0]: controls are named under `controls:`, got 'control:noise'",
        ),
        (
            "rank: 4",
            "feature_probe: {family: multilinear_concat_reuse}",
            "14: probes[1].feature_probe.family: multilinear_concat_reuse shares parameters between objects, "
            "it has no probe for features",
        ),
        (
            "rank: 4",
            "feature_probe: {family: attention}",
            "14: probes[1].feature_probe.family: attention_quadratic reads all tokens, quadratic_concat does not",
        ),
        (
            "rank: 4",
            "feature_probe: {family: dnn, dropout: 1}",
            "14: probes[1].feature_probe.dropout: must lie in [0, 1), got 1.0",
        ),
        # grids
        ("[final]", "[]", f"9: layers: {EMPTY}"),
        ("[cls]", "[]", f"10: modes: {EMPTY}"),
        ("rank: 4", "rank: {choices: []}", f"14: probes[1].rank.choices: {EMPTY}"),
        ("n_colors: 2", "n_colors: {grid: []}", f"6: datasets[0].n_colors.grid: {EMPTY}"),
        ("n_colors: 2", "vary: []", f"6: datasets[0].vary: {EMPTY}"),
        (
            "backbones:\n  - timm:vit_tiny_patch16_224\n",
            "",
            "1: backbones: empty grid: needs at least one backbone or control",
        ),
        (
            "\n  - timm:vit_tiny_patch16_224",
            " []",
            "7: backbones: empty grid: needs at least one backbone or control",
        ),
        ("[final]", "[0, final, 0]", "9: layers: duplicate entry 0"),
        ("[cls]", "[cls, cls]", "10: modes: duplicate entry 'cls'"),
        ("seed: 0", "controls: [noise, noise]", "2: controls: duplicate entry 'noise'"),
        ("rank: 4", "rank: {choices: [4, 4]}", "14: probes[1].rank.choices: duplicate entry 4"),
        ("n_colors: 2", "n_colors: {grid: [2, 2]}", "6: datasets[0].n_colors.grid: duplicate entry 2"),
        (
            "- timm:vit_tiny_patch16_224",
            "- timm:x\n  - source: timm:x",
            "9: backbones[1]: duplicate entry, the same as backbones[0]",
        ),
        (
            "  - family: linear",
            "  - family: quadratic\n    rank: 4",
            "14: probes[1]: duplicate entry, the same as probes[0]",
        ),
        (
            "n_colors: 2",
            "n_colors: 2\n  - {scene: colorshape, name: shapes}",
            "7: datasets[1].name: duplicate name 'shapes', first in datasets[0]",
        ),
        (
            "n_colors: 2",
            "n_colors: 2\n    vary:\n      - {n_colors: 3}",
            "8: datasets[0].vary[0].n_colors: n_colors is given outside of vary too",
        ),
        (
            "n_colors: 2",
            "vary:\n      - {n_colors: 3}\n      - {n_shapes: 3}",
            "8: datasets[0].vary[1]: must set the same fields as the first entry: n_colors",
        ),
        ("n_colors: 2", "vary: [{}]", "6: datasets[0].vary[0]: sets no field"),
        (
            "n_colors: 2",
            "n_colors:\n      grid:\n        - 2\n        - 9",
            "9: datasets[0].n_colors.grid[1]: must lie in 1..8, got 9",
        ),
        (
            "n_colors: 2",
            "vary:\n      - {n_colors: 2}\n      - {n_colors: 9}",
            "8: datasets[0].vary[1].n_colors: must lie in 1..8, got 9",
        ),
        (
            "n_colors: 2",
            f"seed: {{grid: {list(range(40))}}}\n    margin: {{grid: {list(range(40))}}}",
            "4: datasets[0]: a grid of 1600 data sets; there can be at most 1000",
        ),
        (
            "name: shapes",
            f"name: shapes\n    split: {{salt: {{grid: [{'x' * 160}]}}}}",
            f"4: datasets[0]: the grid makes the name 'shapes[split.salt={'x' * 160}]'; use a shorter or simpler one",
        ),
    ],
)
def test_each_mistake(refused, old, new, message):
    assert refused(changed((old, new))) == [message]


def test_empty_lists_of_data_sets_and_probes(refused):
    head, _, tail = STUDY.partition("datasets:")
    assert refused(f"{head}datasets: []\nbackbones:{tail.partition('backbones:')[2]}") == [f"3: datasets: {EMPTY}"]
    head, _, tail = STUDY.partition("probes:")
    assert refused(f"{head}probes: []\nfit:{tail.partition('fit:')[2]}") == [f"11: probes: {EMPTY}"]


def test_objects_that_do_not_fit(refused):
    text = changed(("n_colors: 2", "image_size: 32\n    margin: 20"))
    (line,) = refused(text)
    assert line.startswith("4: datasets[0].object_size: no free place for ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1: the file is empty"),
        ("# only a comment\n", "1: the file is empty"),
        ("---\n", "2: the file is empty"),
        ("- a\n- b\n", "1: expected keys and values, got a list"),
        ("hello\n", "1: expected keys and values, got 'hello'"),
        ("a: [", "1: not valid YAML: expected the node content, but found '<stream end>', while parsing a flow node"),
    ],
)
def test_files_that_hold_no_study(refused, text, message):
    assert refused(text) == [message]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(StudyError, match=r"none\.yaml: there is no such file$"):
        load_space(tmp_path / "none.yaml")


def test_all_mistakes_at_once_in_the_order_of_the_file(refused):
    text = changed(
        ("seed: 0", "sede: 0"),
        ("n_colors: 2", "n_colors: 9\n    n_shape: 3\n    split: {train: 0, test: x}"),
        ("[cls]", "[cl]"),
        ("family: linear", "family: lineer"),
        ("rank: 4", "rank: 0\n    weight_decay: '1'\n    rnk: 3\n    rank: 5"),
        ("epochs: 40", "epochs: 0"),
    )
    assert refused(text) == [
        "2: sede: unknown key 'sede'; did you mean 'seed'?",
        "6: datasets[0].n_colors: must lie in 1..8, got 9",
        "7: datasets[0].n_shape: unknown key 'n_shape'; did you mean 'n_shapes'?",
        "8: datasets[0].split.test: expected a whole number, got 'x'",
        "8: datasets[0].split.train: must be ≥ 1, got 0",
        "12: modes[0]: unknown mode 'cl'; did you mean 'cls'?",
        "14: probes[0].family: unknown family 'lineer'; did you mean 'linear'?",
        "16: probes[1].rank: must be ≥ 1, got 0",
        "17: probes[1].weight_decay: expected a number, got '1'",
        "18: probes[1].rnk: unknown key 'rnk'; did you mean 'rank'?",
        "19: probes[1].rank: duplicate key 'rank', first on line 16",
        "20: fit.epochs: must be ≥ 1, got 0",
    ]


def test_a_value_that_cannot_be_read_is_reported_once(refused):
    text = changed(("n_colors: 2", "n_colors: *two"), ("[cls]", "!modes [cls]"), ("epochs: 40", "epochs: .nan"))
    assert refused(text) == [
        "6: datasets[0].n_colors: aliases are not supported, got *two; write the value again",
        "10: modes: tags are not supported, got !modes",
        "15: fit.epochs: must be a finite number, got .nan",
    ]


def test_large_and_deep_files_are_refused_quickly(refused):
    start = time.perf_counter()
    assert refused(STUDY + "store: " + "[" * 100_000) == ["17: nested more than 32 levels deep"]
    grid = ", ".join(
        f"{field}: {{grid: {list(range(1, 9))}}}" for field in ("n_colors", "n_shapes", "seed", "margin")
    )
    assert refused(
        changed(("n_colors: 2", f"vary: [{{object_size: 5}}]\n  - {{name: x, scene: colorshape, {grid}}}"))
    ) == ["7: datasets[1]: a grid of 4096 data sets; there can be at most 1000"]
    assert time.perf_counter() - start < 10
