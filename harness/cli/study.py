"""`harness study`: a grid of models, tasks and conditions in one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.parsing import (
    ASSUME_YES,
    DATA_DIR,
    DEVICE,
    OFFLINE,
    command_line,
)

if TYPE_CHECKING:
    from harness.study.cells import Cell
    from harness.study.document import Study
    from harness.study.state import Progress


@click.command("study")
@click.argument("document", metavar="STUDY.yaml", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where results, tuned models, tables and figures go.  [default: study-results/<name>]",
)
@DATA_DIR
@DEVICE
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@OFFLINE
@ASSUME_YES
@click.option("--overwrite", is_flag=True, help="Do every cell again, replacing what is there.")
@click.option("--trust-remote-code", is_flag=True, help="Run code that a named model brings along.")
def study_command(
    document: Path,
    output: Path | None,
    data_dir: Path | None,
    device: str,
    dry_run: bool,
    offline: bool,
    assume_yes: bool,
    overwrite: bool,
    trust_remote_code: bool,
) -> int:
    """Evaluate a grid of models, tasks and conditions, as released and fine-tuned, and write it up.

    Prints a plan first. What was done is kept: the same command started again goes on where it stopped and
    ends in the same tables. A cell that cannot be done is a hole: it is listed with its reason, and the rest
    is done. `state.json` says at any time where every cell is; `study.md`, `tables/` and `figures/` hold what
    there is so far.

    \b
    Exit status: 0 all done; 1 a cell failed, or one that was named outright is a hole; 2 bad usage;
    130 interrupted.

    \b
    Examples:
      harness study studies/demo.yaml --data-dir ~/data
      harness study studies/paper.yaml --data-dir ~/data --dry-run
    """
    from harness.console import Console
    from harness.study.cells import make_cells
    from harness.study.conduct import StudyOptions, conduct, evaluation
    from harness.study.document import StudyError, load_study
    from harness.study.state import Progress, in_numbers, state_table

    try:
        study = load_study(document)
        options = StudyOptions(
            output=output or Path("study-results") / study.name,
            data_dir=data_dir,
            device=device,
            offline=offline,
            assume_yes=assume_yes,
            trust_remote_code=trust_remote_code,
            overwrite=overwrite,
            command=command_line(),
        )
        cells = make_cells(study, evaluation(study, options))
    except StudyError as error:
        raise click.UsageError(str(error)) from error
    state_table(f"Plan of {study.name}: {in_numbers(cells)}", cells, options.output)
    if dry_run:
        return 1 if any(_failed(cell) for cell in cells) else 0
    from harness.study.filing import write_study
    from tasks.files import alone

    console = Console()
    with alone(options.output, "study", StudyError, lock=options.output / ".study.lock"):
        progress = Progress(study, cells, options.output)
        conduct(
            study,
            progress,
            options,
            console,
            after=lambda: _write(study, progress, options.output),
        )
        page = write_study(study, progress.cells, options.output, figures=True)
    state_table(f"State of {study.name}: {in_numbers(progress.cells)}", progress.cells, options.output)
    click.echo(page)
    return 1 if any(_failed(cell) for cell in progress.cells) else 0


def _write(study: Study, progress: Progress, output: Path) -> None:
    from harness.study.filing import write_study

    write_study(study, progress.cells, output, figures=False)


def _failed(cell: Cell) -> bool:
    return cell.state == "failed" or (cell.state == "hole" and cell.named)
