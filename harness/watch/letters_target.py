"""The answer-target probe: does the language model's last token tell the letter of the right option?

A class probe on the last token cannot see a model that carries the class and does not use it. On a letters
prompt whose options stand in an order drawn for each image, the right letter says nothing about the class,
so it can be read at the last token only if the model has already matched what it saw with the options.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.data.dataset import Dataset, Sample
from harness.passes.asking import Answered, Pass
from harness.passes.context import Run
from harness.watch.fitting import SplitRows, StoredFeatures, equal_widths, fit_readout, probe_line
from leaderboard.record.samples import ANSWER_TARGET, NOT_ASKED, ProbeLine
from leaderboard.scoring.letters import asked_rows
from probes.sites import Site, curve
from tasks.questions import Question, letters_prompt, shuffled_letters_question
from tasks.sources import SPLITS, SplitName


def target_images(dataset: Dataset) -> tuple[Sample, ...]:
    """Choose the images to ask: `asked_rows` of every split, in the data set's order.

    None where the task has no letters prompt.
    """
    if letters_prompt(dataset.task) is None:
        return ()
    chosen: list[Sample] = []
    for name in SPLITS:
        samples = dataset.split(name)
        if samples:
            chosen += [samples[row] for row in asked_rows(name, samples, dataset.task.seed)]
    return tuple(chosen)


def letters_pass(run: Run) -> Pass:
    """Ask every chosen image the letters prompt under one order of its own, and keep the last token's states."""
    task = run.dataset.task
    prompt = letters_prompt(task)

    def questions(sample: Sample) -> tuple[Question, ...]:
        return () if prompt is None else (shuffled_letters_question(task, prompt, sample.id),)

    def line(sample: Sample, answers: Sequence[Answered]) -> dict[str, Any]:
        ((question, scores),) = answers
        return {"position": target_position(question, sample), "error": scores.error}

    return Pass(
        step=ANSWER_TARGET,
        title="letters of the right option",
        images=target_images(run.dataset) if run.options.answer_target else (),
        questions=questions,
        line=line,
        observe=curve(run.engine.sites, "llm", "last"),
    )


def target_position(question: Question, sample: Sample) -> int:
    """Return where the right option stands: 0 for A."""
    return question.order.index(sample.label)


def fit_letters(run: Run, images: Sequence[Sample]) -> tuple[ProbeLine, ...]:
    """Fit a linear probe for the right letter at every decoder layer; predict validation and test.

    `images` were asked by `letters_pass`, and the run's store holds all of their answers. Returns a line per
    layer and split, validation then test; none where no image was asked, or a split has none that the model
    could be shown.
    """
    if not images:
        return ()
    sites = curve(run.engine.sites, "llm", "last")
    stored = StoredFeatures.of(run.store, images, sites[0], ANSWER_TARGET)
    answers = run.store.answers(ANSWER_TARGET, len(images))
    positions = np.array([answer["position"] for answer in answers])
    splits = {name: stored.split(name, positions) for name in SPLITS}
    labels = {name: split.labels for name, split in splits.items()}
    seen = {name: split.seen for name, split in splits.items()}
    if not all(shown.any() for shown in seen.values()):
        return ()
    lines: list[ProbeLine] = []
    for chunk in equal_widths(sites, len(images)):
        features = {name: stored.read(chunk, split) for name, split in splits.items()}
        device = run.engine.description.device
        found = fit_readout("linear", features, labels, run.classes, device=device, fitted_on=seen)[0]
        for place, site in enumerate(chunk):
            lines += [_line(run, images, site, splits[name], name, by[place]) for name, by in found.items()]
    return tuple(lines)


def _line(
    run: Run, asked: Sequence[Sample], site: Site, split: SplitRows, name: SplitName, scores: np.ndarray
) -> ProbeLine:
    """Return a layer's line over the whole split; `scores` (asked, classes) are those of its asked images."""
    ids = {sample.id for sample in asked if sample.split == name}
    was_asked = np.array([sample.id in ids for sample in run.images.observed if sample.split == name])

    def spread(values: np.ndarray, other: float) -> np.ndarray:
        full = np.full((len(was_asked), *values.shape[1:]), other, dtype=values.dtype)
        full[was_asked] = values  # both in the order of the data set
        return full

    targets = tuple(spread(split.labels, NOT_ASKED).tolist())
    return probe_line(
        site, ANSWER_TARGET, 0, name, spread(scores, 0.0), spread(split.seen, False), targets=targets
    )
