"""`python -m sweep`: all commands under one name."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import sweep
from sweep.__main__ import COMMANDS


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "sweep", *arguments], capture_output=True, text=True, check=False)


def test_every_command_is_listed() -> None:
    listed = run()
    assert (listed.returncode, listed.stderr) == (0, "")
    found = {line.split()[3] for line in listed.stdout.splitlines() if line.startswith("python -m sweep ")}
    folder = Path(str(sweep.__file__)).parent
    there = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")} | {"report"}
    assert found == set(COMMANDS) == there - {"reference"}  # which writes this project's own docs


def test_a_command_runs_as_its_module_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert importlib.import_module("sweep.list").main(["probes"]) == 0
    assert run("list", "probes").stdout == capsys.readouterr().out != ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("rum", "x.yaml"), "no command 'rum'; did you mean 'run'?"), (("run", "none.yaml"), "there is no such file")],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    refused = run(*arguments)
    assert refused.returncode == 2
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_mistake_in_the_arguments_is_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = "report.__main__" if name == "report" else name
    main: Callable[[list[str]], object] = importlib.import_module(f"sweep.{module}").main
    with pytest.raises(SystemExit) as refused:
        main(["a", "b", "c", "--nonsense"])
    assert refused.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"python -m sweep.{name}: ")
    assert said.count("\n") == 1
