"""What will run, what will not, and why: decided before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data.dataset import DataError
from harness.data.locate import check_data
from harness.plan.model_availability import Surroundings, why_unavailable
from harness.plan.options import EvalOptions
from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.registry import resolve
from tasks import catalog
from tasks.included import NOTHING, Included
from tasks.spec import TaskSpec


class PlanError(Exception):
    """What was asked for contradicts itself; the message says how."""


@dataclass(frozen=True)
class PlannedRun:
    """One model on one task, the folder its results go to, and why it cannot run if it cannot."""

    task: TaskSpec
    card: ModelCard
    folder: Path
    named: bool  # both were named outright: if it cannot run, that is a failure
    reason: str | None = None

    @property
    def model(self) -> str:
        """The model's name, with "@" and the condition where it was tuned."""
        tuned = "" if self.card.adapter is None else f"@{self.card.condition}"
        return f"{self.card.name}{tuned}"

    @property
    def title(self) -> str:
        """The run's name in messages."""
        return f"{self.model} on {self.task.id}"


@dataclass(frozen=True)
class Plan:
    """Every run that was asked for, model by model."""

    runs: tuple[PlannedRun, ...]

    @property
    def to_run(self) -> tuple[PlannedRun, ...]:
        """The runs that can start."""
        return tuple(run for run in self.runs if run.reason is None)

    @property
    def skipped(self) -> tuple[PlannedRun, ...]:
        """The runs that came in by a group and cannot run here."""
        return tuple(run for run in self.runs if run.reason is not None and not run.named)

    @property
    def failures(self) -> tuple[PlannedRun, ...]:
        """The runs that were named and cannot run here."""
        return tuple(run for run in self.runs if run.reason is not None and run.named)


def result_folder(output: Path, model: str, task: str, condition: str = "released") -> Path:
    """Return where a run's results go: `<output>/<model>[@<condition>]/<task>`."""
    name = model.replace("/", "--")
    return output / (name if condition == "released" else f"{name}@{condition}") / task


def make_plan(
    tasks: Sequence[str | TaskSpec],
    models: Sequence[str | ModelCard],
    options: EvalOptions,
    included: Included = NOTHING,
) -> Plan:
    """Pair every task with every model and find out what can run, without loading anything.

    `included` are the tasks that can be named beside the shipped ones; what is given loaded counts as named.

    Raises:
        TaskError, ModelError: a name stands for nothing; the message says what was meant perhaps.
        PlanError: two different things would write into one folder.
    """
    chosen_tasks = choose_tasks(tasks, included)
    chosen_models = resolve(models)
    around = Surroundings(options)
    runs: list[PlannedRun] = []
    for model in chosen_models:
        model_reason = why_unavailable(model, options, around)
        for task, task_named in chosen_tasks:
            reason = model_reason or missing_data(task, options)
            runs.append(
                PlannedRun(
                    task=task,
                    card=model.card,
                    folder=result_folder(options.output, model.card.name, task.id, model.card.condition),
                    named=model.named and task_named,
                    reason=reason,
                )
            )
    _refuse_collisions(runs)
    return Plan(tuple(runs))


def choose_tasks(references: Sequence[str | TaskSpec], included: Included) -> list[tuple[TaskSpec, bool]]:
    """Load the tasks that names, globs, `all` and paths stand for, each with whether it was named outright.

    Raises:
        TaskError: a name stands for nothing, or a task's YAML is wrong.
    """
    chosen: dict[str, tuple[TaskSpec, bool]] = {}
    for reference in references:
        if isinstance(reference, TaskSpec):
            chosen[reference.id] = (reference, True)
            continue
        group = reference == "all" or any(mark in reference for mark in "*?[")
        for name in catalog.expand(["*" if reference == "all" else reference], included):
            known = chosen.get(name)
            chosen[name] = (catalog.load(name), not group or (known is not None and known[1]))
    return list(chosen.values())


def missing_data(task: TaskSpec, options: EvalOptions) -> str | None:
    """Say why a task's data cannot be had, as far as can be told without reading them."""
    try:
        check_data(task, data_dir=options.data_dir, offline=options.offline, assume_yes=options.assume_yes)
    except DataError as error:
        return str(error)
    return None


def _refuse_collisions(runs: Sequence[PlannedRun]) -> None:
    seen: dict[Path, PlannedRun] = {}
    for run in runs:
        other = seen.setdefault(run.folder, run)
        if other is not run:
            raise PlanError(
                f"{other.title} and {run.title} would both write to {run.folder}; "
                "give one of them another name (a card's `name`, a task's `id`), or run them apart"
            )
