import json
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from frozen.readout.exhibit import Exhibit, ShownSample
from sweep.report import Heading, is_whole, write_report
from sweep.report._stories import Story
from sweep.report._vega import vega_script
from tests.sweep.report.conftest import CHOICES, DIMENSIONS

MEANINGS = {"exceeds_direct": "The ratio exceeds the direct one.", "never_raised": "Not in this study."}
YAML = "name: a\nseed: 17\n"
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Text, tags and attributes of a page; fails where tags are not balanced."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"script", "style"} & set(self.open):
            return
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def data(self) -> dict[str, Any]:
        start = self.source.index(">", self.source.index('id="data"')) + 1
        return json.loads(self.source[start : self.source.index("</script>", start)])

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def row(self, *beginning: str) -> list[str]:
        rows = [[" ".join(one.split()) for one in row] for row in self.rows]
        return next(row for row in rows if row[: len(beginning)] == list(beginning))


@pytest.fixture
def report(tmp_path, measures):
    def write(rows: pd.DataFrame, exhibits=tuple, **changed) -> Page:
        study = Heading(
            **{"title": "A study", "study_yaml": YAML, "flag_meanings": MEANINGS, "choices": CHOICES, **changed}
        )
        path = write_report(rows, DIMENSIONS, measures, study, tmp_path / "results" / "report.html", exhibits)
        assert path == tmp_path / "results" / "report.html"
        assert not list((tmp_path / "results").rglob("*.tmp"))
        return Page(path.read_text(encoding="utf-8"))

    return write


@pytest.fixture(scope="module")
def page(original_study, measures, tmp_path_factory):
    """The report of the study, written once; tests only look."""
    path = tmp_path_factory.mktemp("results") / "report.html"
    study = Heading(title="A study", study_yaml=YAML, flag_meanings=MEANINGS)
    return Page(write_report(original_study, DIMENSIONS, measures, study, path).read_text(encoding="utf-8"))


def test_every_measure_is_explained_and_tabled_without_scripts(page, measures):
    for measure in measures:
        assert measure.label in page.text
        assert measure.meaning in page.text
    heads = ["backbone", "mode", "probe", "layer", "γ* ratio", "γ*direct ratio", "G bits", "flags"]
    assert page.row("backbone") == heads
    numbers = ["0.550 [0.530, 0.580]", "0.450 [0.430, 0.480]", "5.50 [5.48, 5.53]"]
    assert page.row("large", "mean", "linear", "final") == ["large", "mean", "linear", "final", *numbers, ""]
    assert page.row("oracle (control)", "cls", "linear")[4] == "0.970 [0.950, 1.000]"


def test_the_page_needs_nothing_beside_it(page):
    references = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data")
    ]
    assert references
    assert all(value and value.startswith(("data:", "#")) for value in references)
    policies = [one["content"] for tag, one in page.tags if tag == "meta" and "http-equiv" in one]
    assert policies[0].startswith("default-src 'none'; img-src data:;")


def test_the_data_of_the_scripts_are_those_of_the_rows(page, original_study):
    data = page.data
    assert data["names"]["backbone"] == ["large", "noise", "oracle", "small"]
    assert len(data["columns"]["backbone"]) == len(original_study)
    assert sum(control > 0 for control in data["columns"]["control"]) == 4
    assert sum(data["failed"]) == 1
    values = data["estimates"]["grip_ratio"]
    undefined = original_study["grip_ratio"].isna().sum()
    assert values["value"].count(None) == values["low"].count(None) == undefined == 2
    known = [value for value in values["value"] if value is not None]
    assert sorted(known) == pytest.approx(sorted(original_study["grip_ratio"].dropna()))


def test_flags_with_their_meanings(page):
    assert page.row("ed") == ["ed", "exceeds_direct", "1", MEANINGS["exceeds_direct"]]
    assert page.row("unsu") == ["unsu", "unsure", "1", ""]
    assert "never_raised" not in page.text


def test_failures_with_their_errors(page):
    assert "ValueError: no room 1 cell squares · small · cls · quadratic · final" in page.text
    assert "Traceback: deep" in page.text
    assert page.row("small", "cls", "quadratic", "final") == ["small", "cls", "quadratic", "final", "failed", ""]


def test_equal_errors_are_shown_once_and_their_cells_counted(cell, report):
    rows = [cell(layer=str(layer), status="failed", error="ValueError: no room\ndeep") for layer in range(20)]
    text = report(pd.DataFrame(rows)).text
    assert text.count("ValueError: no room") == 2, "summary and error"
    assert "20 cells" in text
    assert "and 8 more" in text


def test_provenance(page):
    for fact in ("abc1234", "cpu", "torch 2.9.1", "seed: 17", '"n": 4'):
        assert fact in page.text


HOSTILE = "</script><script>alert('&')</script><!--{{ 7 * 7 }}"


@pytest.mark.filterwarnings("error")
def test_hostile_names_are_escaped(cell, report):
    names = dict.fromkeys(("dataset", "backbone", "layer", "mode", "probe", "versions", "device"), HOSTILE)
    hidden = dict.fromkeys(("dataset_parameters", "hyperparameters_objects"), HOSTILE)
    row = cell(layer_index=0, flags=[HOSTILE, '"><script>x'], **names, **hidden)
    failed = cell(status="failed", error=HOSTILE)
    meanings = {HOSTILE: "<b>bold</b>"}
    study = {"title": HOSTILE, "study_yaml": HOSTILE, "flag_meanings": meanings, "notes": [HOSTILE]}
    page = report(pd.DataFrame([row, failed]), **study)
    assert [tag for tag, _ in page.tags].count("script") == 3, "the data, the library, our own"
    assert "b" not in {tag for tag, _ in page.tags}
    assert page.text.count(HOSTILE) > 10
    assert "<b>bold</b>" in page.text
    assert page.data["names"]["probe"] == [HOSTILE, "linear"]
    assert page.data["choices"]["texts"] == [HOSTILE]


def test_without_rows(report):
    page = report(pd.DataFrame())
    assert "No cell has been measured yet." in page.text
    assert page.rows == []


def test_with_nothing_but_failures(cell, report):
    page = report(pd.DataFrame([cell(status="failed", error="ValueError: no room")]))
    assert "All cells failed" in page.text


def test_a_study_that_still_runs_says_so(cell, report):
    rows = pd.DataFrame([cell()])
    assert "1 of 30 cells so far" in report(rows, n_cells=30).text
    assert "so far" not in report(rows, n_cells=1).text


def test_values_stand_in_the_order_of_the_study(cell, report):
    rows = pd.DataFrame([cell(probe=probe) for probe in ("attention", "linear", "dnn", "quadratic", "linear")])
    page = report(rows, value_order={"probe": ["linear", "quadratic", "dnn"]})
    assert page.data["names"]["probe"] == ["linear", "linear #2", "quadratic", "dnn", "attention"]


def sketch(title: str, draw: Callable[[], Any]) -> Exhibit:
    return Exhibit(title, "a caption", "a drawing", draw)


def test_exhibits_are_shown_and_failing_ones_noted(cell, report):
    def broken() -> Figure:
        raise RuntimeError("no <ink>")

    specification = {"mark": "bar", "data": {"values": [{"probe": "</script>"}]}}
    sketches = [
        sketch("Figure", lambda: Figure(figsize=(1, 1))),
        sketch("Broken", broken),
        sketch("Bars", lambda: specification),
        sketch("Picture", lambda: b"PNG bytes"),
        sketch("Wrong", lambda: 7),
    ]
    page = report(pd.DataFrame([cell()]), exhibits=lambda: sketches)
    pictures = [one["src"] for tag, one in page.tags if tag == "img"]
    assert [picture.partition(",")[0] for picture in pictures] == ["data:image/png;base64"] * 2
    assert any(picture.endswith("UE5HIGJ5dGVz") for picture in pictures)
    assert page.data["drawings"] == [None, None, specification, None, None]
    assert "could not be drawn: RuntimeError: no <ink>" in page.text
    assert page.text.count("could not be drawn") == 2
    assert page.text.count("a caption") == 5


def test_a_readout_that_cannot_even_list_its_exhibits(cell, report):
    def some():
        yield sketch("First", lambda: {"mark": "bar"})
        raise OSError("gone")

    page = report(pd.DataFrame([cell()]), exhibits=some)
    assert page.data["drawings"] == [{"mark": "bar"}, None]
    assert "could not be drawn: OSError: gone" in page.text


def test_a_page_knows_whether_anything_of_it_is_missing(cell, measures, tmp_path):
    def gone() -> bytes:
        raise OSError("gone")

    about, rows = Heading(title="t", study_yaml='<meta name="missing"', flag_meanings={}), pd.DataFrame([cell()])

    def is_made_whole(draw: Callable[[], bytes], picture: Callable[[], bytes], note: str = "") -> bool:
        sample = ShownSample("a 7", "test image 7", "3.2 bits", ("red circle",), (), (), picture)
        told = {str(rows.cell_id[0]): Story(samples=(sample,), note=note)}
        exhibits = [sketch("Picture", draw)]
        path = tmp_path / "report.html"
        return is_whole(write_report(rows, DIMENSIONS, measures, about, path, lambda: exhibits, told))

    assert is_made_whole(lambda: b"PNG", lambda: b"PNG")
    assert not is_made_whole(gone, lambda: b"PNG")
    assert not is_made_whole(lambda: b"PNG", gone)
    assert not is_made_whole(lambda: b"PNG", lambda: b"PNG", "not all can be told")


def test_the_same_rows_give_the_same_page(study, measures, tmp_path):
    about = Heading(title="t", flag_meanings={})
    pages = [
        write_report(rows, DIMENSIONS, measures, about, tmp_path / name).read_bytes()
        for name, rows in (("a", study), ("b", study.iloc[::-1]))
    ]
    assert pages[0] == pages[1]


def test_the_methods_paragraph_is_there_to_be_taken(cell, report):
    page = report(pd.DataFrame([cell()]), method="We measured <b> & more.\n\n@software{a}")
    assert ("pre", {"class": "taken"}) in page.tags
    assert "We measured <b> & more. @software{a}" in page.text
    assert "For a paper" not in report(pd.DataFrame([cell()])).text


def test_no_sign_on_the_page_acts(cell, report):
    name = "a\u202eb\x1b\u200b"
    shown = report(pd.DataFrame([cell(layer_index=0, dataset=name, backbone=name, flags=[name])]), title=name)
    assert r"a\u202eb\x1b\u200b" in shown.source
    ours = shown.source.replace(vega_script(), "")
    assert not any(sign in ours for sign in "\u202e\x1b\u200b")
