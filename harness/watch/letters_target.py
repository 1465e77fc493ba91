"""The answer-target probe: does the language model's last token tell the letter of the right option?

A class probe on the last token cannot see a model that carries the class and does not use it. On a letters
prompt whose options stand in an order drawn for each image, the right letter says nothing about the class,
so it can be read at the last token only if the model has already matched what it saw with the options.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.console import Advance
from harness.data.dataset import Dataset, Sample
from harness.passes.prompts import query_of
from harness.passes.store import RunStore
from leaderboard.record.samples import ANSWER_TARGET, NO_CLASS, NOT_ASKED, ProbeLine
from leaderboard.scoring.letters import asked_rows
from model_adapters.interface import Engine
from probes.sites import Site, curve
from tasks.questions import Question, letters_prompt, shuffled_letters_question
from tasks.sources import SPLITS, SplitName

SCORE_DECIMALS = 4

_MEMORY_BYTES = 2**30  # of features held at once while probes are fitted


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


def ask_letters(
    store: RunStore, engine: Engine, dataset: Dataset, images: Sequence[Sample], *, advance: Advance
) -> None:
    """Ask every image the letters prompt under one order of its own, and keep the last token's states."""
    prompt = letters_prompt(dataset.task)
    if prompt is None or not images:
        return
    sites = curve(engine.sites, "llm", "last")
    store.open_features(sites, len(images), step=ANSWER_TARGET)
    for number, rows in store.pending(ANSWER_TARGET, len(images)):
        batch = images[rows]
        asked = [shuffled_letters_question(dataset.task, prompt, sample.id) for sample in batch]
        queries = [query_of(q, s.id, dataset.read(s)) for q, s in zip(asked, batch, strict=True)]
        seen = engine.score(queries, observe=True)
        answers = [
            {"position": target_position(question, sample), "error": scores.error}
            for question, sample, scores in zip(asked, batch, seen.scores, strict=True)
        ]
        store.append(ANSWER_TARGET, number, answers, {site.key: seen.features[site.key] for site in sites})
        advance(len(batch))


def target_position(question: Question, sample: Sample) -> int:
    """Return where the right option stands: 0 for A."""
    return question.order.index(sample.label)


def judge_letters(
    store: RunStore,
    engine: Engine,
    dataset: Dataset,
    images: Sequence[Sample],
    observed: Sequence[Sample],
) -> tuple[ProbeLine, ...]:
    """Fit a linear probe for the right letter at every decoder layer; predict validation and test.

    Returns a line per layer and split, validation then test; none where no image was asked, or a split has
    none that the model could be shown.

    Args:
        store: with the finished step.
        engine: whose sites were watched.
        dataset: the run's.
        images: those that were asked, `target_images`.
        observed: the run's images, in whose order the lines' predictions are.
    """
    if not images:
        return ()
    sites = curve(engine.sites, "llm", "last")
    positions = np.array([answer["position"] for answer in store.answers(ANSWER_TARGET, len(images))])
    seen = np.isfinite(store.features(sites[0].key, slice(0, len(images)), step=ANSWER_TARGET)).all(axis=1)
    splits = {name: _Asked.of(name, images, observed, positions, seen) for name in SPLITS}
    if any(not split.fitted.any() for split in splits.values()):
        return ()
    lines: list[ProbeLine] = []
    for chunk in _chunks(sites, len(images)):
        lines += _fit(store, chunk, len(images), splits, len(dataset.task.classes), engine.description.device)
    return tuple(lines)


@dataclass(frozen=True, eq=False)
class _Asked:
    """One split's asked images.

    `rows` (asked,) are their places among the asked images, `places` (asked,) among the split's samples,
    `fitted` (asked,) is False where the model could not be shown the image.
    """

    rows: np.ndarray
    places: np.ndarray
    positions: np.ndarray
    fitted: np.ndarray
    size: int  # of the whole split

    @classmethod
    def of(
        cls,
        name: SplitName,
        images: Sequence[Sample],
        observed: Sequence[Sample],
        positions: np.ndarray,
        seen: np.ndarray,
    ) -> _Asked:
        place = {s.id: at for at, s in enumerate(s for s in observed if s.split == name)}
        rows = np.array([row for row, s in enumerate(images) if s.split == name], dtype=int)
        places = np.array([place[images[row].id] for row in rows], dtype=int)
        return cls(rows, places, positions[rows], seen[rows], len(place))

    def spread(self, values: np.ndarray, other: float) -> np.ndarray:
        """Return values (asked, …) over the whole split (size, …), `other` for what was not asked."""
        full = np.full((self.size, *values.shape[1:]), other, dtype=values.dtype)
        full[self.places] = values
        return full


def _fit(
    store: RunStore,
    sites: Sequence[Site],
    images: int,
    splits: dict[SplitName, _Asked],
    classes: int,
    device: str,
) -> Iterator[ProbeLine]:
    from probes.fit.linear import fit_linear

    whole = np.stack([store.features(site.key, slice(0, images), step=ANSWER_TARGET) for site in sites])
    train, validation = splits["train"], splits["val"]
    probes = fit_linear(
        whole[:, train.rows[train.fitted]],
        train.positions[train.fitted],
        whole[:, validation.rows[validation.fitted]],
        validation.positions[validation.fitted],
        classes,
        device=device,
    )
    predicted = {name: probes.predict(np.nan_to_num(whole[:, splits[name].rows])) for name in ("val", "test")}
    for place, site in enumerate(sites):
        for name, scores in predicted.items():
            yield _line(site, name, scores[place], splits[name])  # type: ignore[arg-type,index]


def _line(site: Site, name: SplitName, scores: np.ndarray, split: _Asked) -> ProbeLine:
    # Rounded before the prediction is taken, so that predictions follow from the scores that are filed.
    rounded = np.where(split.fitted[:, None], np.round(scores, SCORE_DECIMALS), 0.0)
    predictions = np.where(split.fitted, rounded.argmax(axis=1), NO_CLASS)
    return ProbeLine(
        site=site.name,
        module=site.module,
        layer=site.layer,
        pool=site.pool,
        width=site.width,
        consumed=False,
        readout=ANSWER_TARGET,
        seed=0,
        split=name,
        predictions=tuple(split.spread(predictions, NO_CLASS).tolist()),
        scores=tuple(map(tuple, split.spread(rounded, 0.0).tolist())),
        targets=tuple(split.spread(split.positions, NOT_ASKED).tolist()),
    )


def _chunks(sites: Sequence[Site], images: int) -> Iterator[Sequence[Site]]:
    size = max(1, _MEMORY_BYTES // (4 * max(site.width for site in sites) * images))
    for first in range(0, len(sites), size):
        yield sites[first : first + size]
