"""`harness tasks`: list the tasks, show one, validate task files. Imports neither torch nor numpy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.console import is_terminal

if TYPE_CHECKING:
    from tasks.spec import Problem, TaskSpec

COLUMNS = ("task", "title", "modality", "classes", "train / val / test", "licence", "data")


@click.group(name="tasks")
def tasks() -> None:
    """List, show and validate tasks."""


@tasks.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def list_tasks(as_json: bool) -> None:
    """List the tasks that come with the harness."""
    from tasks import catalog

    found = [catalog.load(name) for name in catalog.shipped_names()]
    if as_json:
        _print_json([_summary(task) for task in found])
    else:
        _print_table([_row(task) for task in found])


@tasks.command()
@click.argument("task")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def show(task: str, as_json: bool) -> None:
    """Show TASK, a name or the path of a task YAML, as the harness understands it."""
    from tasks import catalog

    spec = catalog.load(task)
    if as_json:
        _print_json(spec.model_dump(mode="json"))
    else:
        click.echo("\n".join(_description(spec)))


@tasks.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.pass_context
def validate(context: click.Context, paths: tuple[str, ...], as_json: bool) -> None:
    """Check task YAMLs: files, folders of them, or names; every shipped task where nothing is given.

    Prints each problem as `file:line: key: message`. Exits 0 where there is none, else 1.
    """
    checked, problems = _check_all(paths)
    if as_json:
        entries = [{"file": p.file, "line": p.line, "key": p.key, "message": p.message} for p in problems]
        _print_json({"checked": checked, "problems": entries})
    else:
        for problem in problems:
            click.echo(str(problem))
        click.echo(f"{_counted(checked, 'file')} checked, {_counted(len(problems), 'problem')} found")
    context.exit(1 if problems else 0)


def _check_all(paths: Sequence[str]) -> tuple[int, list[Problem]]:
    """Return how many files were checked, and every problem once, in order."""
    from tasks import catalog
    from tasks.document import SHIPPED
    from tasks.spec import TaskError

    checked: dict[Path, None] = {}
    problems: dict[Problem, None] = {}
    for given in paths or [str(SHIPPED)]:
        try:
            checked.update(dict.fromkeys(catalog.task_files(given)))
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
    return f"download{size}" if source.layout == "npz" and source.url else f"to be obtained{size}"


def _sizes(task: TaskSpec) -> str:
    from tasks.spec import SPLITS

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
        "data": {"phantom": "generated", "npz": "download", "folder": "to be obtained"}[source.layout],
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
