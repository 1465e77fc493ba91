"""Write what a study has so far: its tables, its figures and its page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.study.cells import Cell
from harness.study.comparisons import compare
from harness.study.document import Study
from harness.study.page import write_page
from harness.study.tables import cell_table, contrast_table, hole_table, layer_table, write_table
from leaderboard.compare.measured import Measured, read_measured

TABLES, FIGURES = "tables", "figures"


def write_study(study: Study, cells: Sequence[Cell], output: Path, *, figures: bool) -> Path:
    """Write all of a study's own files from the results on disk, and return its page.

    Nothing of them depends on when or in how many sittings the results were made. Without `figures` those of
    before are left as they are.

    Raises:
        RecordError: a result is damaged.
    """
    results = read_results(cells, output)
    compared = compare(study, results)
    contrasts = compared.contrasts
    for table in (cell_table(results), layer_table(results), contrast_table(contrasts), hole_table(cells)):
        write_table(table, output / TABLES)
    paths = sorted(path for end in ("png", "svg") for path in (output / FIGURES).glob(f"*.{end}"))
    if figures:
        from harness.study.figures import write_figures

        records = [measured.record for _, measured in results]
        paths = list(write_figures(records, contrasts, study.readouts, output / FIGURES))
    return write_page(study, cells, results, compared, paths, output)


def read_results(cells: Sequence[Cell], output: Path) -> list[tuple[Cell, Measured]]:
    """Return every cell that is done with what was measured.

    Raises:
        RecordError: a result is damaged.
    """
    return [(cell, read_measured(cell.folder(output))) for cell in cells if cell.state == "done"]
