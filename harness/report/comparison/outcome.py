"""Compare two folders of results, and what a gate makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.report.comparison.folders import Missing, match_results
from leaderboard.compare.comparison import Comparison, TaskComparison, compare_results
from leaderboard.compare.measured import read_measured
from leaderboard.compare.thresholds import Thresholds
from leaderboard.record.record import RecordError

PASSED, STOPPED, NOT_COMPARED = 0, 1, 2  # exit codes of a gate


@dataclass(frozen=True)
class Outcome:
    """What became of a comparison.

    `baseline` and `candidate` are the folders as they were given. `comparison` is null where it was refused,
    `refusal` then says why. `titles` name its tasks, with the model where several take part. Of what a side
    is `missing` a gate cannot decide unless `allow_missing`. `notes` tell a reader what else to know.
    """

    baseline: str
    candidate: str
    thresholds: Thresholds
    allow_missing: bool
    comparison: Comparison | None = None
    titles: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    notes: tuple[str, ...] = ()
    refusal: str | None = None

    @property
    def tasks(self) -> tuple[tuple[str, TaskComparison], ...]:
        """The compared tasks with their titles; empty where the comparison was refused."""
        return tuple(zip(self.titles, self.comparison.tasks, strict=True)) if self.comparison else ()

    @property
    def obstacles(self) -> tuple[str, ...]:
        """Why a gate cannot decide, each in one line."""
        lacking = () if self.allow_missing else self.missing
        return (
            *((self.refusal,) if self.refusal else ()),
            *(
                f"the {one.lacking} has no result of {one.title}; evaluate it, or --allow-missing leaves it out"
                for one in lacking
            ),
            *(f"{title}: {reason}" for title, task in self.tasks for reason in task.obstacles),
        )

    @property
    def gate_code(self) -> int:
        """The exit code of a gate: 2 where it cannot decide, 1 where it stops the candidate, else 0."""
        if self.comparison is None or self.obstacles:
            return NOT_COMPARED
        return STOPPED if self.comparison.stops else PASSED


def compare_folders(
    baseline: Path,
    candidate: Path,
    thresholds: Thresholds | None = None,
    *,
    allow_missing: bool = False,
    seed: int = 0,
) -> Outcome:
    """Compare every task that two folders have in common.

    Args:
        baseline: a result folder, or one that holds several.
        candidate: the same of the candidate.
        thresholds: what decides and stops; as they are by default if None.
        allow_missing: let a gate decide although one side lacks a task.
        seed: of the bootstrap.

    Raises:
        RecordError: a result cannot be read, or two cannot be compared; the message says why.
    """
    limits = thresholds or Thresholds()
    matched = match_results(baseline, candidate)
    same = tuple(title for title, first, second in matched.pairs if first.resolve() == second.resolve())
    pairs = [(read_measured(first), read_measured(second)) for _, first, second in matched.pairs]
    try:
        comparison = compare_results(pairs, limits, seed=seed)
    except ValueError as error:  # lines that fit the schema and not each other
        raise RecordError(f"{baseline} and {candidate} cannot be compared: {error}") from error
    return Outcome(
        baseline=str(baseline),
        candidate=str(candidate),
        thresholds=limits,
        allow_missing=allow_missing,
        comparison=comparison,
        titles=tuple(title for title, _, _ in matched.pairs),
        missing=matched.missing,
        notes=_notes(same, comparison),
    )


def refused(
    baseline: Path, candidate: Path, thresholds: Thresholds, reason: str, *, allow_missing: bool = False
) -> Outcome:
    """Return the outcome of a comparison that could not be made."""
    return Outcome(str(baseline), str(candidate), thresholds, allow_missing, refusal=reason)


def _notes(same: tuple[str, ...], comparison: Comparison) -> tuple[str, ...]:
    found = [f"{title}: baseline and candidate are the same folder: nothing can differ" for title in same]
    compared = {task.task for task in comparison.tasks}
    unused = sorted(comparison.thresholds.tasks.keys() - compared)
    if unused:
        found.append(f"thresholds name tasks that were not compared: {', '.join(unused)}")
    return tuple(found)
