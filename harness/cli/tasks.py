"""`harness tasks`: list the tasks, show one, validate task files. Imports neither torch nor numpy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.parsing import (
    ASSUME_YES,
    DATA_DIR,
    INCLUDE_PATH,
    OFFLINE,
    included_with_a_word,
    names,
)
from harness.console import is_terminal

if TYPE_CHECKING:
    from tasks.included import Included
    from tasks.problems import Problem
    from tasks.spec import TaskSpec

_DATA = {"phantom": "generated", "npz": "download", "hub": "download", "folder": "to be obtained"}
COLUMNS = ("task", "title", "modality", "classes", "train / val / test", "licence", "data")


@click.group(name="tasks")
def tasks() -> None:
    """List, show and validate tasks."""


@tasks.command(name="list")
@INCLUDE_PATH
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def list_tasks(include_paths: tuple[Path, ...], as_json: bool) -> None:
    """List the tasks that come with the harness, and those of --include-path and of installed packages."""
    from tasks import catalog
    from tasks.spec import TaskError

    included = included_with_a_word(include_paths)
    found = []
    for name in catalog.names(included):
        try:
            found.append(catalog.load(name, included))
        except TaskError as error:  # a task that cannot be read must not hide the others
            click.echo(f"harness: {error}", err=True)
    if as_json:
        _print_json([_summary(task) for task in found])
    else:
        _print_table([_row(task) for task in found])


@tasks.command()
@click.argument("task")
@INCLUDE_PATH
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def show(task: str, include_paths: tuple[Path, ...], as_json: bool) -> None:
    """Show TASK, a name or the path of a task YAML, as the harness understands it."""
    from tasks import catalog

    spec = catalog.load(task, included_with_a_word(include_paths))
    if as_json:
        _print_json(spec.model_dump(mode="json"))
    else:
        click.echo("\n".join(_description(spec)))


@tasks.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@INCLUDE_PATH
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.pass_context
def validate(
    context: click.Context, paths: tuple[str, ...], include_paths: tuple[Path, ...], as_json: bool
) -> None:
    """Check task YAMLs: files, folders of them, or names.

    Where none is given, every task that comes with the harness, from --include-path or an installed package.

    Prints each problem as `file:line: key: message`. Exits 0 where there is none, else 1.
    """
    from tasks.document import SHIPPED

    included = included_with_a_word(include_paths)
    checked, problems = _check_all(paths or [str(SHIPPED), *map(str, included.folders)], included)
    if as_json:
        entries = [{"file": p.file, "line": p.line, "key": p.key, "message": p.message} for p in problems]
        _print_json({"checked": checked, "problems": entries})
    else:
        for problem in problems:
            click.echo(str(problem))
        click.echo(f"{_counted(checked, 'file')} checked, {_counted(len(problems), 'problem')} found")
    context.exit(1 if problems else 0)


@tasks.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--format",
    "form",
    type=click.Choice(["lm-eval"]),
    required=True,
    help="For whom: lm-eval reads YAMLs with images in Parquet files.",
)
@click.option(
    "--tasks",
    "references",
    default="all",
    callback=names,
    show_default=True,
    metavar="T[,T]",
    help="Names, globs, 'all', or task YAML files.",
)
@INCLUDE_PATH
@DATA_DIR
@click.option(
    "--limit", type=click.IntRange(min=1), help="At most this many test images, stratified by class."
)
@OFFLINE
@ASSUME_YES
def export(
    directory: Path,
    form: str,
    references: tuple[str, ...],
    include_paths: tuple[Path, ...],
    data_dir: Path | None,
    limit: int | None,
    offline: bool,
    assume_yes: bool,
) -> int:
    """Write tasks with their test images into DIR, so that another harness runs them.

    A task that came in by `all` or a glob and whose data are not here is skipped with its reason; one that was
    named is a failure.

    \b
    Exit status: 0 all that was named is written; 1 something is not.
    """
    from harness.console import Console
    from harness.data.dataset import DataError
    from harness.data.sources import load_dataset
    from harness.lm_eval.export import export_task
    from harness.plan.options import EvalOptions
    from harness.plan.plan import choose_tasks, missing_data

    options = EvalOptions(data_dir=data_dir, offline=offline, assume_yes=assume_yes)
    console, failed = Console(), False
    for task, named in choose_tasks(references, included_with_a_word(include_paths)):
        reason = missing_data(task, options)
        if reason is None:
            try:
                dataset = load_dataset(
                    task,
                    data_dir=data_dir,
                    offline=offline,
                    assume_yes=assume_yes,
                    limit=limit,
                    progress=console.step,
                )
                for path in export_task(dataset, directory, console.step):
                    click.echo(path)
            except DataError as error:
                reason, named = str(error), True
        if reason is not None:
            console.say(f"{task.id}: {'not written' if named else 'skipped'}: {reason}")
            failed = failed or named
        elif not task.redistribute_pixels:
            console.say(
                f"{task.id}: its licence forbids passing its images on; keep its files on this machine"
            )
    return int(failed)


def _check_all(paths: Sequence[str], included: Included) -> tuple[int, list[Problem]]:
    """Return how many files were checked, and every problem once, in order."""
    from tasks import catalog
    from tasks.spec import TaskError

    checked: dict[Path, None] = {}
    problems: dict[Problem, None] = {}
    for given in paths:
        try:
            checked.update(dict.fromkeys(catalog.task_files(given, included)))
        except TaskError as error:
            problems.update(dict.fromkeys(error.problems))
    for path in checked:
        problems.update(dict.fromkeys(catalog.check(path)))
    return len(checked), list(problems)


def _data_need(task: TaskSpec) -> str:
    """Say how a user comes by the task's images."""
    source = task.source
    if source.layout == "phantom":
        return "generated"
    size = f" {source.size_bytes / 1e6:,.1f} MB" if source.size_bytes else ""
    fetched = source.layout in ("npz", "hub") and source.url
    return f"download{size}" if fetched else f"to be obtained{size}"


def _sizes(task: TaskSpec) -> str:
    from tasks.sources import SPLITS

    return " / ".join(f"{task.split_sizes[s]:,}" if s in task.split_sizes else "-" for s in SPLITS)


def _row(task: TaskSpec) -> tuple[str, ...]:
    short_licence = task.licence.split(" (")[0].split(";")[0]
    classes = str(len(task.classes))
    return (task.id, task.title, task.modality, classes, _sizes(task), short_licence, _data_need(task))


def _summary(task: TaskSpec) -> dict[str, object]:
    source = task.source
    return {
        "id": task.id,
        "title": task.title,
        "version": task.version,
        "modality": task.modality,
        "classes": [c.name for c in task.classes],
        "images": task.split_sizes,
        "subset": task.subset is not None,
        "licence": task.licence,
        "redistribute_pixels": task.redistribute_pixels,
        "data": _DATA[source.layout],
        "url": None if source.layout == "phantom" else source.url,
        "size_bytes": None if source.layout == "phantom" else source.size_bytes,
    }


def _description(task: TaskSpec) -> list[str]:
    lines = [f"{task.id}: {task.title} (version {task.version}, {task.modality})", task.description, ""]
    lines += [f"images     {_sizes(task)} (train / val / test), {_data_need(task)}"]
    if task.subset is not None:
        lines.append(f"subset     chosen with seed {task.subset.seed}")
    if task.source.layout != "phantom" and task.source.url:
        lines.append(f"source     {task.source.url}")
    lines.append(f"licence    {task.licence}")
    if not task.redistribute_pixels:
        lines.append("           its images never enter a report or a board")
    if task.superseded_by:
        lines.append(f"superseded by {task.superseded_by}")
    lines += ["", "classes"]
    for cls in task.classes:
        also = f" (also read: {', '.join(cls.aliases)})" if cls.aliases else ""
        lines.append(f"  {cls.name}: {cls.wording}{also}")
    lines += ["", "prompts"]
    for prompt in task.prompts:
        role = ", primary" if prompt.id == task.primary_prompt else ""
        lines.append(f"  {prompt.id} ({prompt.kind}{role})")
        lines += [f"    {line}" for line in prompt.template.splitlines()]
    return [*lines, "", "citation", *(f"  {line}" for line in task.citation.splitlines())]


def _print_table(rows: list[tuple[str, ...]]) -> None:
    """Print a rich table to a terminal, aligned plain text elsewhere."""
    if is_terminal():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*COLUMNS)
        for row in rows:
            table.add_row(*map(Text, row))
        Console().print(table)
        return
    lines = [COLUMNS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
