"""`harness compare`: has a candidate become worse than a baseline?"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harness.report.comparison.outcome import Outcome


class _NoComparison(click.ClickException):
    """What keeps runs from being compared, or a gate from deciding: one line and exit status 2."""

    exit_code = 2


def _folder(_: click.Context, parameter: click.Parameter, value: str) -> Path:
    """Refuse a name that a shell left empty, which would else stand for the folder one is in."""
    if not value:
        raise click.UsageError(f"{(parameter.name or '').upper()} is empty; name a folder of results")
    return Path(value)


def _file(_: click.Context, parameter: click.Parameter, value: str | None) -> Path | None:
    if value == "":
        raise click.UsageError(f"{parameter.opts[0]} is empty; name a file or leave it out")
    return None if value is None else Path(value)


@click.command("compare")
@click.argument("baseline", callback=_folder)
@click.argument("candidate", callback=_folder)
@click.option("--gate", is_flag=True, help="Exit 1 on a significant regression, 2 where it cannot be told.")
@click.option(
    "--thresholds", callback=_file, help="A YAML with level and smallest regression; see docs/gate.md."
)
@click.option("--allow-missing", is_flag=True, help="Let the gate decide though one side lacks a task.")
@click.option("--json", "json_file", callback=_file, help="Write everything as JSON.")
@click.option("--markdown", "markdown_file", callback=_file, help="Write a summary as Markdown.")
@click.option("--junit", "junit_file", callback=_file, help="Write a test report as JUnit XML.")
def compare_command(
    baseline: Path,
    candidate: Path,
    gate: bool,
    thresholds: Path | None,
    allow_missing: bool,
    json_file: Path | None,
    markdown_file: Path | None,
    junit_file: Path | None,
) -> int:
    """Compare two results on the same test images, or two folders that hold results of several tasks.

    BASELINE and CANDIDATE are result folders (results/<model>/<task>) or folders of them. The accuracy is
    tested image by image: exact McNemar, or a paired cluster bootstrap where images come in groups. That test
    decides; Feature Health Scores and drops are told beside it.

    \b
    Exit status: 0 compared (with --gate: no significant regression); 1 with --gate, a significant regression;
    2 runs that cannot be compared (with --gate also: a task that one side lacks); 130 interrupted.

    \b
    Examples:
      harness compare results/zoo--llava-healthy/phantom new-results/zoo--llava-healthy/phantom
      harness compare baseline/ candidate/ --gate --markdown summary.md --junit compare.xml
    """
    _check_files(baseline, candidate, thresholds, (json_file, markdown_file, junit_file))
    outcome = _outcome(baseline, candidate, thresholds, allow_missing)
    _write(outcome, json_file, markdown_file, junit_file)
    from harness.report.comparison.words import gate_sentence, reason

    if outcome.refusal is not None:
        raise _NoComparison(reason(outcome.refusal))
    _print(outcome)
    if not gate:
        for obstacle in outcome.obstacles:
            click.echo(f"with --gate this would be no decision: {reason(obstacle)}", err=True)
        return 0
    if outcome.obstacles:
        raise _NoComparison(f"the gate cannot decide: {'; '.join(map(reason, outcome.obstacles))}")
    click.echo(f"The gate {gate_sentence(outcome)}.", err=True)
    return outcome.gate_code


def _check_files(
    baseline: Path, candidate: Path, thresholds: Path | None, outputs: tuple[Path | None, ...]
) -> None:
    """Refuse outputs that would be written over what is read, or over each other."""
    written: set[Path] = set()
    for path in (path.resolve() for path in outputs if path is not None):
        if path in written:
            raise click.UsageError(f"{path}: is to be written twice; name two files")
        if thresholds is not None and path == thresholds.resolve():
            raise click.UsageError(f"{path}: holds the thresholds; write to another file")
        below = any(path.is_relative_to(side.resolve()) for side in (baseline, candidate))
        if below and path.name.startswith(("record.json", "samples.jsonl", "probes.jsonl")):
            raise click.UsageError(f"{path}: is a part of a result; write to another file")
        written.add(path)


def _outcome(baseline: Path, candidate: Path, thresholds: Path | None, allow_missing: bool) -> Outcome:
    from harness.report.comparison.outcome import compare_folders, refused
    from leaderboard.compare.thresholds import Thresholds, read_thresholds
    from leaderboard.record.record import RecordError

    limits = Thresholds()
    try:
        limits = read_thresholds(thresholds) if thresholds else limits
        return compare_folders(baseline, candidate, limits, allow_missing=allow_missing)
    except RecordError as error:
        return refused(baseline, candidate, limits, str(error), allow_missing=allow_missing)


def _write(
    outcome: Outcome, json_file: Path | None, markdown_file: Path | None, junit_file: Path | None
) -> None:
    """Write what was asked for; a gate that cannot say what it found must not look like one that stops."""
    from harness.report.comparison.as_json import as_json
    from harness.report.comparison.as_junit import as_junit
    from harness.report.comparison.as_markdown import as_markdown

    wanted = ((json_file, as_json), (markdown_file, as_markdown), (junit_file, as_junit))
    for path, text in wanted:
        if path is None:
            continue
        try:
            path.write_text(text(outcome), encoding="utf-8")
        except OSError as error:
            raise _NoComparison(f"{path}: cannot be written ({error.strerror})") from error


def _print(outcome: Outcome) -> None:
    """Print the tables to stdout, and to stderr what else is to know.

    A reader of stdout that went away, or a full disk behind it, must not change the exit status: 1 says that
    the candidate is worse, and nothing else.
    """
    from harness.report.comparison.as_table import print_comparison
    from harness.report.comparison.rows import remarks
    from harness.report.comparison.words import name, reason

    try:
        print_comparison(outcome)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise _NoComparison(f"the tables cannot be printed ({error.strerror})") from error
    for title, text in remarks(outcome):
        click.echo(f"{name(title)}: {reason(text)}" if title else reason(text), err=True)
