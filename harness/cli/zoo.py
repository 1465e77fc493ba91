"""`harness zoo`: the built-in models, as folders."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def zoo() -> None:
    """Materialise the built-in models."""


@zoo.command()
@click.argument("directory", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--only",
    default="zoo,zoo-faults",
    show_default=True,
    metavar="NAME[,NAME]",
    help="Groups, names such as llava-blind-strong, or globs such as 'qwen*mild'.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the faults' noise and choices; models of another seed have it in their names.",
)
def build(directory: Path | None, only: str, seed: int) -> None:
    """Write the built-in models to DIRECTORY as ordinary Hugging Face model folders.

    First the healthy ones of three families (zoo), then for each its siblings with one planted fault
    (zoo-faults), every one with a card that says what is wrong with it. All of them take about half an
    hour on one core; what is there already is not made again, and a build that was stopped goes on.

    Without DIRECTORY they go where `harness eval --models zoo-faults` finds them: HARNESS_ZOO_DIR, else
    the cache folder.

    \b
    Exit status: 0 all done; 1 something could not be written; 2 bad usage; 130 interrupted.

    \b
    Examples:
      harness zoo build
      harness zoo build models --only zoo
      harness zoo build --only llava-blind-strong,'qwen2.5-vl-*-mild'
    """
    from harness.console import Console
    from harness.tuning.zoo_build import build_zoo
    from model_adapters.catalog.built_in import default_folder, select
    from model_adapters.interface import ModelError

    try:
        selection = select([word.strip() for word in only.split(",") if word.strip()], seed=seed)
    except ModelError as error:
        raise click.BadParameter(str(error), param_hint="'--only'") from error
    if not (selection.healthy or selection.siblings):
        raise click.BadParameter("names no model", param_hint="'--only'")
    build_zoo(directory or default_folder(), selection, Console(), click.echo)
