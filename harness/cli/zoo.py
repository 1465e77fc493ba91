"""`harness zoo`: the built-in models, as folders or trained anew."""

from __future__ import annotations

from pathlib import Path

import click

from harness.zoo_training import train_command


@click.group()
def zoo() -> None:
    """Materialise or retrain the built-in models."""


@zoo.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def build(directory: Path) -> None:
    """Write the built-in models to DIRECTORY as ordinary Hugging Face model folders."""
    from model_adapters.zoo.build import build as build_models

    for folder in build_models(directory):
        click.echo(folder)


zoo.add_command(train_command, "train")
