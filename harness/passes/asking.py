"""The one loop that asks a model about images, batch by batch, into the run store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np

from harness.console import Advance
from harness.data.dataset import Sample
from harness.data.progress import silent
from harness.passes.context import Run
from harness.passes.prompts import query_of
from model_adapters.interface import Query
from probes.sites import Site
from tasks.questions import Question

# A question about an image and what the engine gave for it: `LabelScores`, a `Generation`, or what `put` makes.
Answered = tuple[Question, Any]
# Puts a batch's queries in a way of its own, tells how many images are done, and returns an answer a query.
Put = Callable[[Sequence[Query], Advance], Sequence[Any]]


@dataclass(frozen=True)
class Pass:
    """One pass over images: what each is asked, in which way, and the line that the store keeps of it.

    `line` gets a sample's answers in the order of its `questions`. Labels are scored, and the features of
    `observe` stored with them; with `max_new_tokens` the model writes freely; `put` does otherwise altogether.
    """

    step: str  # in the run store
    images: tuple[Sample, ...]
    questions: Callable[[Sample], Sequence[Question]]
    line: Callable[[Sample, Sequence[Answered]], dict[str, Any]]
    title: str | None = None  # on screen; None shows nothing
    observe: tuple[Site, ...] = ()
    max_new_tokens: int | None = None
    put: Put | None = None
    rounds: int = 1  # how often `put` tells that an image is done


def ask(run: Run, asked: Pass) -> list[dict[str, Any]]:
    """Carry a pass out from the first batch that is not stored, and return every image's line.

    What an earlier try stored is not asked again; a batch counts once its line is on disk.

    Raises:
        StoreError: the store cannot be written, or the disk has no room for the features.
        ModelError: the engine fails.
    """
    store, count = run.store, len(asked.images)
    if not asked.images:
        return []
    if asked.observe:
        store.open_features(asked.observe, count, step=asked.step)
    progress = silent if asked.title is None else run.console.step
    with progress(asked.title or "", count * asked.rounds) as advance:
        for number, rows in store.pending(asked.step, count):
            lines, features = _ask_batch(run, asked, asked.images[rows], advance)
            store.append(asked.step, number, lines, features)
            if asked.put is None:
                advance(len(lines))
    return store.answers(asked.step, count)


def _ask_batch(
    run: Run, asked: Pass, samples: Sequence[Sample], advance: Advance
) -> tuple[list[dict[str, Any]], Mapping[str, np.ndarray]]:
    """Return a line a sample, and the features (samples, width) of each observed site."""
    questions = [asked.questions(sample) for sample in samples]
    queries: list[Query] = []
    for sample, of_image in zip(samples, questions, strict=True):
        if of_image:
            picture = run.dataset.read(sample)  # once, however many questions there are
            queries += [query_of(question, sample.id, picture) for question in of_image]
    answers, features = _answers(run, asked, queries, advance)
    answered = iter(list(zip(chain.from_iterable(questions), answers, strict=True)))
    lines = [
        asked.line(sample, list(islice(answered, len(of_image))))
        for sample, of_image in zip(samples, questions, strict=True)
    ]
    return lines, features


def _answers(
    run: Run, asked: Pass, queries: Sequence[Query], advance: Advance
) -> tuple[Sequence[Any], Mapping[str, np.ndarray]]:
    if not queries:
        return (), {}
    if asked.put is not None:
        return asked.put(queries, advance), {}
    if asked.max_new_tokens is not None:
        return run.engine.generate(queries, max_new_tokens=asked.max_new_tokens), {}
    seen = run.engine.score(queries, observe=bool(asked.observe))
    wanted = {site.key for site in asked.observe}
    return seen.scores, {key: layer for key, layer in seen.features.items() if key in wanted}
