"""Measured against predicted: passes, steps and probes of small models."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from sized import LEARNED, RANK, Measured, Shape
from table import Section

from tools.study_budget import TuningSize, kept_bytes, prompt_flops, step_flops

# The device's rate is fitted on these, on the observing pass alone; everything else is predicted with it.
FITTED = (Shape(4, 256, 4, 256, 8), Shape(8, 256, 8, 256, 12))
OTHERS = (
    Shape(4, 256, 12, 256, 8),
    Shape(4, 256, 6, 512, 8),
    Shape(8, 384, 4, 384, 12),
    Shape(4, 256, 6, 384, 16),
)


@dataclass(frozen=True)
class ProbeRates:
    """Seconds of one core for one training image, number of an image and class; the last without class."""

    linear: float
    null: float
    published: float


def measured_section(found: Sequence[Measured]) -> Section:
    """Predict every measured pass with the rate that fits some of them."""
    fitted = [one for one in found if one.shape in FITTED]
    rate = sum(prompt_flops(m.size, m.prompt_tokens) for m in fitted) / sum(m.observe for m in fitted)
    rows, ratios = [], []
    for one in found:
        tuning = TuningSize(LEARNED, 0, rank=RANK, micro_batch=LEARNED)
        again = replace(tuning, recompute=True)
        pairs = (
            (prompt_flops(one.size, one.prompt_tokens), one.observe),
            (step_flops(one.size, tuning, one.prompt_tokens), one.step),
            (step_flops(one.size, again, one.prompt_tokens), one.recomputed),
        )
        own = [flops / rate / seconds for flops, seconds in pairs]
        kept = kept_bytes(one.size, one.prompt_tokens, recompute=False) / one.kept
        if one.shape not in FITTED:
            ratios.append((*own, kept))
        cells = [
            f"{1e3 * flops / rate:.1f} / {1e3 * seconds:.1f} = {flops / rate / seconds:.2f}"
            for flops, seconds in pairs
        ]
        name = one.shape.title + (" (fitted)" if one.shape in FITTED else "")
        rows.append((name, *cells, f"{kept:.2f}"))
    spans = [f"{min(column):.2f} to {max(column):.2f}" for column in zip(*ratios, strict=True)]
    return Section(
        title="Predicted against measured",
        about=(
            "Random LLaVA models; a row says blocks x width of the vision encoder, of the decoder, and "
            "the tokens of "
            f"an image, to which {found[0].prompt_tokens} of the prompt come. Milliseconds of processor "
            f"time an image, "
            f"predicted / measured = ratio; medians. The rate, {rate / 1e9:.0f} x 10^9 operations a "
            f"second, was fitted "
            "on the observing pass of the rows marked (fitted) and serves for all columns. A step learns from "
            f"{LEARNED} images with updates of rank {RANK} on all linear layers of the decoder, the "
            f"connector trained. "
            "The last column is the ratio for the bytes that a step keeps for its backward pass; its one "
            "constant was "
            "set beforehand on three models of the same "
            "proportions, so its ratio near 1 says little of others."
        ),
        header=("model", "observing", "step", "step with recompute", "kept bytes"),
        rows=tuple(rows),
        reading=(
            f"Of the models that nothing was fitted on, the ratio is {spans[0]} for observing, {spans[1]} "
            f"for a step, "
            f"{spans[2]} for a step with recompute, {spans[3]} for the bytes kept.",
            "A ratio below 1 means that it took longer than predicted. The formula counts products of "
            "matrices alone: "
            "norms, dropout, activations and the updates' small products take time and hardly an operation.",
        ),
    )


def probe_section(*, quick: bool) -> tuple[Section, ProbeRates]:
    """Measure what the probes' seconds go with."""
    sizes = [(300, 4, 256, 3), (600, 4, 512, 2), (600, 8, 256, 3)]
    rows, rates = [], []
    for images, places, width, classes in sizes[:1] if quick else sizes:
        linear, null, published = _probe_seconds(images, places, width, classes)
        work = images * places * width * classes
        rate = ProbeRates(linear / work, null / work, published / (images * places * width * min(width, 512)))
        rates.append(rate)
        name = f"{images} images, {places} sites of width {width}, {classes} classes"
        rows.append((name, *(f"{v:.3g}" for v in (rate.linear, rate.null, rate.published))))
    mean = ProbeRates(
        *(float(np.mean([getattr(r, n) for r in rates])) for n in ("linear", "null", "published"))
    )
    section = Section(
        title="Probes",
        about=(
            "Seconds of one core for random features with a planted class. `linear` (seven strengths) and the "
            "permutation null (200 draws): seconds over training images x sites x width x classes. The "
            "published "
            "readout (20 epochs, two seeds; one epoch was measured): over images x sites x width x hidden "
            "units. The "
            "grid below uses the means. On a GPU `linear` and the published readout run there; that was "
            "not measured."
        ),
        header=("measured on", "linear", "permutations", "published readout"),
        rows=tuple(rows),
        reading=(),
    )
    return section, mean


def _probe_seconds(images: int, places: int, width: int, classes: int) -> tuple[float, float, float]:
    from probes.fit.linear import fit_linear
    from probes.fit.paper import PaperRecipe, fit_paper
    from probes.stats.permutation import permutation_null

    random = np.random.default_rng(0)
    labels = np.arange(images) % classes
    centres = random.normal(size=(classes, width))
    features = (random.normal(size=(places, images, width)) + 0.2 * centres[labels]).astype(np.float32)
    groups = np.arange(images)

    def seconds(work: object) -> float:
        begun = time.process_time()
        work()  # type: ignore[operator]
        return time.process_time() - begun

    few = images // 4
    linear = seconds(lambda: fit_linear(features, labels, features[:, :few], labels[:few], classes))
    null = seconds(
        lambda: permutation_null(
            list(features), labels, groups, list(features[:, :few]), labels[:few], classes, draws=200, seed=0
        )
    )
    one = seconds(lambda: fit_paper(features, labels, classes, recipe=PaperRecipe(epochs=1)))
    return linear, null, 20 * one
