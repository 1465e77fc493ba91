"""One case through `harness eval`'s own code, from model folder to kept files and judged result."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tools.faultbench.cases import Case, baseline, recipe_id, versions
from tools.faultbench.results import Result, is_kept, keep, unpacked
from tools.faultbench.schedule import CaseError

if TYPE_CHECKING:
    from leaderboard.record.record import Record


@dataclass(frozen=True)
class Bench:
    """Does one case. `work` is the folder of models and results."""

    work: Path
    keys: dict[str, str]  # of every case by its name

    @property
    def models(self) -> Path:
        """Healthy models, kept, in a folder for every recipe."""
        return self.work / "models"

    def kept(self, key: str) -> Path:
        """Files of a finished case."""
        return self.work / "kept" / key

    def scratch(self, key: str) -> Path:
        """Files of a case that is under way; removed when it is done."""
        return self.work / "scratch" / key

    def __call__(self, case: Case, key: str) -> Result:
        """Evaluate and judge a case; one that was kept before is judged alone."""
        from tools.faultbench.judging import judge

        seconds: dict[str, float] = {}
        folder = self.kept(key)
        if not is_kept(folder):
            log = self.work / "logs" / f"{case.name.replace('/', '.')}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a", encoding="utf-8") as stream, contextlib.redirect_stderr(stream):
                seconds = self._run(case, key)
        record = _record(folder)
        steps = record.cost.seconds
        return Result(
            key=key,
            case=case,
            judged=judge(folder),
            recorded=record.diagnosis.verdict if record.diagnosis else None,
            accuracy=100 * record.answers.accuracy.value if record.answers else 0.0,
            revision=record.model.revision,
            versions=versions(case),
            seconds={**seconds, **steps},
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _run(self, case: Case, key: str) -> dict[str, float]:
        from tools.faultbench.subjects import case_model, healthy_model

        scratch = self.scratch(key)
        scratch.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        models = self.models / recipe_id(case.family, case.seed)
        healthy = healthy_model(case.family, case.seed, models)
        with case_model(case, healthy, scratch) as model:
            planted = time.monotonic() - begun
            run = self._eval(case, model, scratch)
        keep(run, self.kept(key))
        shutil.rmtree(scratch)
        return {"model": round(planted, 3)}

    def _eval(self, case: Case, model: Path, scratch: Path) -> Path:
        """Do what `harness eval --tasks FILE --models MODEL` does, on the primary prompt alone."""
        from harness.console import Console
        from harness.plan.options import EvalOptions
        from harness.plan.plan import Plan, make_plan
        from harness.run.sweep import sweep
        from tools.faultbench.draws import primary_only, write_task
        from tools.faultbench.subjects import write_card

        tasks = self.work / "tasks"
        answers = self._answers(case) if case.draw.labels == "answers" else None
        task = write_task(case.draw, tasks, owner=case.model, answers=answers)
        options = EvalOptions(
            output=scratch / "results",
            data_dir=tasks,
            device="cpu",
            floors="task",  # what is asked of a model beyond them enters no verdict
            answer_target=False,
            offline=True,
            command=f"tools/faultbench/run.py --only {case.name}",
        )
        card = write_card(model, case.model, scratch)
        (planned,) = make_plan([str(task)], [str(card)], options).runs
        planned = replace(planned, task=primary_only(planned.task))
        found = sweep(Plan((planned,)), options, Console())
        if found.failures:
            raise CaseError(found.failures[0][1])
        record = found.records[0][1]
        if record.status != "complete":
            raise CaseError(f"its record is {record.status}: {record.error}")
        return planned.folder

    def _answers(self, case: Case) -> dict[str, int]:
        """Return what the healthy model answered to every image of the same draw."""
        from leaderboard.record.samples import SampleLine, read_lines

        kept = self.kept(self.keys[baseline(case).name])
        with unpacked(kept) as folder:
            lines = list(read_lines(folder / "samples.jsonl", SampleLine))
        scored = {line.id: line.scores for line in lines}
        if None in scored.values():
            raise CaseError("the healthy model left images unanswered, so they cannot be labelled by it")
        return {name: max(range(len(s)), key=s.__getitem__) for name, s in scored.items() if s is not None}


def _record(folder: Path) -> Record:
    from leaderboard.record.record import read_record

    return read_record(folder / "record.json")
