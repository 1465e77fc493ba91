"""The passes that make up a model's answers: label scores, every other way of asking, free text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from harness.data.dataset import Sample
from harness.passes.asking import Answered, Pass, ask
from harness.passes.context import Run
from harness.passes.store import PREFILL
from harness.plan.configuration import SCORE_DECIMALS
from model_adapters.interface import LabelScores
from tasks.questions import Question, label_question, variant_questions

VARIANTS = "variants"
GENERATE = "generate"


def ask_all(run: Run, max_new_tokens: int) -> None:
    """Ask all that a run asks about its images; what an earlier try stored is not asked again.

    Raises:
        StoreError: the store cannot be written, or the disk has no room for the features.
        ModelError: the engine fails.
    """
    with run.timing.of("observe" if run.observes else "answer"):
        ask(run, label_scores(run))
    with run.timing.of("answer"):
        ask(run, variants(run))
        ask(run, free_text(run, max_new_tokens))


def label_scores(run: Run) -> Pass:
    """Ask the primary prompt; one prefill gives the label scores and, where layers are watched, the features.

    An engine that gives no label scores at all is not asked for them: the images stay without.
    """
    task, observes = run.dataset.task, run.observes
    primary = (label_question(task, task.primary),)
    asked = primary if run.engine.description.abilities.label_scores or observes else ()
    return Pass(
        step=PREFILL,
        title="answers and features" if observes else "answers",
        images=run.images.observed,
        questions=lambda _: asked,
        line=scored_line,
        observe=run.engine.sites if observes else (),
    )


def variants(run: Run) -> Pass:
    """Ask the test images every other way: paraphrases, and option letters under several orders."""

    def line(_: Sample, answers: Sequence[Answered]) -> dict[str, Any]:
        return {
            "orders": [
                {"prompt": question.prompt_id, "order": list(question.order), **scored(question, scores)}
                for question, scores in answers
            ]
        }

    return Pass(
        step=VARIANTS,
        title="option orders and paraphrases",
        images=run.images.varied,
        questions=lambda sample: variant_questions(run.dataset.task, sample.id),
        line=line,
    )


def free_text(run: Run, max_new_tokens: int) -> Pass:
    """Let the model answer the primary prompt about the test images in its own words."""
    primary = (label_question(run.dataset.task, run.dataset.task.primary),)

    def line(_: Sample, answers: Sequence[Answered]) -> dict[str, Any]:
        ((_question, written),) = answers
        return {"text": written.text, "finished": written.finished, "error": written.error}

    return Pass(
        step=GENERATE,
        title="free answers",
        images=run.images.written,
        questions=lambda _: primary,
        line=line,
        max_new_tokens=max_new_tokens,
    )


def scored_line(_: Sample, answers: Sequence[Answered]) -> dict[str, Any]:
    """Return the line of an image that was asked one question, or none."""
    for question, scores in answers:
        return scored(question, scores)
    return {"scores": None, "normalised": None, "error": None}


def scored(question: Question, scores: LabelScores) -> dict[str, Any]:
    """Return a stored answer: scores in the order of the classes, or the error."""
    error = scores.error
    if error is None and not all(map(math.isfinite, scores.raw)):
        # Infinity cannot be ranked or averaged honestly; the model gave no usable answer here.
        error = "a label's score is not finite"
    if error is not None:
        return {"scores": None, "normalised": None, "error": error}
    return {
        "scores": _rounded(question.by_class(scores.raw)),
        "normalised": _rounded(question.by_class(scores.normalised)),
        "error": None,
    }


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), SCORE_DECIMALS) for value in values]
