"""Join what a run stored about each image into one line of `samples.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.data.dataset import Dataset, Sample
from harness.passes import ask
from harness.passes.store import PREFILL, RunStore
from leaderboard.record.record import Headline
from leaderboard.record.samples import Asked, Outcome, SampleLine
from leaderboard.scoring.reading import best, outcome, read_class, wordings_of


def sample_lines(
    store: RunStore, dataset: Dataset, images: ask.AskedImages, headline: Headline
) -> tuple[SampleLine, ...]:
    """Join the stored answers of every step into one line an image."""
    wordings = wordings_of(dataset.task)
    prefilled = store.answers(PREFILL, len(images.observed))
    varied = _by_image(store, ask.VARIANTS, images.varied)
    texts = _by_image(store, ask.GENERATE, images.written)
    lines = []
    for sample, scored in zip(images.observed, prefilled, strict=True):
        asked = sample.split == "test"  # ids are unique within a split alone
        orders = varied[sample.id]["orders"] if asked and sample.id in varied else []
        written = texts.get(sample.id) if asked else None
        read = read_class(written["text"], wordings) if written and written["error"] is None else None
        lines.append(_line(sample, scored, orders, written, read, headline))
    return tuple(lines)


def _by_image(store: RunStore, step: str, images: Sequence[Sample]) -> dict[str, dict[str, Any]]:
    return dict(zip((s.id for s in images), store.answers(step, len(images)), strict=True))


def _line(
    sample: Sample,
    scored: Mapping[str, Any],
    orders: Sequence[Mapping[str, Any]],
    written: Mapping[str, Any] | None,
    read: int | None,
    headline: Headline,
) -> SampleLine:
    by_scores = best(scored["scores"])
    generated = outcome(read, sample.label, written["error"]) if written is not None else None
    use_text = headline == "generated" and written is not None
    predicted = read if use_text else by_scores
    error = written["error"] if use_text and written is not None else scored["error"]
    final: Outcome = outcome(predicted, sample.label, error)
    return SampleLine(
        id=sample.id,
        split=sample.split,
        pixel_hash=sample.pixel_hash,
        label=sample.label,
        group=sample.group,
        scores=scored["scores"],
        scores_normalised=scored["normalised"],
        predicted=predicted,
        text=written["text"] if written is not None else None,
        read=read,
        outcome=final,
        generated_outcome=generated,
        orders=tuple(
            Asked(
                prompt=o["prompt"],
                order=o["order"],
                scores=o["scores"],
                predicted=best(o["scores"]),
            )
            for o in orders
        ),
        error=scored["error"] or (written["error"] if written else None),
    )
