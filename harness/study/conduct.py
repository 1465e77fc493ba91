"""Carry out a study: references, models as released, then every model tuned and evaluated again.

All that is done is kept by the two things it is made of, `harness eval` and `harness finetune`; a study that was
stopped goes on by being started again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from harness.console import Console
from harness.plan.options import EvalOptions
from harness.plan.plan import Plan, PlannedRun
from harness.run.sweep import EXPECTED, sweep
from harness.study.cells import RESULTS, Cell
from harness.study.document import Study
from harness.study.state import Progress
from harness.tuning.options import FinetuneOptions
from model_adapters.catalog.built_in import CARD
from model_adapters.catalog.card import ModelCard, load_card


@dataclass(frozen=True)
class StudyOptions:
    """What the user asked for, beside the study's document."""

    output: Path
    data_dir: Path | None = None
    device: str = "auto"
    offline: bool = False
    assume_yes: bool = False
    trust_remote_code: bool = False
    overwrite: bool = False
    command: str = ""


def evaluation(study: Study, options: StudyOptions) -> EvalOptions:
    """Return how every cell of a study is evaluated."""
    asked = study.evaluation
    return EvalOptions(
        output=options.output / RESULTS,
        data_dir=options.data_dir,
        limit=asked.limit,
        readouts=study.readouts,
        engine=asked.engine,
        device=options.device,
        seed=study.seed,
        probe=asked.probe,
        floors=asked.floors,
        answer_target=asked.answer_target,
        causal=asked.causal,
        max_train=asked.max_train,
        offline=options.offline,
        assume_yes=options.assume_yes,
        overwrite=options.overwrite,
        trust_remote_code=options.trust_remote_code,
        command=options.command,
    )


def conduct(
    study: Study,
    progress: Progress,
    options: StudyOptions,
    console: Console,
    *,
    after: Callable[[], None],
) -> None:
    """Do every cell that can be done; one that fails stops none of the others.

    `after` is called whenever a model's cells are done, to write what there is so far.
    """
    asked = evaluation(study, options)
    for (_, condition), group in groupby(progress.cells, key=lambda cell: (cell.model, cell.condition)):
        cells = [cell for cell in group if cell.state == "waiting"]
        if not cells:
            continue
        if condition == "released":
            _released(cells, study, progress, asked, options, console)
        else:
            for cell in cells:
                _tuned(cell, study, progress, asked, options, console)
        after()


def _released(
    cells: Sequence[Cell],
    study: Study,
    progress: Progress,
    asked: EvalOptions,
    options: StudyOptions,
    console: Console,
) -> None:
    halved = study.halved and not cells[0].reference
    _evaluate(cells, None, progress, replace(asked, probing_half=halved), options, console)


def _tuned(
    cell: Cell,
    study: Study,
    progress: Progress,
    asked: EvalOptions,
    options: StudyOptions,
    console: Console,
) -> None:
    from harness.tuning.finetuning import finetune

    assert cell.card is not None
    assert cell.spec is not None
    progress.change(cell, "tuning")
    tuning = FinetuneOptions(
        task=cell.spec,
        card=cell.card,
        output=cell.tuned_folder(options.output),
        settings=study.finetuning.of(cell.model, study.seed),
        limit_train=study.finetuning.limit_train,
        limit_validation=study.finetuning.limit_validation,
        data_dir=options.data_dir,
        device=options.device,
        offline=options.offline,
        assume_yes=options.assume_yes,
        trust_remote_code=options.trust_remote_code,
        overwrite=options.overwrite,
    )
    try:
        finetune(tuning, console)
        card = load_card(tuning.output / CARD)
    except EXPECTED as error:
        console.say(f"{cell.title}: fine-tuning failed: {error}")
        progress.change(cell, "failed", f"fine-tuning: {error}")
        return
    _evaluate([cell], card, progress, asked, options, console)


def _evaluate(
    cells: Sequence[Cell],
    card: ModelCard | None,
    progress: Progress,
    asked: EvalOptions,
    options: StudyOptions,
    console: Console,
) -> None:
    by_folder = {cell.folder(options.output): cell for cell in cells}
    for cell in cells:
        progress.change(cell, "running")

    def ended(planned: PlannedRun, error: str | None) -> None:
        progress.change(by_folder[planned.folder], "done" if error is None else "failed", error)

    plan = Plan(tuple(cell.planned(options.output, card) for cell in cells))
    sweep(plan, asked, console, ended=ended)
