"""Compute every score of a record from a run's lines; the verdict is timed apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.passes.context import Run
from harness.watch.watch import LayerFindings
from leaderboard.record.checks import AnswerTargetPart, FloorsPart
from leaderboard.record.record import AnswersPart, DiagnosisPart, HealthPart, ProbePart
from leaderboard.record.samples import SampleLine
from leaderboard.scoring.answer_target import score_answer_target
from leaderboard.scoring.answers_and_probes import Headline, score_answers, score_probes
from leaderboard.scoring.floors import score_floors
from leaderboard.scoring.health_profile import score_health
from leaderboard.scoring.verdict import score_diagnosis, signal_tests
from tasks.questions import letters_prompt


@dataclass(frozen=True)
class Scores:
    """The parts of a record that follow from its lines."""

    answers: AnswersPart
    health: HealthPart | None = None
    probes: tuple[ProbePart, ...] = ()
    floors: FloorsPart | None = None
    answer_target: tuple[AnswerTargetPart, ...] | None = None
    diagnosis: DiagnosisPart | None = None


def score_run(
    run: Run, samples: Sequence[SampleLine], layers: LayerFindings | None, headline: Headline
) -> Scores:
    """Score the answers, and what was watched: probes, health, floors, the answer target, the verdict."""
    test = [line for line in samples if line.split == "test"]
    task, classes, seed = run.dataset.task, run.classes, run.options.seed
    with run.timing.of("scores"):
        answers = score_answers(
            samples, classes=classes, headline=headline, primary_prompt=task.primary_prompt, seed=seed
        )
        if layers is None:
            return Scores(answers)
        lines = layers.lines
        probes = score_probes(lines, test, layers.probes.permutation_p, seed=seed)
        health = score_health(lines, test, final=answers.accuracy.value, seed=seed)
        floors = score_floors(lines, test, layers.floors, seed=seed)
        letters = letters_prompt(task)
        target = score_answer_target(lines, test, letters.id) if letters else None
    with run.timing.of("verdict"):
        diagnosis = score_diagnosis(
            samples,
            lines,
            classes=classes,
            headline=headline,
            signal=signal_tests(probes, layers.probes.permutation, floors),
            reference=floors.reference.detail,
            seed=seed,
        )
    return Scores(answers, health, probes, floors, target, diagnosis)
