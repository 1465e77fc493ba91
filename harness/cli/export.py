"""`harness export`: results for other programs."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("export")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULT_DIR…")
@click.option(
    "--format",
    "form",
    type=click.Choice(["lm-eval"]),
    default="lm-eval",
    show_default=True,
    help="For whom: lm-eval's JSON of results.",
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="The file to write.")
def export_command(folders: tuple[Path, ...], form: str, output: Path | None) -> None:
    """Write the results of one model as one file that programs for lm-eval's results read.

    Accuracy stands where lm-eval has it (`results`, `acc,none`); the health scores and the verdict stand under
    the key `harness`. Without --output the file is lm-eval.json, in the one folder given, or for several in the
    working folder.
    """
    from harness.lm_eval.results import write_results

    target = output or (folders[0] / "lm-eval.json" if len(folders) == 1 else Path("lm-eval.json"))
    click.echo(str(write_results(folders, target)))
