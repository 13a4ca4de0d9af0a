"""A measurement as people read it: numbers with intervals, flags in words, and a bar while it is made."""

from __future__ import annotations

import io
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from binding import FeatureSpace, FitConfig, MeasureConfig, SearchConfig, measure
from binding import measurement as module
from binding._progress import progress
from binding.information import FLAGS, Estimate
from binding.measurement import N_STAGES, Measurement
from frozen.console import Terminal
from frozen.intervals import IntervalConfig

SPACE = FeatureSpace.of(color=2, shape=2)
CONFIG = MeasureConfig(
    fit=FitConfig(epochs=2, learning_rate=0.1),
    search=SearchConfig(suggestions=1),
    intervals=IntervalConfig(level=0.9, resamples=100),
    n_seeds=1,
)


def measured() -> Measurement:
    codes = np.random.default_rng(0).integers(2, size=(500, 4), dtype=np.uint8)
    return measure(codes.astype(np.float32), codes, SPACE, probe="linear", config=CONFIG)


@pytest.fixture(scope="module")
def found() -> Measurement:
    ratio = Estimate(0.75, 0.5, 0.8125)
    made = measured()
    estimates = {**made.estimates, "direct_binding_ratio": ratio, "selectivity_bits": ratio}
    return replace(made, estimates=estimates, flags=["last_epoch", "wide_gap"])


def test_every_number_is_shown_with_its_interval_and_every_flag_in_words(found: Measurement) -> None:
    title, *lines = found.summary().splitlines()
    assert title.startswith("Binding information: probe linear, 100 test samples, seeds: 1, H(O|F) = ")
    assert title.endswith("in brackets 90% intervals")
    assert " ".join(lines[0].split()) == "β*_direct binding ratio, a lower bound 0.750 [0.500, 0.812]"
    for name, estimate in found.estimates.items():
        shown = ["not defined"] if estimate is None else [f"{round(number, 3) + 0.0:.3f}" for number in estimate]
        assert any(all(part in line for part in shown) for line in lines), name
    assert lines[-3:] == ["Flags", f"  last_epoch: {FLAGS['last_epoch']}", f"  wide_gap: {FLAGS['wide_gap']}"]
    tiny = replace(found, estimates={"binding_ratio": Estimate(-1e-9, -0.1, 0.1)})
    assert tiny.summary().splitlines()[1].endswith("by difference  0.000  [-0.100, 0.100]")
    assert replace(found, flags=[]).summary().endswith("\nFlags\n  none")


def test_a_notebook_shows_the_same(found: Measurement) -> None:
    page = ET.fromstring(f"<div>{found._repr_html_()}</div>")
    rows = [[cell.text or "" for cell in row] for row in page.iter("tr")]
    assert rows[0] == ["β*_direct", "binding ratio, a lower bound", "0.750", "[0.500, 0.812]"]
    assert len(rows) == len(found.estimates)
    assert [item.text for item in page.iter("b")] == ["last_epoch", "wide_gap"]
    assert "Flags: none" in replace(found, flags=[])._repr_html_()


def test_a_terminal_sees_every_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    file, said = io.StringIO(), []
    monkeypatch.setattr(module, "progress", lambda n: progress(n, Terminal(file, width=80, in_colour=True)))
    monkeypatch.setattr("rich.progress.Progress.update", lambda *_, **how: said.append(how))
    measured()
    assert [how["completed"] for how in said] == list(range(N_STAGES))
    assert [how["description"] for how in said][:3] == ["objects probe", "features probe", "direct probe"]
    assert file.getvalue()


def test_where_there_is_no_terminal_nothing_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    measured()
    assert capfd.readouterr() == ("", "")
