"""Join what a run stored about each image into one line of `samples.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.data.dataset import Sample
from harness.passes.answers import GENERATE, VARIANTS
from harness.passes.context import Run
from harness.passes.store import PREFILL, RunStore
from leaderboard.record.record import Headline
from leaderboard.record.samples import Asked, SampleLine
from leaderboard.scoring.reading import Wordings, best, read_answers, wordings_of

_UNWRITTEN: Mapping[str, None] = {"text": None, "error": None}


def sample_lines(run: Run, headline: Headline) -> tuple[SampleLine, ...]:
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
        lines.append(_line(sample, scored, orders, written or _UNWRITTEN, wordings, headline))
    return tuple(lines)


def _by_image(store: RunStore, step: str, images: Sequence[Sample]) -> dict[str, dict[str, Any]]:
    return dict(zip((s.id for s in images), store.answers(step, len(images)), strict=True))


def _line(
    sample: Sample,
    scored: Mapping[str, Any],
    orders: Sequence[Mapping[str, Any]],
    written: Mapping[str, Any],
    wordings: Wordings,
    headline: Headline,
) -> SampleLine:
    read = read_answers(
        wordings,
        headline,
        sample.label,
        scores=scored["scores"],
        scores_error=scored["error"],
        text=written["text"],
        text_error=written["error"],
    )
    return SampleLine(
        id=sample.id,
        split=sample.split,
        pixel_hash=sample.pixel_hash,
        label=sample.label,
        group=sample.group,
        scores=scored["scores"],
        scores_normalised=scored["normalised"],
        text=written["text"],
        orders=tuple(
            Asked(prompt=o["prompt"], order=o["order"], scores=o["scores"], predicted=best(o["scores"]))
            for o in orders
        ),
        error=scored["error"] or written["error"],
        **read._asdict(),
    )
