"""The cells of a study: every model on every task in every condition, and why one of them is a hole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from harness.plan.model_availability import Surroundings, engine_of, why_unavailable
from harness.plan.options import EvalOptions
from harness.plan.plan import PlannedRun, missing_data, result_folder
from harness.study.document import Study, StudyError
from leaderboard.record.record import Condition
from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.registry import Selected, resolve
from model_adapters.interface import ModelError
from tasks import catalog
from tasks.included import included_tasks
from tasks.spec import TaskError, TaskSpec

State = Literal["waiting", "tuning", "running", "done", "failed", "hole"]
RESULTS, TUNED = "results", "tuned"


@dataclass(frozen=True)
class Cell:
    """One model on one task in one condition.

    A cell without a task or a card is a hole from the start: its name stands for nothing here. `reason` says why
    a cell is a hole or failed.
    """

    model: str
    task: str
    condition: Condition
    named: bool  # outright, not by a group or a glob: then a hole counts as a failure
    reference: bool = False
    state: State = "waiting"
    reason: str | None = None
    card: ModelCard | None = field(default=None, repr=False)
    spec: TaskSpec | None = field(default=None, repr=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells a cell from the others."""
        return self.model, self.task, self.condition

    @property
    def title(self) -> str:
        """The cell's name in messages."""
        return f"{self.model}{'' if self.condition == 'released' else f'@{self.condition}'} on {self.task}"

    def folder(self, output: Path) -> Path:
        """Return where the cell's result is."""
        return result_folder(output / RESULTS, self.model, self.task, self.condition)

    def tuned_folder(self, output: Path) -> Path:
        """Return where the cell's tuned model is."""
        return output / TUNED / self.model.replace("/", "--") / self.task

    def planned(self, output: Path, card: ModelCard | None = None) -> PlannedRun:
        """Return the cell's run; of a tuned model with its own card."""
        chosen = card or self.card
        assert chosen is not None
        assert self.spec is not None
        return PlannedRun(self.spec, chosen, self.folder(output), self.named)

    def now(self, state: State, reason: str | None = None) -> Cell:
        """Return the cell in another state."""
        return replace(self, state=state, reason=reason)


@dataclass(frozen=True)
class _Row:
    """A model or a task: what it stands for, or why for nothing."""

    name: str
    named: bool
    card: ModelCard | None = None
    spec: TaskSpec | None = None
    reason: str | None = None


def make_cells(study: Study, options: EvalOptions) -> tuple[Cell, ...]:
    """Return every cell: references first, then models as released, then tuned.

    Nothing is loaded. What cannot run here is a hole with its reason, and stops nothing.

    Raises:
        StudyError: a tuning's setting means nothing, or two models would write into one folder.
    """
    tasks = [row for name in study.tasks for row in _task_rows(name, options)]
    models = [row for name in study.models for row in _model_rows(name)]
    references = [row for name in study.references for row in _model_rows(name)]
    references += [row for row in models if row.card is not None and row.card.classifier is not None]
    models = [row for row in models if row not in references]
    around = Surroundings(options)
    cells = [
        _cell(row, task, "released", options, around, reference=True) for row in references for task in tasks
    ]
    for condition in study.conditions:
        cells += [_cell(row, task, condition, options, around) for row in models for task in tasks]
    unique: dict[tuple[str, str, str], Cell] = {}
    for cell in cells:  # one that is named and in a group too is named
        known = unique.setdefault(cell.key, cell)
        unique[cell.key] = known if known.named else cell
    for cell in unique.values():
        if cell.condition == "lora":
            study.finetuning.of(cell.model, study.seed)
    _refuse_collisions(tuple(unique.values()))
    return tuple(unique.values())


def _task_rows(name: str, options: EvalOptions) -> list[_Row]:
    group = name == "all" or any(mark in name for mark in "*?[")
    try:
        expanded = catalog.expand(["*" if name == "all" else name], included_tasks())
        specs = [catalog.load(found) for found in expanded]
    except TaskError as error:
        return [_Row(name, True, reason=str(error))]
    return [_Row(spec.id, not group, spec=spec, reason=missing_data(spec, options)) for spec in specs]


def _model_rows(name: str) -> list[_Row]:
    try:
        found: Sequence[Selected] = resolve([name])
    except ModelError as error:
        return [_Row(name, True, reason=str(error))]
    return [_Row(one.card.name, one.named, card=one.card) for one in found]


def _cell(
    model: _Row,
    task: _Row,
    condition: Condition,
    options: EvalOptions,
    around: Surroundings,
    *,
    reference: bool = False,
) -> Cell:
    reason = model.reason or task.reason
    if reason is None and model.card is not None:
        reason = why_unavailable(Selected(model.card, model.named), options, around)
    if reason is None and model.card is not None and condition == "lora":
        reason = _why_not_tuned(model.card, options)
    return Cell(
        model=model.name,
        task=task.name,
        condition=condition,
        named=model.named and task.named,
        reference=reference,
        state="waiting" if reason is None else "hole",
        reason=reason,
        card=model.card,
        spec=task.spec,
    )


def _why_not_tuned(card: ModelCard, options: EvalOptions) -> str | None:
    if card.adapter is not None:
        return "is tuned already"
    if card.endpoint is not None or engine_of(card, options) == "openai":
        return "has no weights here that could be fine-tuned"
    return None


def _refuse_collisions(cells: Sequence[Cell]) -> None:
    seen: dict[Path, Cell] = {}
    for cell in cells:
        other = seen.setdefault(cell.folder(Path()), cell)
        if other is not cell:
            raise StudyError(f"{other.title} and {cell.title} would both write to {cell.folder(Path())}")
