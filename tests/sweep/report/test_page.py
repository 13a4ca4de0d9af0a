import base64
from html.parser import HTMLParser

import pandas as pd
import pytest

from sweep.report import write_report

MEANINGS = {"exceeds_direct": "The ratio exceeds the direct one.", "never_raised": "Not in this study."}
YAML = "name: a\nseed: 17\n"
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Text, tags and attributes of a page; fails where tags are not balanced."""

    def __init__(self, source: str) -> None:
        super().__init__()
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
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def row(self, *beginning: str) -> list[str]:
        rows = [[" ".join(one.split()) for one in row] for row in self.rows]
        return next(row for row in rows if row[: len(beginning)] == list(beginning))


@pytest.fixture
def report(tmp_path, measures):
    def write(rows: pd.DataFrame, **changed: object) -> Page:
        arguments = {"title": "A study", "study_yaml": YAML, "flag_meanings": MEANINGS, **changed}
        path = write_report(rows, measures, folder=tmp_path / "results", **arguments)
        assert path == tmp_path / "results" / "report.html"
        assert not list((tmp_path / "results").rglob("*.tmp"))
        return Page(path.read_text(encoding="utf-8"))

    return write


@pytest.fixture(scope="module")
def folder(original_study, measures, tmp_path_factory):
    """The results of the study, written once; tests only look."""
    folder = tmp_path_factory.mktemp("results")
    write_report(original_study, measures, title="A study", study_yaml=YAML, flag_meanings=MEANINGS, folder=folder)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_every_measure_is_explained_and_tabled(page, measures):
    for measure in measures:
        assert measure.label in page.text
        assert measure.meaning in page.text
    assert page.row("mode") == ["mode", "probe", "layer", "γ* ratio", "γ*direct ratio", "G bits", "flags"]
    assert page.row("mean", "linear", "final") == [
        "mean",
        "linear",
        "final",
        "0.550 [0.530, 0.580]",
        "0.450 [0.430, 0.480]",
        "5.50 [5.48, 5.53]",
        "",
    ]


def test_the_page_needs_nothing_beside_it(page):
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    references = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset")
    ]
    assert len(references) == 4
    assert all(value and value.startswith("data:image/png;base64,") for value in references)
    assert "url(" not in page.text
    assert "@import" not in page.text


def test_the_figures_of_the_page_are_those_in_the_folder(page, folder):
    embedded = {
        base64.b64decode(attributes["src"].partition(",")[2]) for tag, attributes in page.tags if tag == "img"
    }
    files = {path.name: path.read_bytes() for path in (folder / "figures").iterdir()}
    assert set(files) == {
        f"{kind}_{measure}.png"
        for kind in ("layer_curves", "heatmap")
        for measure in ("grip_ratio", "direct_grip_ratio")
    }
    assert embedded == set(files.values())


def test_controls_have_a_table_of_their_own(page):
    text = page.text
    controls = text.index("Controls")
    assert text.rindex("oracle") > controls
    assert text.index("large", text.index("Results")) < controls


def test_flags_with_their_meanings(page):
    assert page.row("ed") == ["ed", "exceeds_direct", "1", MEANINGS["exceeds_direct"]]
    assert page.row("unsu") == ["unsu", "unsure", "1", ""]
    assert "never_raised" not in page.text


def test_failures_with_their_errors(page):
    assert "squares · small · cls · quadratic · final: ValueError: no room" in page.text
    assert "Traceback: deep" in page.text
    assert page.row("cls", "quadratic", "final")[3].startswith("0.57"), "the other backbone's"
    assert ["cls", "quadratic", "final", "failed", ""] in [[one.strip() for one in row] for row in page.rows]


def test_provenance(page):
    text = page.text
    for fact in ("abc1234", "cpu", "torch 2.9.1", "seed: 17", '"n": 4'):
        assert fact in text


@pytest.mark.filterwarnings("error")
def test_hostile_names_are_escaped(cell, report):
    hostile = "<script>alert('&')</script>"
    row = cell(
        dataset=hostile,
        backbone=hostile,
        layer=hostile,
        layer_index=0,
        mode=hostile,
        probe=hostile,
        flags=[hostile, '"><script>x'],
        versions=hostile,
        device=hostile,
        dataset_parameters=hostile,
        hyperparameters_objects=hostile,
    )
    failed = cell(status="failed", error=hostile)
    meanings = {hostile: "<b>bold</b>"}
    page = report(pd.DataFrame([row, failed]), title=hostile, study_yaml=hostile, flag_meanings=meanings)
    assert "script" not in {tag for tag, _ in page.tags}
    assert "b" not in {tag for tag, _ in page.tags}
    assert page.text.count(hostile) > 10
    assert "<b>bold</b>" in page.text


def test_light_dark_and_print(page):
    style = page.text
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style


def test_without_rows(report, tmp_path):
    page = report(pd.DataFrame())
    assert "No cell has been measured yet." in page.text
    assert "img" not in {tag for tag, _ in page.tags}
    assert list((tmp_path / "results" / "figures").iterdir()) == []


def test_with_nothing_but_failures(cell, report):
    page = report(pd.DataFrame([cell(status="failed", error="ValueError: no room")]))
    assert "All cells failed" in page.text
    assert "img" not in {tag for tag, _ in page.tags}


def test_several_data_sets(cell, report):
    page = report(pd.DataFrame([cell(dataset="circles"), cell(dataset="squares")]))
    captions = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert captions == [
        f"{label} by {what}, {dataset}"
        for what in ("layer", "backbone and layer")
        for label in ("Grip ratio", "Direct grip ratio")
        for dataset in ("circles", "squares")
    ]


def test_the_same_rows_give_the_same_page(study, measures, tmp_path):
    arguments = {"title": "t", "study_yaml": "", "flag_meanings": {}}
    pages = [
        write_report(rows, measures, folder=tmp_path / name, **arguments).read_bytes()
        for name, rows in (("a", study), ("b", study.iloc[::-1]))
    ]
    assert pages[0] == pages[1]
