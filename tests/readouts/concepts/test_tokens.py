"""A dictionary of all tokens of a layer: rows are tokens, codes are of images."""

from __future__ import annotations

from pathlib import Path

from frozen.readout.cells import Cell
from frozen.testing._readouts import measured
from readouts.concepts.readout import ConceptsReadout
from sweep.study.load import load_study

STUDY = """\
name: tokens
readout: concepts
datasets:
  - {name: many, scene: fewshapes, split: {policy: independent, train: 40, validation: 20, test: 30}}
backbones: ["shipped:shapes_vit_objects"]
sites: [1.mlp.tokens]
dictionaries: [{kind: batchtopk, k: 4, expansion: 0.25}]
training: {steps: 5, batch_size: 64}
intervals: {resamples: 100}
"""


def test_tokens_are_rows_and_images_have_codes(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    study = load_study(tmp_path / "study.yaml")
    cells = [one for one in ConceptsReadout().cells(study) if isinstance(one, Cell)]
    rows = {cell.settings.name: outcome for cell, outcome in measured(ConceptsReadout(), cells)}
    assert list(rows) == ["dictionary", "codes", "binding"]
    assert rows["dictionary"].samples.num_rows == 30  # pyright: ignore[reportOptionalMemberAccess]
    assert rows["codes"].row["n_test"] == 30
    assert "nothing_to_bind" in rows["binding"].row["flags"]  # pyright: ignore[reportOperatorIssue]
