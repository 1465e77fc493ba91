"""Compare a candidate with a baseline, as `harness compare` does."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness.console import data_frame, html_lines, html_table, plain_table
from harness.report.comparison.outcome import Outcome, compare_folders
from harness.report.comparison.rows import (
    ACCURACY_HEADINGS,
    SECONDARY_HEADINGS,
    Row,
    accuracy_rows,
    remarks,
    secondary_rows,
)
from leaderboard.compare.comparison import TaskComparison, Verdict
from leaderboard.compare.parts import Change
from leaderboard.compare.thresholds import Thresholds, read_thresholds

if TYPE_CHECKING:
    import pandas


class Filed(Protocol):
    """A result that knows its folder, as those of `harness.load` and `harness.evaluate` do."""

    @property
    def folder(self) -> Path:
        """The result's folder."""
        ...


@dataclass(frozen=True, repr=False)
class ComparisonResult:
    """What `harness.compare` returns; `outcome` holds all of it.

    Examples:
        >>> import harness
        >>> entries = "leaderboard/entries"
        >>> compared = harness.compare(f"{entries}/reference--vit/busi", f"{entries}/reference--resnet/busi")
        >>> [(task.task, task.decision.verdict, task.images) for task in compared.tasks]
        [('busi', 'no evidence', 156)]
    """

    outcome: Outcome

    @property
    def verdict(self) -> Verdict:
        """`regressed` where any task is, else `improved` where any is, else `no evidence`."""
        assert self.outcome.comparison is not None
        return self.outcome.comparison.verdict

    @property
    def tasks(self) -> tuple[TaskComparison, ...]:
        """What was found on each task: `accuracy`, which decides, `secondary`, `smallest_visible_drop` and more."""
        return tuple(task for _, task in self.outcome.tasks)

    @property
    def gate_code(self) -> int:
        """The exit status of `harness compare --gate`: 0, 1 for a significant regression, 2 for no decision."""
        return self.outcome.gate_code

    def to_pandas(self) -> pandas.DataFrame:
        """Return a row a task and quantity; of accuracy, which decides, with its verdict.

        Raises:
            ModuleNotFoundError: pandas is not installed.

        Examples:
            >>> import harness
            >>> entries = "leaderboard/entries"
            >>> frame = harness.compare(f"{entries}/reference--vit", f"{entries}/reference--resnet").to_pandas()
            >>> frame[frame.name == "accuracy"][["title", "value", "low", "high", "verdict"]].round(3)
                     title  value    low   high      verdict
            0  breastmnist  0.071  0.000  0.143  no evidence
            2         busi  0.058 -0.013  0.129  no evidence
            4   chest_xray  0.008 -0.031  0.045  no evidence
            6      phantom  0.178  0.152  0.204     improved
        """
        return data_frame(
            [
                row
                for title, task in self.outcome.tasks
                for row in (
                    _frame_row(title, task, task.accuracy, task.decision.verdict),
                    *(_frame_row(title, task, change, None) for change in task.secondary),
                )
            ]
        )

    def _tables(self) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
        return [
            ("Accuracy, which decides", ACCURACY_HEADINGS, _cells(accuracy_rows(self.outcome))),
            ("Where it changed", SECONDARY_HEADINGS, _cells(secondary_rows(self.outcome))),
        ]

    def _remarks(self) -> list[str]:
        return [f"{title}: {text}" if title else text for title, text in remarks(self.outcome)]

    def __repr__(self) -> str:
        return "\n".join([self.verdict, *(plain_table(*table) for table in self._tables()), *self._remarks()])

    def _repr_html_(self) -> str:
        tables = [html_table(*table) for table in self._tables()]
        return "".join([html_lines([self.verdict]), *tables, html_lines(self._remarks())])


def compare(
    baseline: str | Path | Filed,
    candidate: str | Path | Filed,
    *,
    thresholds: str | Path | None = None,
    allow_missing: bool = False,
) -> ComparisonResult:
    """Compare two results on the same test images, or two folders that hold results of several tasks.

    Accuracy is tested image by image, and that test decides; health scores and drops are told beside it.

    Args:
        baseline: a result folder, one that holds several, or a result.
        candidate: the same of the candidate.
        thresholds: a YAML with level and smallest regression.
        allow_missing: let the gate decide though one side lacks a task.

    Raises:
        RecordError: a result cannot be read, or the two cannot be compared; the message says why.

    Examples:
        >>> import harness
        >>> entries = "leaderboard/entries"
        >>> compared = harness.compare(f"{entries}/reference--vit/busi", f"{entries}/reference--resnet/busi")
        >>> compared.verdict
        'no evidence'
    """
    limits = Thresholds() if thresholds is None else read_thresholds(Path(thresholds).expanduser())
    outcome = compare_folders(_folder(baseline), _folder(candidate), limits, allow_missing=allow_missing)
    return ComparisonResult(outcome)


def _folder(side: str | Path | Filed) -> Path:
    return Path(side).expanduser() if isinstance(side, str | Path) else side.folder


def _cells(rows: list[Row]) -> list[tuple[str, ...]]:
    return [(*row.names, *row.cells) for row in rows]


def _frame_row(
    title: str, task: TaskComparison, change: Change, verdict: Verdict | None
) -> dict[str, object]:
    models = {"baseline_model": task.baseline.model, "candidate_model": task.candidate.model}
    return {"title": title, **models, **asdict(change), "verdict": verdict}
