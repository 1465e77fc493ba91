"""`harness report`: results as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULT_DIR…")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="The file to write.")
def report_command(folders: tuple[Path, ...], output: Path | None) -> None:
    """Write one self-contained HTML file about one or more result folders.

    Without --output it is written as report.html into the one folder given, or for several into the
    working folder.
    """
    from harness.report.page import write_report

    target = output or (folders[0] / "report.html" if len(folders) == 1 else Path("report.html"))
    click.echo(str(write_report(folders, target)))
