"""What people look at of a study file: the views of its study, or of each of its read-outs and of all together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.results.directory import ResultsDirectory
from sweep.results.joint import JointResults
from sweep.results.published import show_published
from sweep.results.standing import note_views, views_stand
from sweep.results.views import announce, as_rehearsal, rebuild, rebuild_table, show
from sweep.study.yaml import dump_yaml

if TYPE_CHECKING:
    from rich.console import Console

    from frozen.readout.readout import Readouts
    from frozen.readout.study import Study
    from sweep.engine.grid import Grid
    from sweep.study.several import StudyFile


@dataclass(frozen=True)
class FileViews:
    """The views of a study file.

    Attributes:
        results: where its rows are.
        file: what it asks for.
        readouts: of its studies, by name.
        grids: of its studies, by the names of their read-outs.
        limit: most samples in each split, where that was limited.
        is_local: whether the results lie on this machine, so that relative paths lead there.
        code: state of the code that makes the views, see `code_of`; as it was when this process imported it.
    """

    results: ResultsDirectory
    file: StudyFile
    readouts: Readouts
    grids: Mapping[str, Grid]
    limit: int | None
    is_local: bool
    code: str

    def announce(self) -> None:
        """Write what the studies are, before any of their rows are there."""
        for name in self.grids:
            announce(self._folder(name), self.grids[name].cells, self._yaml(self.file.studies[name], name))
        if self.file.is_joint:
            self.results.write_text("study.yaml", self._yaml(self.file))

    def rebuild_tables(self) -> None:
        """Write the tables of the rows that are there."""
        for name, readout in self.readouts.items():
            rebuild_table(self._folder(name), self.grids[name].cells, readout)

    def rebuild(self) -> None:
        """Write tables and reports, unless those that are there stand for the same."""
        root = self.results.root
        ids = [cell.cell_id for grid in self.grids.values() for cell in grid.cells]
        made_from = [str(root), self._yaml(self.file), self.code, *ids]
        if not views_stand(root, made_from) and self._write_views():
            note_views(root, made_from)

    def _write_views(self) -> bool:
        """Returns whether nothing of them has failed, such as an exhibit whose images are not there."""
        from sweep.report import is_whole

        pages = []
        for name, readout in self.readouts.items():
            study = self.file.studies[name]
            pages.append(rebuild(self._folder(name), self.grids[name].cells, readout, study, self._yaml(study, name)))
        if self.file.is_joint:
            from sweep.report.joint import write_joint_page

            cells = {name: grid.cells for name, grid in self.grids.items()}
            write_joint_page(self.results, self.file.name, self.readouts, cells, self._yaml(self.file))
        return all(map(is_whole, pages))

    def show(self, console: Console) -> int:
        """Print tables of results, and published numbers beside them; returns the number of failed cells."""
        failed = 0
        for name, readout in self.readouts.items():
            results, cells = self._folder(name), self.grids[name].cells
            if self.file.is_joint:
                console.print(f"\n{name}", highlight=False)
            failed += show(results, cells, readout, console)
            show_published(results, cells, self.file.studies[name].published, readout, console)
        return failed

    def _folder(self, name: str) -> ResultsDirectory:
        return self.results.part(name) if self.file.is_joint else self.results

    def _yaml(self, what: StudyFile | Study, part: str = "") -> str:
        """The text of a study in the folder of its results."""
        root = self.results.root / part if self.file.is_joint else self.results.root
        text = dump_yaml(what.resolved_in(root if self.is_local else None))
        return text if self.limit is None else as_rehearsal(text, self.limit)


def write_joint(folder: Path, path: Path | None = None) -> Path:
    """Write the joint report of a folder of results again.

    Args:
        folder: of a study of several read-outs.
        path: where to write; None for its usual place.

    Raises:
        StudyError: the study beside the results cannot be read.
    """
    from sweep.report.joint import write_joint_page
    from sweep.results.beside import read_file

    place = folder / "study.yaml"
    found = read_file(place)
    cells = {name: grid.cells for name, grid in found.grids.items()}
    results = JointResults(ResultsDirectory(folder), found.readouts)
    text = place.read_text(encoding="utf-8")
    return write_joint_page(results, found.file.name, found.readouts, cells, text, path=path)
