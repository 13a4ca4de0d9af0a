"""Damaged study files: a study or a StudyError comes of each, and nothing else.

The slow tests take ten thousand files, and a fuzzer that follows the reader's branches.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frozen.readout.readout import find_readout
from frozen.readout.study import Study
from sweep.engine.grid import make_grid
from sweep.engine.plan import make_plan
from sweep.study.load import StudyError, load_study, locate_in
from sweep.study.yaml import dump_yaml

QUICKSTART = (Path(__file__).parents[3] / "search_spaces" / "quickstart.yaml").read_text(encoding="utf-8")

SCALARS = st.one_of(
    st.sampled_from(
        ["", "~", "[]", "{}", "0", "-1", "1e9", "1.5", ".nan", "true", "no", "'x'", "*a", "&a 1", "!t x"]
    ),
    st.sampled_from(
        ["{grid: [1, 2]}", "{choices: [1, x]}", "{low: 0, high: 1}", "all", "paper", "[1, [2]]", "? a", "|"]
    ),
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
    st.text(max_size=8),
)
LINES = QUICKSTART.splitlines()


@st.composite
def damaged(draw: st.DrawFn) -> str:
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 4))):
        number = draw(st.integers(0, len(lines) - 1))
        line = lines[number]
        what = draw(st.sampled_from(["delete", "repeat", "swap", "value", "insert", "text"]))
        if what == "delete" and len(lines) > 1:
            del lines[number]
        elif what == "repeat":
            lines.insert(number, line)
        elif what == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[number], lines[other] = lines[other], line
        elif what == "value":
            lines[number] = f"{line.partition(':')[0]}: {draw(SCALARS)}"
        elif what == "insert":
            at = draw(st.integers(0, len(line)))
            lines[number] = line[:at] + draw(SCALARS) + line[at:]
        else:
            lines[number] = draw(st.text(max_size=30))
    return "\n".join(lines)


def check(content: bytes, *overrides: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_bytes(content)
        read = outcome(path, overrides)
        if isinstance(read, StudyError):
            assert read.problems
            assert all(problem.message for problem in read.problems)
            return
        path.write_text(dump_yaml(read.resolved()), encoding="utf-8")
        assert load_study(path) == read


def outcome(path: Path, overrides: tuple[str, ...]) -> Study | StudyError:
    try:
        return load_study(path, overrides)
    except StudyError as error:
        return error


@settings(derandomize=True, deadline=None, max_examples=60)
@given(damaged())
def test_damaged_studies(text):
    check(text.encode("utf-8", "surrogatepass"))


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.text() | st.binary().map(lambda content: content.decode("latin-1")))
def test_any_text(text):
    check(text.encode("utf-8", "surrogatepass"))


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.binary())
def test_any_bytes(content):
    check(content)


PATHS = ["seed", "fit", "fit.epochs", "datasets[0]", "datasets[0].n_colors", "datasets[0].split.train", "layers[1]"]
PATHS += ["probes[1].rank", "backbones[0]", "store.memory", "name", "probes", "modes", "x.y", "datasets[0].vary"]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(PATHS) | st.text(max_size=5), SCALARS), min_size=1, max_size=3))
def test_any_overrides(pairs):
    check(QUICKSTART.encode(), *(f"{path}={value}" for path, value in pairs))


def plan(content: str) -> None:
    """As `--plan` does, up to the sizes of what is to be stored."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_bytes(content.encode("utf-8", "surrogatepass"))
        try:
            space = load_study(path)
            grid = make_grid(space, find_readout(space.readout), locate_in(path))
            made = make_plan(grid, {}, None)
        except StudyError as error:
            problems = error.problems
        else:
            assert len(made.to_do) == len(grid.cells) > 0
            return
        assert problems
        assert all(str(problem).startswith(str(path)) for problem in problems)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(damaged())
def test_damaged_studies_are_planned_or_refused(text):
    plan(text)


@pytest.mark.slow
@settings(deadline=None, max_examples=10_000)
@given(damaged())
def test_ten_thousand_damaged_studies_are_planned_or_refused(text):
    plan(text)


FUZZER = """
import sys
import tempfile
from pathlib import Path
import atheris
with atheris.instrument_imports(include=["sweep"]):
    from sweep.study.load import StudyError, load_study
place = Path(tempfile.mkdtemp()) / "study.yaml"
def one(data):
    place.write_bytes(data)
    try:
        load_study(place)
    except StudyError:
        pass
atheris.Setup(sys.argv, one)
atheris.Fuzz()
"""


@pytest.mark.slow
def test_a_fuzzer_that_follows_branches_finds_no_traceback(tmp_path):
    pytest.importorskip("atheris", reason="atheris is not installed; it has wheels for Linux and few Pythons")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "quickstart").write_text(QUICKSTART)
    command = [sys.executable, "-c", FUZZER, "-runs=20000", "-max_len=4000", "corpus"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
