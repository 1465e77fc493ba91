"""Options that several commands read alike."""

from __future__ import annotations

import click


def split(value: str) -> tuple[str, ...]:
    """Return the parts of a list that is written with commas."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def model_args(ctx: click.Context, param: click.Parameter, value: str) -> dict[str, str]:
    """Return what `--model-args` says, by name."""
    pairs = [part.partition("=") for part in split(value)]
    if any(not (key and equals) for key, equals, _ in pairs):
        raise click.BadParameter(f"'{value}' must be written key=value,key=value")
    return {key: text for key, _, text in pairs}
