"""Results as Python and notebooks see them: frozen, shown as tables, and read from result folders."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, overload

from harness.console import data_frame, html_lines, html_table, plain_table
from harness.report.comparison.folders import result_folders
from harness.run.rows import HEADINGS, TITLE, footnotes, result_row
from leaderboard.record.parts import Interval
from leaderboard.record.record import ProbePart, Record, read_record

if TYPE_CHECKING:
    import pandas

_FRAME_HEIGHT = 800  # pixels, of a report in a notebook


class HtmlPage(str):
    """A report as HTML text, which a notebook shows in a frame of its own."""

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self)}" width="100%" height="{_FRAME_HEIGHT}"></iframe>'


@dataclass(frozen=True)
class NotRun:
    """A run without a result, and why; `reason` is None where it was planned alone."""

    model: str
    task: str
    reason: str | None

    @property
    def title(self) -> str:
        """The run's name in messages."""
        return f"{self.model} on {self.task}"


@dataclass(frozen=True, repr=False)
class TaskResult:
    """One model on one task: all of `record.json`, and the folder that it lies in.

    Examples:
        >>> import harness
        >>> (result,) = harness.load("leaderboard/entries/zoo--llava-healthy/phantom")
        >>> result
        <TaskResult zoo/llava-healthy on phantom: complete, accuracy 89.8 (88-92), healthy (vision -2.1)>
        >>> [(layer.site, round(layer.accuracy.value, 2)) for layer in result.layers if layer.module == "vision"]
        [('vision.00', 0.73), ('vision.01', 0.86), ('vision.02', 0.89), ('vision.03', 0.9)]
        >>> result.record.answers.outcomes
        Outcomes(correct=898, wrong=102, no_answer=0, error=0)
    """

    folder: Path
    record: Record

    @property
    def model(self) -> str:
        """The model's name, with "@" and the condition where that is not released."""
        return self.record.full_name

    @property
    def task(self) -> str:
        """The task's name."""
        return self.record.task.name

    @property
    def status(self) -> str:
        """`complete`, `partial` or `failed`."""
        return self.record.status

    @property
    def verdict(self) -> str | None:
        """The stage that loses the class, `healthy`, `no_signal` or `undetermined`; None without a diagnosis."""
        return None if self.record.diagnosis is None else self.record.diagnosis.verdict

    @property
    def accuracy(self) -> Interval | None:
        """The share of all test images that is answered right, with its 95% interval; None where all failed."""
        return None if self.record.answers is None else self.record.answers.accuracy

    @property
    def layers(self) -> tuple[ProbePart, ...]:
        """What a probe reads at each place: `site`, `module`, `layer`, `pool`, `readout`, `accuracy` and more.

        They go along the model: vision encoder, connector, language model. Empty where no layer was watched.
        """
        return self.record.probes

    def to_pandas(self) -> pandas.DataFrame:
        """Return a row for each of `layers`; of what has an interval also `…_low` and `…_high`.

        Raises:
            ModuleNotFoundError: pandas is not installed.

        Examples:
            >>> import harness
            >>> (result,) = harness.load("leaderboard/entries/zoo--llava-healthy/phantom")
            >>> frame = result.to_pandas()
            >>> list(frame.columns[:7])
            ['model', 'task', 'site', 'module', 'layer', 'pool', 'readout']
            >>> frame[frame.module == "connector"][["site", "accuracy_low", "accuracy", "accuracy_high"]].round(3)
                       site  accuracy_low  accuracy  accuracy_high
            4  connector.00         0.879     0.899          0.916
        """
        return data_frame(
            [{"model": self.model, "task": self.task, **_layer_row(layer)} for layer in self.layers]
        )

    def report(
        self, output: str | Path | None = None, *, images: bool = False, data_dir: str | Path | None = None
    ) -> HtmlPage:
        """Return the result as one self-contained HTML page, and write it to a file where one is named.

        Args:
            output: the file to write.
            images: show the pictures of the hardest images, where the task's licence allows it.
            data_dir: where their data lie; it goes with `images`, and implies it.

        Raises:
            RecordError: the folder holds no valid result any more.
            DataError: images were asked for and cannot be found.

        Examples:
            >>> import harness
            >>> (result,) = harness.load("leaderboard/entries/reference--vit/busi")
            >>> page = result.report()  # a notebook shows it
            >>> page[:15]
            '<!doctype html>'
        """
        return _report((self,), output, images, data_dir)

    def __repr__(self) -> str:
        cells = dict(zip(HEADINGS, result_row(self.record), strict=True))
        told = [self.status, *([] if self.accuracy is None else [f"accuracy {cells['accuracy']}"])]
        told += [] if self.verdict is None else [cells["verdict"]]
        return f"<{type(self).__name__} {self.model} on {self.task}: {', '.join(told)}>"

    def _repr_html_(self) -> str:
        return Results((self,))._repr_html_()


@dataclass(frozen=True, repr=False)
class Results(Sequence[TaskResult]):
    """What `harness.evaluate` and `harness.load` return: a sequence of results, and what has none.

    Attributes:
        results: one a model and task.
        failures: what was to run and failed, or was named and cannot run here; the others went on.
        skipped: what came in by a group and cannot run here.
        planned: with `dry_run`, what would run.

    Of a single result they have `verdict`, `accuracy`, `layers`, `record` and `folder` themselves.

    Examples:
        >>> import harness
        >>> results = harness.load("leaderboard/entries/zoo--llava-healthy")
        >>> [f"{result.task}: {result.verdict}" for result in results]
        ['breastmnist: undetermined', 'busi: vision', 'chest_xray: undetermined', 'phantom: healthy']
        >>> results.verdict
        Traceback (most recent call last):
        ValueError: there are 4 results; take one of them, as in results[0].verdict
    """

    results: tuple[TaskResult, ...] = ()
    failures: tuple[NotRun, ...] = ()
    skipped: tuple[NotRun, ...] = ()
    planned: tuple[NotRun, ...] = ()

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[TaskResult]:
        return iter(self.results)

    @overload
    def __getitem__(self, index: int) -> TaskResult: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[TaskResult, ...]: ...

    def __getitem__(self, index: int | slice) -> TaskResult | tuple[TaskResult, ...]:
        if not self.results and not isinstance(index, slice):
            raise IndexError("; ".join(["there is no result", *self._remarks()]))
        return self.results[index]

    @property
    def record(self) -> Record:
        """The record of the one result; ValueError where there are none or several."""
        return self._one("record").record

    @property
    def folder(self) -> Path:
        """The folder of the one result; ValueError where there are none or several."""
        return self._one("folder").folder

    @property
    def verdict(self) -> str | None:
        """The verdict of the one result; ValueError where there are none or several."""
        return self._one("verdict").verdict

    @property
    def accuracy(self) -> Interval | None:
        """The accuracy of the one result; ValueError where there are none or several."""
        return self._one("accuracy").accuracy

    @property
    def layers(self) -> tuple[ProbePart, ...]:
        """The layers of the one result; ValueError where there are none or several."""
        return self._one("layers").layers

    def to_pandas(self) -> pandas.DataFrame:
        """Return a row a result: answers with their intervals, health and verdict.

        The layers of several results are `pandas.concat(result.to_pandas() for result in results)`.

        Raises:
            ModuleNotFoundError: pandas is not installed.

        Examples:
            >>> import harness
            >>> frame = harness.load("leaderboard/entries/zoo--llava-healthy").to_pandas()
            >>> frame.sort_values("fhs_llm")[["task", "accuracy_low", "accuracy", "fhs_llm"]].round(3)
                      task  accuracy_low  accuracy  fhs_llm
            1         busi         0.530     0.609    0.660
            0  breastmnist         0.491     0.571    0.713
            2   chest_xray         0.839     0.875    0.827
            3      phantom         0.878     0.898    0.901
        """
        return data_frame([_result_row(result) for result in self])

    def report(
        self, output: str | Path | None = None, *, images: bool = False, data_dir: str | Path | None = None
    ) -> HtmlPage:
        """Return all results as one HTML page, as `TaskResult.report` does; two stand side by side.

        Examples:
            >>> import harness, tempfile
            >>> from pathlib import Path
            >>> results = harness.load("leaderboard/entries/reference--vit/busi")
            >>> page = results.report(Path(tempfile.mkdtemp()) / "report.html")
            >>> "reference/vit" in page
            True
        """
        return _report(self.results, output, images, data_dir)

    def _one(self, name: str) -> TaskResult:
        if not self.results:
            raise ValueError("; ".join(["there is no result", *self._remarks()]))
        if len(self.results) > 1:
            raise ValueError(
                f"there are {len(self.results)} results; take one of them, as in results[0].{name}"
            )
        return self.results[0]

    def _remarks(self) -> list[str]:
        told = {"failed": self.failures, "skipped": self.skipped, "planned": self.planned}
        return [
            f"{run.title}: {what}" + (f": {run.reason}" if run.reason else "")
            for what, runs in told.items()
            for run in runs
        ]

    def __repr__(self) -> str:
        records = [result.record for result in self]
        table = plain_table(TITLE, HEADINGS, [result_row(record) for record in records]) if records else ""
        return "\n".join([table, *self._remarks(), *footnotes(records)]).strip() or "no results"

    def _repr_html_(self) -> str:
        records = [result.record for result in self]
        table = html_table(TITLE, HEADINGS, [result_row(record) for record in records]) if records else ""
        return table + html_lines([*self._remarks(), *footnotes(records)])


def load(folder: str | Path) -> Results:
    """Read a result folder, or all results of a folder of them.

    Args:
        folder: `results/<model>/<task>`, or one that holds results as `<task>/` or `<model>/<task>/`.

    Returns:
        The results, sorted by their folders; of a result folder the one.

    Raises:
        RecordError: there is no result, or a `record.json` breaks the schema; the message names file and field.

    Examples:
        >>> import harness
        >>> results = harness.load("leaderboard/entries/zoo--llava-healthy/phantom")
        >>> results.accuracy
        Interval(value=0.898, low=0.8776930354303454, high=0.9152608648151528, n=1000)
        >>> results.layers[-1].site
        'llm.03'
    """
    places = result_folders(Path(folder).expanduser())
    return Results(
        tuple(TaskResult(place.absolute(), read_record(place / "record.json")) for place in places)
    )


def _report(
    results: Sequence[TaskResult], output: str | Path | None, images: bool, data_dir: str | Path | None
) -> HtmlPage:
    from harness.report.page import write_report

    folders = [result.folder for result in results]
    images, data = images or data_dir is not None, None if data_dir is None else Path(data_dir).expanduser()
    with TemporaryDirectory() as scratch:
        target = Path(scratch) / "report.html" if output is None else Path(output).expanduser()
        written = write_report(folders, target, images=images, data_dir=data)
        for name, reason in written.without_pictures:
            print(f"{name}: {reason}.", file=sys.stderr)
        return HtmlPage(written.path.read_text(encoding="utf-8"))


def _layer_row(layer: ProbePart) -> dict[str, Any]:
    measured = ("accuracy", "balanced_accuracy", "auroc")
    plain = layer.model_dump(exclude={*measured, "seeds"})
    return {
        **plain,
        **_columns({name: getattr(layer, name) for name in measured}),
        "n": layer.accuracy.n,
    }


def _result_row(result: TaskResult) -> dict[str, Any]:
    record, answers, health = result.record, result.record.answers, result.record.health
    row: dict[str, Any] = {
        "model": result.model,
        "task": result.task,
        "status": result.status,
        "verdict": result.verdict,
        "official_data": record.task.official_data,
        "n": None if answers is None else answers.accuracy.n,
    }
    names = (
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "auroc",
        "ece",
        "generated_accuracy",
        "letters_accuracy",
    )
    row |= _columns({name: getattr(answers, name, None) for name in names})
    row["majority_accuracy"] = None if answers is None else answers.majority_accuracy
    modules = ("vision", "connector", "llm")
    row |= {f"fhs_{name}": None if health is None else getattr(health, name).fhs for name in modules}
    return {**row, "folder": str(result.folder)}


def _columns(measured: dict[str, Interval | None]) -> dict[str, float | None]:
    """Return three columns for each value: itself and the ends of its interval, None where it was not measured."""
    columns = {}
    for name, found in measured.items():
        columns[name] = None if found is None else found.value
        columns[f"{name}_low"] = None if found is None else found.low
        columns[f"{name}_high"] = None if found is None else found.high
    return columns
