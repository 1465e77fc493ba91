"""Run an entry of a board again, and tell whether the model gives the answers that the entry says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness import __version__
from harness.console import Console
from harness.plan.options import EvalOptions
from harness.plan.plan import make_plan
from harness.run.sweep import sweep
from leaderboard.board.entry import RECORD, Rerun
from leaderboard.board.folder import TASKS, BoardFolder
from leaderboard.compare.contrasts import LEVEL, answered_right, paired_difference
from leaderboard.record.record import Record, RecordError
from leaderboard.record.samples import ANSWER_TARGET, FLOOR, MAIN_READOUT, ProbeLine, SampleLine
from leaderboard.verify.record_checks import halved
from leaderboard.verify.submission import Submission, check_submission, read_submission
from leaderboard.verify.verify import check_entry, mark_rerun

AGREEMENT = 0.95  # of the answers: another device's rounding turns a few images that lie between two classes
PROBES = 0.05  # by which a layer's probe may differ, in accuracy


def rerun(
    folder: Path, board: BoardFolder, model: str | None, options: EvalOptions, console: Console
) -> Rerun:
    """Evaluate an entry's model again and mark the entry where the answers are the same.

    Args:
        folder: the entry's, in the board.
        board: the board.
        model: how the model is named here, as in `--models`; the entry's name for it by default.
        options: of the run; seed and probing are those of the entry.
        console: where progress goes.

    Raises:
        RecordError: the entry does not verify, the model cannot run here, is another revision, or answers
            otherwise.
    """
    entry = check_entry(folder, board)
    before = entry.submission
    asked = replace(
        options,
        seed=before.record.provenance.seed,
        probe=bool(before.probes),
        probing_half=before.record.tuning is None and halved(before.record),
    )
    result = _evaluated(_task(before.record, board), model or before.record.model.name, asked, console)
    after = read_submission(result)
    check_submission(after, board)
    found = compare_runs(before, after)
    mark_rerun(entry, found)
    return found


def compare_runs(before: Submission, after: Submission) -> Rerun:
    """Compare two runs of one model on one task.

    A reference is trained anew, which no two machines do alike: of it the accuracy alone must agree.

    Raises:
        RecordError: the runs are of different models or conditions, or do not agree.
    """
    for name in ("revision", "architecture", "role", "parameters"):
        one, other = (getattr(side.record.model, name) for side in (before, after))
        if one != other:
            raise RecordError(f"record.json: model.{name}: {one} in the entry, {other} here")
    if before.record.condition != after.record.condition:
        raise RecordError(
            f"record.json: condition: {before.record.condition} in the entry, {after.record.condition} here"
        )
    first, second = _test(before), _test(after)
    agreement = _share((a.predicted for a in first), (b.predicted for b in second))
    groups = [line.group for line in first]
    paired = paired_difference(answered_right(second), answered_right(first), groups)
    found = Rerun(
        harness_version=__version__,
        engine=after.record.model.engine,
        device=after.record.cost.device,
        agreement=agreement,
        accuracy=float(answered_right(second).mean()),
        p=paired.p,
        largest_probe_difference=_probe_difference(before.record, after.record),
    )
    _refuse_other_answers(after.record, found)
    if after.record.model.role != "reference":
        _refuse_other_ways(first, second)
        _refuse_other_letters(before.probes, after.probes)
        _refuse_other_floors(before, after)
    return found


def _refuse_other_answers(record: Record, found: Rerun) -> None:
    if found.p < LEVEL:
        raise RecordError(
            f"samples.jsonl: run again, accuracy is {100 * found.accuracy:.1f}%, significantly another than in the "
            f"entry (p {found.p:.3f})"
        )
    if record.model.role == "reference":
        return
    if found.agreement < AGREEMENT:
        raise RecordError(
            f"samples.jsonl: run again, {100 * found.agreement:.1f}% of the answers are those of the entry; "
            f"{100 * AGREEMENT:.0f}% are needed"
        )
    if found.largest_probe_difference is not None and found.largest_probe_difference > PROBES:
        raise RecordError(
            f"probes.jsonl: run again, a layer's probe differs by {100 * found.largest_probe_difference:.1f} "
            f"points; at most {100 * PROBES:.0f} are allowed"
        )


def _refuse_other_ways(first: Sequence[SampleLine], second: Sequence[SampleLine]) -> None:
    """Refuse other texts, or other answers to the further questions."""
    ways: dict[str, Callable[[SampleLine], Iterable[object]]] = {
        "read": lambda line: [line.read],
        "orders": lambda line: [one.predicted for one in line.orders],
    }
    for name, of in ways.items():
        one, other = ([value for line in lines for value in of(line)] for lines in (first, second))
        if len(one) != len(other):
            raise RecordError(
                f"samples.jsonl: {name}: run again, {len(other)} answers, {len(one)} in the entry"
            )
        share = _share(one, other)
        if one and share < AGREEMENT:
            raise RecordError(
                f"samples.jsonl: {name}: run again, {100 * share:.1f}% are those of the entry; "
                f"{100 * AGREEMENT:.0f}% are needed"
            )


def _refuse_other_letters(before: Sequence[ProbeLine], after: Sequence[ProbeLine]) -> None:
    """Refuse letters at the last token that are right otherwise than probes may be."""
    one, other = ({line.layer: _right(line) for line in lines if _asks(line)} for lines in (before, after))
    if one.keys() != other.keys():
        raise RecordError("probes.jsonl: the two runs did not ask letters at the same layers")
    for layer, share in one.items():
        if abs(share - other[layer]) > PROBES:
            raise RecordError(
                f"probes.jsonl: {ANSWER_TARGET} at layer {layer}: run again, {100 * other[layer]:.1f}% are right, "
                f"{100 * share:.1f}% in the entry; {100 * PROBES:.0f} points are allowed"
            )


def _asks(line: ProbeLine) -> bool:
    return (line.readout, line.split) == (ANSWER_TARGET, "test")


def _right(line: ProbeLine) -> float:
    """Return the share of right letters."""
    return _share(line.targets or (), line.predictions)


def _refuse_other_floors(before: Submission, after: Submission) -> None:
    """Refuse floors of another accuracy. They are trained anew, which no two machines do alike."""
    test = _test(before)
    labels, groups = np.array([line.label for line in test]), [line.group for line in test]
    one, other = (
        {line.site: line for line in run.probes if (line.readout, line.split) == (FLOOR, "test")}
        for run in (before, after)
    )
    for name in sorted(one.keys() & other.keys()):
        right = [(np.array(side[name].predictions) == labels).astype(float) for side in (one, other)]
        p = paired_difference(right[1], right[0], groups).p
        if p < LEVEL:
            raise RecordError(
                f"probes.jsonl: {FLOOR} {name}: run again, {100 * right[1].mean():.1f}% are right, significantly "
                f"another share than in the entry (p {p:.3f})"
            )


def _share(one: Iterable[object], other: Iterable[object]) -> float:
    same = [a == b for a, b in zip(one, other, strict=True)]
    return sum(same) / max(1, len(same))


def _evaluated(task: str, model: str, options: EvalOptions, console: Console) -> Path:
    plan = make_plan((task,), (model,), options)
    if len(plan.runs) != 1:
        raise RecordError(f"--model {model} stands for {len(plan.runs)} models; name one")
    folder = plan.runs[0].folder
    if (folder / RECORD).exists():
        raise RecordError(
            f"{folder}: holds a result already, and nothing would be run; give another --output"
        )
    outcome = sweep(plan, options, console)
    for planned, reason in outcome.failures:
        raise RecordError(f"{planned.title}: cannot be run again: {reason}")
    for planned in outcome.skipped:
        raise RecordError(f"{planned.title}: cannot be run again: {planned.reason}")
    return folder


def _task(record: Record, board: BoardFolder) -> str:
    own = record.task.name in board.own_tasks()
    return str(board.path / TASKS / f"{record.task.name}.yaml") if own else record.task.name


def _test(submission: Submission) -> list[SampleLine]:
    return [line for line in submission.samples if line.split == "test"]


def _probe_difference(before: Record, after: Record) -> float | None:
    """Return the largest difference between the two runs' linear probes at one place."""
    sides = [
        {(p.site, p.pool): p.accuracy.value for p in record.probes if p.readout == MAIN_READOUT}
        for record in (before, after)
    ]
    if sides[0].keys() != sides[1].keys():
        raise RecordError("probes.jsonl: the two runs did not watch the same layers")
    return max((abs(sides[0][key] - sides[1][key]) for key in sides[0]), default=None)
