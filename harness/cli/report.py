"""`harness report`: results as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULT_DIR…")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="The file to write.")
@click.option(
    "--images",
    is_flag=True,
    help="Show the pictures of the hardest images, read again from your data, where the task's licence allows it.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Where your data lie; goes with --images, and implies it.",
)
def report_command(
    folders: tuple[Path, ...], output: Path | None, images: bool, data_dir: Path | None
) -> None:
    """Write one self-contained HTML file about one or more result folders.

    Two are shown side by side, with what differs between them image by image. Without --output it is written as
    report.html into the one folder given, or for several into the working folder.

    \b
    Examples:
      harness report results/MODEL/TASK
      harness report results/MODEL_A/TASK results/MODEL_B/TASK --output a-against-b.html
      harness report results/MODEL/pathmnist --data-dir ~/data
    """
    from harness.report.page import write_report

    target = output or (folders[0] / "report.html" if len(folders) == 1 else Path("report.html"))
    written = write_report(folders, target, images=images or data_dir is not None, data_dir=data_dir)
    for name, reason in written.without_pictures:
        click.echo(f"{name}: {reason}.", err=True)
    click.echo(str(written.path))
