"""`harness compare`: has a candidate become worse than a baseline?"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harness.comparison.outcome import Outcome

_FILE = click.Path(path_type=Path, dir_okay=False)


class _NoComparison(click.ClickException):
    """What keeps runs from being compared, or a gate from deciding: one line and exit status 2."""

    exit_code = 2


@click.command("compare")
@click.argument("baseline", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@click.option("--gate", is_flag=True, help="Exit 1 on a significant regression, 2 where it cannot be told.")
@click.option("--thresholds", type=_FILE, help="A YAML with level and smallest regression; see docs/gate.md.")
@click.option("--allow-missing", is_flag=True, help="Let the gate decide though one side lacks a task.")
@click.option("--json", "json_file", type=_FILE, help="Write everything as JSON.")
@click.option("--markdown", "markdown_file", type=_FILE, help="Write a summary as Markdown.")
@click.option("--junit", "junit_file", type=_FILE, help="Write a test report as JUnit XML.")
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
    outcome = _outcome(baseline, candidate, thresholds, allow_missing)
    _write(outcome, json_file, markdown_file, junit_file)
    from harness.comparison.words import gate_sentence, reason

    if outcome.refusal is not None:
        raise _NoComparison(reason(outcome.refusal))
    _print(outcome)
    if not gate:
        return 0
    if outcome.obstacles:
        raise _NoComparison(f"the gate cannot decide: {'; '.join(map(reason, outcome.obstacles))}")
    click.echo(f"The gate {gate_sentence(outcome)}.", err=True)
    return outcome.gate_code


def _outcome(baseline: Path, candidate: Path, thresholds: Path | None, allow_missing: bool) -> Outcome:
    from harness.comparison.outcome import compare_folders, refused
    from leaderboard.record import RecordError
    from leaderboard.thresholds import Thresholds, read_thresholds

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
    from harness.comparison.as_json import as_json
    from harness.comparison.as_junit import as_junit
    from harness.comparison.as_markdown import as_markdown

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

    A reader of stdout that went away must not change the exit status.
    """
    from harness.comparison.as_table import print_comparison
    from harness.comparison.rows import remarks
    from harness.comparison.words import name, reason

    try:
        print_comparison(outcome)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    for title, text in remarks(outcome):
        click.echo(f"{name(title)}: {reason(text)}" if title else reason(text), err=True)
