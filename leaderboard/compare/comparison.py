"""Has a model become worse? A baseline and a candidate on the same test images, task by task.

**What decides.** On each task the accuracy of the headline answers, candidate minus baseline, is tested on the
same images. These tests, one a task, are the primary family: Holm's p over them at the level of the thresholds
gives "regressed" or "improved", else the verdict is "no evidence". One task thus keeps the full level.

**What is told beside it.** Balanced accuracy, Feature Health Scores and drops say where a change comes from. A
score of layers may move while the answers do not, and no release should stop for that, so they never decide.
Their p is Holm's over all tests of all tasks, the accuracy tests included: picking the striking one of many is
what this guards against. As the accuracy tests are decided first and never for being one of many secondary
ones, taking the secondary ones into their family would cost power and guard against nothing.

**A test with few groups.** Resampling few groups, or groups of which few differ between the runs, is too bold:
four differing images that agree by chance leave almost no resample without a difference. Where groups hold
several images, the p is therefore the larger of the bootstrap's and of swapping the two runs within whole
groups, which is exact if nothing changed, as McNemar's test is for single images. With few groups that is nearly
always the latter; with many the two agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from leaderboard.compare.checks import check_usable, obstacles, remarks
from leaderboard.compare.contrasts import BOOTSTRAP, DRAWS, MCNEMAR, Paired, answered_right, paired_difference
from leaderboard.compare.drops import drop_changes
from leaderboard.compare.health import health_changes
from leaderboard.compare.measured import Measured, check_comparable
from leaderboard.compare.parts import Change, Floats, LeftOut, Pair, balanced_accuracy_change
from leaderboard.compare.thresholds import Thresholds
from leaderboard.compare.visible_change import smallest_visible_clustered_drop, smallest_visible_drop
from leaderboard.record.parts import Interval
from leaderboard.record.record import Outcomes
from probes.causal.effect import sign_flip_p
from probes.stats.bootstrap import ClusterBootstrap
from probes.stats.metrics import holm, proportion_estimate

Verdict = Literal["improved", "regressed", "no evidence"]

SWAPS = f"{BOOTSTRAP} and swaps within groups"


@dataclass(frozen=True)
class Decision:
    """What an accuracy test says beside the others of its family; `p_adjusted` is Holm's over tasks."""

    verdict: Verdict
    p_adjusted: float


@dataclass(frozen=True)
class Answered:
    """One run's headline answers: whose they are, how often right with a 95% interval, and what became of them."""

    model: str
    status: str
    accuracy: Interval
    outcomes: Outcomes


@dataclass(frozen=True)
class TaskComparison:
    """Two runs on one task.

    `accuracy` is the primary change, its `p_adjusted` being Holm's over all tests; `decision` holds what
    decides. `smallest_visible_drop` is the true drop, as a share, that these images would show as significant
    in 80% of cases, null where none would; `smallest_regression`, in points, the threshold that `stops` goes
    by. `obstacles` say why a gate cannot decide, `remarks` what a reader should know.
    """

    task: str
    version: int
    images: int
    groups: int
    baseline: Answered
    candidate: Answered
    only_baseline: int  # images that the baseline alone has right
    only_candidate: int
    accuracy: Change
    decision: Decision
    smallest_visible_drop: float | None
    smallest_regression: float
    secondary: tuple[Change, ...]
    left_out: tuple[LeftOut, ...]
    obstacles: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def stops(self) -> bool:
        """Whether a gate stops here: regressed, and by no less than the threshold."""
        drop = round(-100 * self.accuracy.value, 9)
        return self.decision.verdict == "regressed" and drop >= self.smallest_regression


@dataclass(frozen=True)
class Comparison:
    """All tasks of a comparison, under one set of thresholds."""

    tasks: tuple[TaskComparison, ...]
    thresholds: Thresholds

    @property
    def verdict(self) -> Verdict:
        """Regressed where any task is, else improved where any task is, else no evidence."""
        found = {task.decision.verdict for task in self.tasks}
        return "regressed" if "regressed" in found else "improved" if "improved" in found else "no evidence"

    @property
    def stops(self) -> bool:
        """Whether a gate stops the candidate."""
        return any(task.stops for task in self.tasks)


def accuracy_test(candidate: Floats, baseline: Floats, groups: Sequence[str], *, seed: int = 0) -> Paired:
    """Test the accuracy of the candidate minus that of the baseline: the test that decides.

    McNemar's exact test where every group is one image, else the larger p of the paired cluster bootstrap
    (`leaderboard.compare.contrasts.paired_difference`) and of swaps within groups; the interval is the bootstrap's.

    Args:
        candidate: how right the candidate is on each image, 0 or 1, shape (images,).
        baseline: the same of the baseline.
        groups: each image's group.
        seed: of the bootstrap and the swaps.
    """
    found = paired_difference(candidate, baseline, groups, seed=seed)
    if found.test == MCNEMAR:
        return found
    gaps = candidate - baseline
    apart = np.flatnonzero(gaps)
    if not len(apart):
        return replace(found, test=SWAPS)
    named = [groups[row] for row in apart.tolist()]
    swapped = 2 * min(sign_flip_p(sign * gaps[apart], named, seed=seed) for sign in (1, -1))
    return replace(found, p=min(1.0, max(found.p, swapped)), test=SWAPS)


def decide(tests: Sequence[Paired], level: float) -> tuple[Decision, ...]:
    """Give the verdict of every accuracy test: Holm's p over all of them, then the direction."""
    adjusted = holm([test.p for test in tests])
    return tuple(
        Decision(_verdict(test.value, float(p), level), float(p))
        for test, p in zip(tests, adjusted, strict=True)
    )


def compare_results(
    pairs: Sequence[tuple[Measured, Measured]], thresholds: Thresholds | None = None, *, seed: int = 0
) -> Comparison:
    """Compare results, each a baseline and a candidate on one task.

    Args:
        pairs: baseline and candidate, one pair a task (or a model and task).
        thresholds: what decides and stops; as they are by default if None.
        seed: of the bootstrap.

    Raises:
        RecordError: two results are not of one task version and the same test images, a run failed, or a
            file holds classes that its task does not have; the message names the first difference.
    """
    limits = thresholds or Thresholds()
    made = [Pair(baseline, candidate) for baseline, candidate in pairs]
    for pair in made:
        for side in pair.sides:
            check_usable(side)
        check_comparable(pair.baseline, pair.candidate)
    tests = [
        accuracy_test(
            answered_right(pair.candidate.test), answered_right(pair.baseline.test), pair.groups, seed=seed
        )
        for pair in made
    ]
    decisions = decide(tests, limits.level)
    tasks = [
        _compared(pair, test, decision, limits, len(made), seed)
        for pair, test, decision in zip(made, tests, decisions, strict=True)
    ]
    return Comparison(_adjusted(tasks), limits)


def _verdict(value: float, p_adjusted: float, level: float) -> Verdict:
    if p_adjusted >= level or value == 0:
        return "no evidence"
    return "improved" if value > 0 else "regressed"


def _compared(
    pair: Pair, test: Paired, decision: Decision, limits: Thresholds, family: int, seed: int
) -> TaskComparison:
    health, no_health = health_changes(pair, limits.readout, seed=seed)
    drops, no_drops = drop_changes(pair, seed=seed)
    task = pair.baseline.record.task
    baseline, candidate = answered_right(pair.baseline.test), answered_right(pair.candidate.test)
    return TaskComparison(
        task=task.name,
        version=task.version,
        images=len(baseline),
        groups=len(set(pair.groups)),
        baseline=_answered(pair.baseline, pair.groups),
        candidate=_answered(pair.candidate, pair.groups),
        only_baseline=int((baseline > candidate).sum()),
        only_candidate=int((candidate > baseline).sum()),
        accuracy=_accuracy(test, baseline, candidate),
        decision=decision,
        smallest_visible_drop=_visible(pair, test, limits.level / family, seed),
        smallest_regression=limits.smallest_regression_of(task.name),
        secondary=(balanced_accuracy_change(pair, seed=seed), *health, *drops),
        left_out=(*no_health, *no_drops),
        obstacles=obstacles(pair),
        remarks=remarks(pair),
    )


def _accuracy(test: Paired, baseline: Floats, candidate: Floats) -> Change:
    return Change(
        name="accuracy",
        unit="share",
        better="higher",
        baseline=float(baseline.mean()),
        candidate=float(candidate.mean()),
        value=test.value,
        low=test.low,
        high=test.high,
        p=test.p,
        p_adjusted=test.p,
        test=test.test,
    )


def _answered(side: Measured, groups: Sequence[str]) -> Answered:
    return Answered(
        model=side.name,
        status=side.record.status,
        accuracy=Interval.of(proportion_estimate(answered_right(side.test), groups)),
        outcomes=Outcomes.of(line.outcome for line in side.test),
    )


def _visible(pair: Pair, test: Paired, level: float, seed: int) -> float | None:
    """Return the smallest visible drop at the strictest level that Holm asks of one of the tests."""
    gaps = answered_right(pair.candidate.test) - answered_right(pair.baseline.test)
    if test.test == MCNEMAR:
        return smallest_visible_drop(len(gaps), float(np.abs(gaps).mean()), level=level)
    resamples = ClusterBootstrap.of(pair.groups, draws=DRAWS, seed=seed)
    error = float(resamples.means(gaps[None])[:, 0].std())
    return smallest_visible_clustered_drop(len(gaps), resamples.groups, error, level=level)


def _adjusted(tasks: Sequence[TaskComparison]) -> tuple[TaskComparison, ...]:
    """Put Holm's p over every test of every task into the changes."""
    family = [change.p for task in tasks for change in (task.accuracy, *task.secondary)]
    left = iter(holm(family).tolist())
    return tuple(
        replace(
            task,
            accuracy=replace(task.accuracy, p_adjusted=next(left)),
            secondary=tuple(replace(change, p_adjusted=next(left)) for change in task.secondary),
        )
        for task in tasks
    )
