"""Carry out a plan: model by model, each loaded once and only if it has something to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby

from harness.console import Console
from harness.data.dataset import DataError
from harness.passes.engines import LoadedEngine, Questions, compared_anew, load_for_run, packaged_title
from harness.passes.store import StoreError
from harness.plan.options import EvalOptions
from harness.plan.plan import Plan, PlannedRun
from harness.run.collect import collect
from harness.run.run import run
from leaderboard.record.record import Record, RecordError
from model_adapters.catalog.card import ModelCard
from model_adapters.interface import ModelError, Trainable, one_line
from tasks.spec import TaskError

# What may go wrong with one run without stopping the others. Anything else is a bug and stops everything.
EXPECTED = (DataError, ModelError, StoreError, RecordError, TaskError)


@dataclass(frozen=True)
class SweepOutcome:
    """What became of every run of a plan."""

    records: tuple[tuple[PlannedRun, Record], ...]
    failures: tuple[tuple[PlannedRun, str], ...]
    skipped: tuple[PlannedRun, ...] = field(default=())


class _LoadOnce:
    """A model that is loaded when it is first needed, and freed.

    An engine that was trained on one task is loaded anew for the next.
    """

    def __init__(self, card: ModelCard, options: EvalOptions, console: Console) -> None:
        self._card, self._options, self._console = card, options, console
        self._loaded: LoadedEngine | None = None

    def __call__(self, questions: Questions) -> LoadedEngine:
        if self._loaded is not None and isinstance(self._loaded.engine, Trainable):
            self.close()
        if self._loaded is None:
            self._loaded = load_for_run(self._card, self._options, questions, self._console)
        else:
            self._loaded = compared_anew(self._loaded, questions)
        return self._loaded

    def close(self) -> None:
        if self._loaded is not None:
            self._loaded.engine.close()
            self._loaded = None


def _tell_nobody(planned: PlannedRun, error: str | None) -> None:
    """Do nothing with a run that ended."""


def sweep(
    plan: Plan,
    options: EvalOptions,
    console: Console,
    *,
    ended: Callable[[PlannedRun, str | None], None] = _tell_nobody,
) -> SweepOutcome:
    """Run everything that can run; a failure ends its own run and none of the others.

    `ended` is told of every run that ended, and why where it failed.
    """
    records: list[tuple[PlannedRun, Record]] = []
    failures = [(planned, planned.reason or "") for planned in plan.failures]
    for planned, reason in failures:
        console.say(f"{planned.title}: cannot run: {reason}")
    for _, runs in groupby(plan.to_run, key=lambda planned: planned.card):
        group = tuple(runs)
        engine = _LoadOnce(group[0].card, options, console)
        try:
            for planned in group:
                try:
                    record = run(planned, engine, options, console)
                except Exception as error:  # a package's own code may raise anything, ours must not
                    why = _reason(error, packaged_title(planned.card, options))
                    if why is None:
                        raise
                    console.say(f"{planned.title}: failed: {why}")
                    failures.append((planned, why))
                    ended(planned, why)
                    continue
                records.append((planned, record))
                ended(planned, None)
                _collect(options, console)
        finally:
            engine.close()
    return SweepOutcome(records=tuple(records), failures=tuple(failures), skipped=plan.skipped)


def _reason(error: Exception, packaged: str | None) -> str | None:
    """Say why a run failed; None where that is a bug of this project."""
    if isinstance(error, EXPECTED):
        return str(error)
    return None if packaged is None else f"{packaged} failed ({type(error).__name__}: {one_line(error)})"


def _collect(options: EvalOptions, console: Console) -> None:
    """Update the folder's board; another run's damaged record must not end this one."""
    try:
        collect(options.output)
    except RecordError as error:
        console.say(f"leaderboard.json is not updated: {error}; remove that folder or run it again")
