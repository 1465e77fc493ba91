"""Ask a model about every image, batch by batch, into the run store."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.console import Advance
from harness.data.dataset import Dataset, Sample
from harness.passes.prompts import query_of
from harness.passes.store import PREFILL, RunStore
from harness.plan.configuration import SCORE_DECIMALS
from model_adapters.interface import Abilities, Engine, LabelScores
from tasks.questions import Question, label_question, variant_questions

VARIANTS = "variants"
GENERATE = "generate"

_UNSCORED: Mapping[str, None] = {"scores": None, "normalised": None, "error": None}


@dataclass(frozen=True)
class AskedImages:
    """Which images each step is about."""

    observed: tuple[Sample, ...]  # train, validation and test, or test alone without probes
    test: tuple[Sample, ...]
    varied: tuple[Sample, ...]  # asked in paraphrases and letters: none where the words are not read
    written: tuple[Sample, ...]  # answered in free text


def asked_images(dataset: Dataset, abilities: Abilities, *, probe: bool) -> AskedImages:
    """Choose the images to ask about: train and validation only where probes will need them."""
    test = dataset.split("test")
    return AskedImages(
        observed=dataset.samples if probe else test,
        test=test,
        varied=test if abilities.reads_prompts and abilities.label_scores else (),
        written=test if abilities.generation else (),
    )


def prefill(
    store: RunStore,
    engine: Engine,
    dataset: Dataset,
    images: Sequence[Sample],
    *,
    observe: bool,
    advance: Advance,
) -> None:
    """Ask the primary prompt; one pass gives the label scores and, with `observe`, the features.

    An engine that gives no label scores at all is not asked for them: the images stay without.
    """
    question = label_question(dataset.task, dataset.task.primary)
    if observe:
        store.open_features(engine.sites, len(images))
    for number, rows in store.pending(PREFILL, len(images)):
        batch = images[rows]
        if not (engine.description.abilities.label_scores or observe):
            store.append(PREFILL, number, [dict(_UNSCORED) for _ in batch])
            advance(len(batch))
            continue
        seen = engine.score([query_of(question, s.id, dataset.read(s)) for s in batch], observe=observe)
        answers = [scored(question, scores) for scores in seen.scores]
        store.append(PREFILL, number, answers, seen.features if observe else None)
        advance(len(batch))


def variants(
    store: RunStore, engine: Engine, dataset: Dataset, images: Sequence[Sample], *, advance: Advance
) -> None:
    """Ask the test images every other way: paraphrases, and option letters under several orders."""
    for number, rows in store.pending(VARIANTS, len(images)):
        batch = images[rows]
        asked = [
            (position, q) for position, s in enumerate(batch) for q in variant_questions(dataset.task, s.id)
        ]
        pictures = [dataset.read(s) for s in batch]
        seen = engine.score([query_of(q, batch[i].id, pictures[i]) for i, q in asked])
        answers: list[dict[str, Any]] = [{"orders": []} for _ in batch]
        for (position, question), scores in zip(asked, seen.scores, strict=True):
            answers[position]["orders"].append(
                {"prompt": question.prompt_id, "order": list(question.order), **scored(question, scores)}
            )
        store.append(VARIANTS, number, answers)
        advance(len(batch))


def generate(
    store: RunStore,
    engine: Engine,
    dataset: Dataset,
    images: Sequence[Sample],
    *,
    max_new_tokens: int,
    advance: Advance,
) -> None:
    """Let the model answer the primary prompt in its own words."""
    question = label_question(dataset.task, dataset.task.primary)
    for number, rows in store.pending(GENERATE, len(images)):
        batch = images[rows]
        written = engine.generate(
            [query_of(question, s.id, dataset.read(s)) for s in batch], max_new_tokens=max_new_tokens
        )
        answers = [{"text": w.text, "finished": w.finished, "error": w.error} for w in written]
        store.append(GENERATE, number, answers)
        advance(len(batch))


def scored(question: Question, scores: LabelScores) -> dict[str, Any]:
    """Return a stored answer: scores in the order of the classes, or the error."""
    if scores.error is None and not all(map(math.isfinite, scores.raw)):
        # Infinity cannot be ranked or averaged honestly; the model gave no usable answer here.
        return {"scores": None, "normalised": None, "error": "a label's score is not finite"}
    if scores.error is not None:
        return {"scores": None, "normalised": None, "error": scores.error}
    return {
        "scores": _rounded(question.by_class(scores.raw)),
        "normalised": _rounded(question.by_class(scores.normalised)),
        "error": None,
    }


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), SCORE_DECIMALS) for value in values]
