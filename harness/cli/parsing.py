"""Options that several commands read alike."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from tasks.included import Included

Value = TypeVar("Value")


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
    from harness.plan.options import known_device

    return checked(known_device, value)


def model_args(ctx: click.Context, param: click.Parameter, value: str) -> dict[str, str]:
    """Return what `--model-args` says, by name."""
    pairs = [part.partition("=") for part in split(value)]
    if any(not (key and equals) for key, equals, _ in pairs):
        raise click.BadParameter(f"'{value}' must be written key=value,key=value")
    return {key: text for key, _, text in pairs}


def engine(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Return what `--engine` says: `auto`, an engine for models that comes along, or one of a package."""
    from harness.plan.options import known_engine

    return checked(known_engine, value)


def checked(check: Callable[[Value], Value], value: Value) -> Value:
    """Return a value that passes a check of options; what is wrong with it is bad usage."""
    try:
        return check(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def included_with_a_word(folders: Sequence[Path]) -> Included:
    """Return the tasks of folders and installed packages; stderr is told of packages that were left out."""
    from tasks.included import included_tasks

    included = included_tasks(folders)
    for problem in included.problems:
        click.echo(f"harness: {problem}", err=True)
    return included


def command_line() -> str:
    """Return the command as it can be shared: of absolute paths only the last part is told."""
    from harness.plan.options import shareable

    return shlex.join(shareable(word) for word in ["harness", *sys.argv[1:]])


ENGINE = click.option(
    "--engine",
    default="auto",
    callback=engine,
    metavar="E",
    show_default=True,
    help="auto, transformers, vllm, openai, or an engine of an installed package.",
)
INCLUDE_PATH = click.option(
    "--include-path",
    "include_paths",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder of further task YAMLs; may be given several times.",
)
DEVICE = click.option(
    "--device", default="auto", callback=device, show_default=True, help="auto, cpu, cuda, cuda:1, mps."
)
MODEL_ARGS = click.option(
    "--model-args", default="", callback=model_args, metavar="k=v,…", help="Passed to the model's loader."
)
DATA_DIR = click.option(
    "--data-dir", type=click.Path(path_type=Path), envvar="HARNESS_DATA_DIR", help="Where your data lie."
)
OFFLINE = click.option("--offline", is_flag=True, help="Download nothing.")
ASSUME_YES = click.option("--yes", "assume_yes", is_flag=True, help="Agree to large downloads.")
