"""Join what a run stored about each image into one line of `samples.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.data.dataset import Sample
from harness.passes.answers import GENERATE, VARIANTS
from harness.passes.context import Run
from harness.passes.store import PREFILL, RunStore
from leaderboard.record.samples import Asked, SampleLine
from leaderboard.scoring import answers_and_probes
from leaderboard.scoring.reading import Outcome, outcome, read_class, wordings_of


def sample_lines(run: Run, headline: answers_and_probes.Headline) -> tuple[SampleLine, ...]:
    """Join the stored answers of every step into one line an image."""
    store, images = run.store, run.images
    wordings = wordings_of(run.dataset.task)
    prefilled = store.answers(PREFILL, len(images.observed))
    varied = _by_image(store, VARIANTS, images.varied)
    texts = _by_image(store, GENERATE, images.written)
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
    headline: answers_and_probes.Headline,
) -> SampleLine:
    by_scores = answers_and_probes.best(scored["scores"])
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
                predicted=answers_and_probes.best(o["scores"]),
            )
            for o in orders
        ),
        error=scored["error"] or (written["error"] if written else None),
    )
