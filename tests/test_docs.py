"""What the documents say is true: studies load, code runs, reference pages are up to date."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from binding.information import FLAGS
from frozen.readout.readout import find_readout
from sweep.engine.grid import make_grid
from sweep.reference import PAGES
from sweep.study.load import load_study, locate_in

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_reference_pages_are_up_to_date(page: str) -> None:
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == PAGES[page](), "run `make docs`"


def test_the_page_of_measures_says_of_every_flag_what_terminal_and_report_say() -> None:
    page = (ROOT / "docs" / "measures.md").read_text(encoding="utf-8").replace("\\", "")
    for flag, meaning in FLAGS.items():
        assert f"| `{flag}` | {meaning} |" in page


def test_the_study_of_the_readme_loads_and_has_cells(tmp_path: Path) -> None:
    [study] = blocks("yaml")
    path = tmp_path / "mine.yaml"
    path.write_text(study, encoding="utf-8")
    space = load_study(path)
    grid = make_grid(space, find_readout("binding"), locate_in(path))
    assert len(space.datasets) == 3
    assert {cell.column("probe") for cell in grid.cells} == {probe.family for probe in space.keys.probes}
    assert {cell.column("mode") for cell in grid.cells} == set(space.keys.modes)


def test_the_code_of_the_readme_runs_and_needs_no_compiler_of_torch() -> None:
    [code] = blocks("python")
    script = [sys.executable, "-W", "error", "-c", f"{code}\nimport sys\nprint('torch._dynamo' in sys.modules)"]
    lines = subprocess.run(script, capture_output=True, text=True, check=True, cwd=ROOT).stdout.splitlines()
    found, compiler = lines[0], lines[-1]
    assert found.startswith(("Estimate(value=0.99", "Estimate(value=1.0"))
    assert compiler == "False", "half a second of every process that trains"


def test_every_option_of_the_command_line_that_the_readme_names_exists() -> None:
    from sweep.run import parser

    commands = set(re.findall(r"python -m (sweep\.\w+)", README)) - {"sweep.run"}
    sources = [Path(importlib.util.find_spec(name).origin) for name in commands]  # type: ignore[union-attr]
    texts = [source.with_name("__main__.py") if source.name == "__init__.py" else source for source in sources]
    known = {option for action in parser()._actions for option in action.option_strings}
    for text in texts:
        known |= set(re.findall(r'"(--[a-z][a-z-]+)"', text.read_text(encoding="utf-8")))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) <= known


def test_links_of_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
