import csv

import pandas as pd
import pytest

from sweep.report._publication import write_figures, write_tables

CAPTION = "Study _a_ & b, 2 seeds a cell, 2,000 test samples, 95 % intervals."


def test_figures_in_every_format_with_captions(study, dimensions, measures, tmp_path):
    paths = write_figures(study, dimensions, measures[:1], "_a_ & b", ["pdf", "svg"], tmp_path / "figures")
    names = [f"{kind}_grip_ratio.{ending}" for kind in ("layer_curves", "heatmap") for ending in ("pdf", "svg")]
    assert [path.name for path in paths] == [*names, "captions.md"]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted([*names, "captions.md"])
    captions = paths[-1].read_text()
    assert captions.startswith(f"**layer_curves_grip_ratio**: Grip ratio by layer, squares. {CAPTION}")


@pytest.fixture
def tables(study, dimensions, measures, tmp_path):
    paths = write_tables(study, dimensions, measures, "_a_ & b", ["latex", "markdown", "csv"], tmp_path)
    assert [path.name for path in paths] == ["results.tex", "results.md", "results.csv"]
    return [path.read_text() for path in paths]


def test_a_latex_table(tables):
    latex = tables[0]
    assert r"Study \_a\_ \& b, 2 seeds a cell, 2,000 test samples, 95 \% intervals." in latex
    assert r"\begin{longtable}{llllrrr}" in latex
    assert r"backbone & mode & probe & layer & γ* & γ*$_{\mathrm{direct}}$ & G (bits) \\" in latex
    line = next(line for line in latex.splitlines() if line.startswith("large & mean & linear & final"))
    assert r"$0.550$ {\scriptsize $[0.530, 0.580]$}" in line
    assert latex.count(r" \\") == 1 + 27 + 2, "all but the failed cell, and two footnotes"


def test_a_markdown_table(tables):
    markdown = tables[1]
    assert CAPTION in markdown
    assert "| large | mean | linear | final | 0.550 [0.530, 0.580] | 0.450 [0.430, 0.480] | 5.50 [5.48, 5.53] |" in (
        markdown
    )
    assert "| oracle (control) |" in markdown


def test_a_csv_table_keeps_all_digits(tables, study):
    lines = list(csv.DictReader(tables[2].splitlines()))
    assert len(lines) == 27
    found = sorted(float(line["grip_ratio_low"]) for line in lines if line["grip_ratio_low"])
    assert found == sorted(study["grip_ratio_low"].dropna())


def test_names_are_escaped_and_data_sets_have_a_table_each(cell, dimensions, measures, tmp_path):
    rows = pd.DataFrame([cell(dataset="a", backbone=r"x_{\^}|<b>"), cell(dataset="b")])
    paths = write_tables(rows, dimensions, measures, "s", ["latex", "markdown"], tmp_path)
    assert [path.name for path in paths] == ["results_a.tex", "results_a.md", "results_b.tex", "results_b.md"]
    assert r"x\_\{\textbackslash{}\textasciicircum{}\}|<b>" in paths[0].read_text()
    assert r"| x_{\^}\|&lt;b> |" in paths[1].read_text()


@pytest.mark.parametrize("ending", ["tex", "md", "csv"])
def test_names_neither_act_nor_calculate(cell, dimensions, measures, tmp_path, ending):
    rows = pd.DataFrame([cell(dataset="a", backbone="[=1+1\x1b[2J\u202e\n|", probe="=HYPERLINK(A1)", mode="-1")])
    write_tables(rows, dimensions, measures, "s\u202e\n", ["latex", "markdown", "csv"], tmp_path)
    text = (tmp_path / f"results.{ending}").read_text()
    assert not any(sign in text for sign in "\x1b\u202e")
    named, study = {
        "tex": (r"{}[=1+1\textbackslash{}x1b[2J\textbackslash{}u202e\textbackslash{}n|", r"s\textbackslash{}u202e"),
        "md": (r"| [=1+1\x1b[2J\u202e\n\| | -1 | =HYPERLINK(A1)", r"Study s\u202e\n, "),
        "csv": (r"[=1+1\x1b[2J\u202e\n|,-1,'=HYPERLINK(A1)", ""),
    }[ending]
    assert f"\n{named}" in text
    assert study in text


def test_flags_that_change_how_a_number_is_read_travel_into_tables(study, dimensions, measures, tmp_path):
    formats, meanings = ["latex", "markdown", "csv"], {"exceeds_direct": "Do not read it."}
    mild = frozenset({"unsure"})
    paths = write_tables(study, dimensions, measures, "s", formats, tmp_path, meanings, mild)
    latex, markdown, text = (path.read_text() for path in paths)
    (line,) = [line for line in markdown.splitlines() if "†" in line and line.startswith("|")]
    assert line.startswith("| small † | cls | linear | embed |")
    assert "\n† exceeds_direct: Do not read it.  \n" in markdown
    assert "unsure" not in markdown + latex
    assert r"small \textdagger{} & cls & linear & embed" in latex
    assert r"{l}{\footnotesize \textdagger{} exceeds\_direct: Do not read it.} \\" in latex
    assert [row["flags"] for row in csv.DictReader(text.splitlines())].count("exceeds_direct") == 1


def test_captions_say_what_a_hollow_marker_means(study, dimensions, measures, tmp_path):
    meanings = {"exceeds_direct": "Do not read it."}
    paths = write_figures(study, dimensions, measures[:1], "s", ["svg"], tmp_path, meanings, frozenset({"unsure"}))
    assert "A hollow marker carries a flag. exceeds_direct: Do not read it." in paths[-1].read_text()
    study["flags"] = [[] for _ in range(len(study))]
    paths = write_figures(study, dimensions, measures[:1], "s", ["svg"], tmp_path / "none", meanings)
    assert "hollow" not in paths[-1].read_text()
