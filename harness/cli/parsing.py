"""Options that several commands read alike."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import click

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?", re.ASCII)


def split(value: str) -> tuple[str, ...]:
    """Return the parts of a list that is written with commas."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def names(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    """Return the names in a list written with commas; one at least, since none would be done without a word."""
    parts = split(value)
    if not parts:
        raise click.BadParameter("names nothing")
    return parts


def device(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Return what `--device` says; whether there is such a device is found out where it is used."""
    if not _DEVICE.fullmatch(value):
        raise click.BadParameter(f"'{value}' is no device; there are auto, cpu, cuda, cuda:1 and so on, mps")
    return value


def model_args(ctx: click.Context, param: click.Parameter, value: str) -> dict[str, str]:
    """Return what `--model-args` says, by name."""
    pairs = [part.partition("=") for part in split(value)]
    if any(not (key and equals) for key, equals, _ in pairs):
        raise click.BadParameter(f"'{value}' must be written key=value,key=value")
    return {key: text for key, _, text in pairs}


def command_line() -> str:
    """Return the command as it can be shared: without the home folder's path."""
    words = ["harness", *sys.argv[1:]]
    return shlex.join(word.replace(str(Path.home()), "~") for word in words)


ENGINE = click.option(
    "--engine",
    type=click.Choice(["auto", "transformers", "vllm", "openai"]),
    default="auto",
    show_default=True,
)
DEVICE = click.option(
    "--device", default="auto", callback=device, show_default=True, help="auto, cpu, cuda, cuda:1, mps."
)
MODEL_ARGS = click.option(
    "--model-args", default="", callback=model_args, metavar="k=v,…", help="Passed to the model's loader."
)
