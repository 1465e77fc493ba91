"""Carry out a plan: model by model, each loaded once and only if it has something to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby

from harness.board import collect
from harness.console import Console
from harness.data.dataset import DataError
from harness.options import EvalOptions
from harness.plan import Plan, PlannedRun
from harness.run import run
from harness.store import StoreError
from leaderboard.record import Record, RecordError
from model_adapters.card import ModelCard
from model_adapters.interface import Engine, ModelError
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
    """A model that is loaded when it is first needed, and freed."""

    def __init__(self, card: ModelCard, load: Callable[[ModelCard], Engine]) -> None:
        self._card, self._load = card, load
        self._engine: Engine | None = None

    def __call__(self) -> Engine:
        if self._engine is None:
            self._engine = self._load(self._card)
        return self._engine

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None


def sweep(plan: Plan, options: EvalOptions, console: Console) -> SweepOutcome:
    """Run everything that can run; a failure ends its own run and none of the others."""
    records: list[tuple[PlannedRun, Record]] = []
    failures = [(planned, planned.reason or "") for planned in plan.failures]
    for planned, reason in failures:
        console.say(f"{planned.title}: cannot run: {reason}")
    for _, runs in groupby(plan.to_run, key=lambda planned: planned.card.name):
        group = tuple(runs)
        engine = _LoadOnce(group[0].card, lambda card: _load(card, options, console))
        try:
            for planned in group:
                try:
                    record = run(planned, engine, options, console)
                except EXPECTED as error:
                    console.say(f"{planned.title}: failed: {error}")
                    failures.append((planned, str(error)))
                    continue
                records.append((planned, record))
                _collect(options, console)
        finally:
            engine.close()
    return SweepOutcome(records=tuple(records), failures=tuple(failures), skipped=plan.skipped)


def _collect(options: EvalOptions, console: Console) -> None:
    """Update the folder's board; another run's damaged record must not end this one."""
    try:
        collect(options.output)
    except RecordError as error:
        console.say(f"leaderboard.json is not updated: {error}; remove that folder or run it again")


def _load(card: ModelCard, options: EvalOptions, console: Console) -> Engine:
    from model_adapters.registry import load_engine

    console.say(f"loading {card.name}")
    return load_engine(
        card,
        engine=options.engine,
        device=options.device,
        batch_size=options.batch_size,
        trust_remote_code=options.trust_remote_code,
        offline=options.offline,
        model_args=options.model_args,
    )
