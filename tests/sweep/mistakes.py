"""A small study, and the mistakes that can be made in each of its settings, each with its message."""

from __future__ import annotations

from frozen.data.scenes import SCENES

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

NAME_RULE = "must be 1 to 80 letters, digits, dots, dashes or underscores and begin with a letter or digit"
MAPPING = "expected a mapping of keys to values"
EMPTY = "empty grid: needs at least one entry, got none"

Mistake = tuple[str, str, str]
"""A part of the study, what stands there instead, and the message."""

KEYS: tuple[Mistake, ...] = (
    ("seed: 0", "sead: 0", "2: sead: unknown key 'sead'; did you mean 'seed'?"),
    (
        "seed: 0",
        "zzz: 0",
        "2: zzz: unknown key 'zzz'; known: name, folder, readout, seed, datasets, backbones, controls, intervals, "
        "store, published, layers, modes, probes, fit, search, seeds, keep_probes, extras, through",
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
    ("    scene: colorshape\n", "", "4: datasets[0]: missing key 'scene' or 'data'"),
    ("family: linear", "rank: 1", "12: probes[0]: missing key 'family'"),
    ("rank: 4", "rank: {low: 4}", "14: probes[1].rank: missing key 'high'"),
    ("- timm:vit_tiny_patch16_224", "- {image_size: 4}", "8: backbones[0]: missing key 'source'"),
)

NAMES: tuple[Mistake, ...] = (
    ("colorshape", "colorshap", "5: datasets[0].scene: unknown scene 'colorshap'; did you mean 'colorshape'?"),
    ("colorshape", "x", "5: datasets[0].scene: unknown scene 'x'; known: " + ", ".join(SCENES)),
    ("linear", "lineer", "12: probes[0].family: unknown family 'lineer'; did you mean 'linear'?"),
    ("seed: 0", "readout: bindin", "2: readout: unknown readout 'bindin'; did you mean 'binding'?"),
    ("seed: 0", "controls: [noise, noize]", "2: controls[1]: unknown control 'noize'; did you mean 'noise'?"),
    ("seed: 0", "extras: [foo]", "2: extras[0]: unknown extra 'foo'; known: selectivity, mdl, orders, leave_one_out"),
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
        "6: datasets[0].split.policy: unknown policy 'hash'; known: independent, f_disjoint_hash, f_ranked_three_way",
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
)

TYPES: tuple[Mistake, ...] = (
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
        "8: backbones[0].layers[0]: expected embed, final or the number of a block, got 'last'; known: embed, final",
    ),
    (
        "timm:vit_tiny_patch16_224",
        "{source: timm:vit_tiny_patch16_224, precision: half}",
        "8: backbones[0].precision: unknown precision 'half'; known: float32, bfloat16, float16, auto",
    ),
    (
        "timm:vit_tiny_patch16_224",
        "{source: random:vit_tiny_patch16_224, weights: a.pth}",
        "8: backbones[0].weights: random:vit_tiny_patch16_224 is untrained; "
        "to read a file write timm:vit_tiny_patch16_224",
    ),
    (
        "[final]",
        "[heads.all]",
        "9: layers[0]: a part stands after its block, got 'heads.all'; write all.heads.all, or 3.heads.all",
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
)

VALUES: tuple[Mistake, ...] = (
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
        "8: backbones[0]: must be shipped:NAME, timm:NAME, hf:REPO, open_clip:NAME/TAG, random:NAME, random:hf:REPO, "
        "random:open_clip:NAME, random:shipped:NAME, activations:FILE or control:NAME, got 'tim:x'",
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
)

GRIDS: tuple[Mistake, ...] = (
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
)

MISTAKES = (*KEYS, *NAMES, *TYPES, *VALUES, *GRIDS)
