"""What names and errors can do to a terminal, a page, a table for a paper or a spreadsheet: nothing."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.table import Table

from frozen.console import Terminal
from frozen.terminal import complain, on_one_line, printable, run_command, say
from sweep.live.progress import progress
from sweep.results.spreadsheet import csv_text, safe_cell
from sweep.study.load import dump_yaml
from sweep.study.yaml import parse

ROOT = Path(__file__).parents[2]
HOSTILE = "a\x1b[31m\x07\r\x00\x9b2J\u202ecod\u2066\u200b\ufeff\U000e0041z"
ESCAPED = r"a\x1b[31m\x07\x0d\x00\x9b2J\u202ecod\u2066\u200b\ufeff\U000e0041z"


def test_nothing_that_acts_is_left() -> None:
    assert printable(HOSTILE) == ESCAPED
    assert printable(printable(HOSTILE)) == ESCAPED
    assert printable("\udcff") == r"\udcff"  # a byte of a path that is no UTF-8
    for harmless in ("données 日本 β* ≥ 0 – ok\n\tב\u200dא 👩\u200d🔬", "می\u200cخواهم"):
        assert printable(harmless) == harmless
    assert on_one_line("a\nb\tc\x1b") == r"a\nb\tc\x1b"


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_terminal_escapes_text_and_keeps_its_own_codes(is_terminal: bool) -> None:
    file = io.StringIO()
    terminal = Terminal(file, width=200, in_colour=is_terminal)
    terminal.print(HOSTILE, style="red")
    table = Table("name")
    table.add_row(f"[bold]:cat: {HOSTILE}")
    terminal.print(table)
    with progress(terminal, HOSTILE, [1.0]) as line:
        line.measured(1.0, failed=False, seconds=1.0)
    shown = file.getvalue()
    assert f"[bold]:cat: {ESCAPED}" in shown
    assert ESCAPED[:20] in shown.splitlines()[-1 - is_terminal]
    assert ("\x1b[31m" + ESCAPED in shown) == is_terminal
    assert not any(sign in shown for sign in "\x07\x00\x9b\u202e\u2066\u200b\ufeff\U000e0041")


def test_lines_are_escaped_and_fit_any_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    for write, name in ((say, "sys.stdout"), (complain, "sys.stderr"), (lambda t: Terminal().print(t), "sys.stdout")):
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding="ascii")
        monkeypatch.setattr(name, stream)
        write("é" + HOSTILE)
        stream.flush()
        assert raw.getvalue().decode() == f"\\xe9{ESCAPED}\n"


@pytest.mark.parametrize("line", ["say('x' * 10000)", "Terminal().print('x' * 10000)"])
def test_who_stops_reading_does_not_end_the_work(line: str) -> None:
    imports = "from frozen.console import Terminal; from frozen.terminal import complain, say"
    code = f"{imports}; [{line} for _ in range(50)]; complain('went on')"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == "went on\n"
    assert process.returncode == 0


def test_a_study_is_dumped_without_signs_that_act_and_read_back_unchanged() -> None:
    text = dump_yaml({"name": HOSTILE, HOSTILE: ["é", 1]})
    assert printable(text) == text
    assert parse(text).value == {"name": HOSTILE, HOSTILE: ["é", 1]}


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\n=1", " =1", "＝1", "-x", "=-1", "+"])
def test_a_spreadsheet_calculates_nothing(text: str) -> None:
    assert str(safe_cell(text)).startswith("'")


@pytest.mark.parametrize("value", ["-1.5", "+3", "-1e-05", -1.5, None, "a=b", "", "timm:vit", [1, 2], np.float64(-2)])
def test_numbers_and_plain_names_stay_as_they_are(value: object) -> None:
    assert safe_cell(value) is value or safe_cell(value) == value


def test_csv_is_quoted_and_escaped() -> None:
    assert csv_text(["a", "b"], [["=x,y", -1.5], [HOSTILE, None]]) == f'a,b\n"\'=x,y",-1.5\n{ESCAPED},\n'


def test_every_line_and_table_goes_through_what_escapes() -> None:
    """No module prints, opens a console or writes CSV by itself."""
    calls = {"print", "Console", "writer", "DictWriter"}
    homes = {"sweep/results/spreadsheet.py"}
    makers = {"frozen/models/train_shipped.py"}  # ours alone, run before a release
    json_only = {"binding/apply.py": 1, "sweep/study/load.py": 1}  # JSON escapes by itself
    for path in [*ROOT.glob("binding/**/*.py"), *ROOT.glob("sweep/**/*.py")]:
        name = path.relative_to(ROOT).as_posix()
        if name in homes | makers or "/inside/" in name:
            continue
        found = [
            node.lineno
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
            and ((isinstance(node.func, ast.Name) and node.func.id in calls) or _is_csv(node.func))
        ]
        assert len(found) <= json_only.get(name, 0), f"{name}:{found}"


def _is_csv(function: ast.expr) -> bool:
    return ast.unparse(function) in ("csv.writer", "csv.DictWriter")


def test_an_interrupted_command_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gc.freeze", lambda: None)

    def interrupted() -> int:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        run_command(interrupted)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "\ninterrupted\n"
