"""Judge a world's predictions twice: by what a probe reads (today's rule) and by what the loci carry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from probes.verdict.bottleneck import ISOTONIC
from probes.verdict.carried import CarriedEvidence, carried_waterfall, judge_carried
from probes.verdict.diagnosis import Diagnosis, diagnose
from probes.verdict.mapping import MappedAnswers, apply_score_maps, fit_score_maps
from probes.verdict.waterfall import LocusPredictions, waterfall
from tools.worlds.geometry import CLASSES, LOSS, SHIFT, draw_evidence, separation

Truth = Literal["nothing lost", "connector", "decoder"]
TRUTHS: tuple[Truth, ...] = ("nothing lost", "connector", "decoder")
READ = {546: 0.75, 2000: 0.80}  # A that a probe reads from the encoder, and good answers show
WEAK = 0.25  # A of weak answers
TESTS = (150, 600)
DRAWS = 2_000


@dataclass(frozen=True)
class Case:
    """What is judged: what was lost where, how many test images, answers as good as the encoder or weak."""

    truth: Truth
    images: int
    weak: bool


def cases() -> tuple[Case, ...]:
    """Return every case of a world: weak answers beside a loss say nothing about its name."""
    return tuple(
        Case(truth, images, weak)
        for images in TESTS
        for truth in TRUTHS
        for weak in (False, True)
        if truth == "nothing lost" or not weak
    )


def judge(
    case: Case, whole: dict[str, Any], lossy: dict[str, Any], behind: dict[str, Any], sizes: dict[str, int]
) -> dict[str, Any]:
    """Judge one case.

    Args:
        case: what is judged.
        whole: the kept predictions of the connector that keeps everything.
        lossy: those of the one that loses.
        behind: those of the decoder that keeps everything (the connector's again where it adds nothing).
        sizes: images of each split.
    """
    part = slice(0, case.images)
    lost = case.truth != "nothing lost"
    connector = lossy if case.truth == "connector" else whole
    image_mean = lossy if lost else behind
    seed, train = int(whole["draw"]), sizes["train"]
    answers = _answers(case.weak, lost, seed, tuple(sizes.items()))
    rows = {
        "vision": whole["vision"],
        "connector": connector["connector"],
        "image_mean": image_mean["connector"],
    }
    labels = answers.labels[part]
    fixed: dict[str, Any] = {
        "labels": labels,
        "groups": np.arange(len(labels)),
        "classes": CLASSES,
        "last_token": answers.last_token[part],
        "reference": answers.reference[part],
        "answers": MappedAnswers(*(rows_[part] for rows_ in answers.mapped)),
    }
    read = LocusPredictions(**fixed, **{name: unpack(row["read"])[part] for name, row in rows.items()})
    carried = LocusPredictions(**fixed, **{name: unpack(row["carried"])[part] for name, row in rows.items()})
    evidence = CarriedEvidence(
        read={name: unpack(row["read"])[part] for name, row in rows.items()},  # type: ignore[misc]
        smaller={name: unpack(row["smaller"])[:, part] for name, row in rows.items()},  # type: ignore[misc]
        refits={name: unpack(row["refits"])[:, part] for name, row in rows.items()},  # type: ignore[misc]
        pairing={"connector": "tokens", "image_mean": "tokens"},
    )
    before = diagnose(waterfall(read, draws=DRAWS, seed=seed), reference="R", rule=ISOTONIC)
    found = carried_waterfall(carried, evidence, draws=DRAWS, flips=DRAWS, seed=seed)
    after = judge_carried(found, reference="R")
    return {
        "truth": case.truth,
        "images": case.images,
        "weak": case.weak,
        "train": train,
        "read": {name: round(value, 4) for name, value in found.read.items()},
        "carried": {name: round(value, 4) for name, value in found.carried.items()},
        "hard_to_read": list(found.hard_to_read),
        "sample_limited": list(found.sample_limited),
        "before": _made(before),
        "after": _made(after),
    }


def _made(found: Diagnosis) -> dict[str, Any]:
    drops = {drop.mode: round(drop.gap.value, 4) for drop in found.drops}
    return {"verdict": found.verdict, "stages": list(found.stages), "drops": drops}


@dataclass(frozen=True, eq=False)
class _Answers:
    labels: NDArray[np.int64]
    reference: NDArray[np.int64]
    last_token: NDArray[np.int64]
    mapped: tuple[NDArray[np.int64], ...]


@cache
def _answers(weak: bool, lost: bool, seed: int, sizes: tuple[tuple[str, int], ...]) -> _Answers:
    """Draw what lies behind the connector: scores that use the class evidence that is left, with noise.

    R is as good as the encoder's probe. The last token reads as well as the answers.
    """
    level = READ[dict(sizes)["train"]]
    aim = WEAK if weak else level - (LOSS if lost else 0)
    rng = np.random.default_rng([seed, int(weak), int(lost), 17])
    scores, labels = {}, {}
    for place, (split, count) in enumerate(sizes):
        labels[split], evidence = draw_evidence(count, [seed, place])
        scores[split] = _scores(evidence, aim, lost, rng)
        if split == "test":
            reference = _scores(evidence, level, False, np.random.default_rng([seed, 18])).argmax(axis=1)
            last = _scores(evidence, aim, lost, rng).argmax(axis=1)
    maps = fit_score_maps(scores["train"], labels["train"], scores["val"], labels["val"])
    mapped = apply_score_maps(maps, scores["test"])
    four = mapped.plain, mapped.without_prior, mapped.relabelled, mapped.logistic
    return _Answers(labels["test"], reference, last, four)


def _scores(
    evidence: NDArray[np.float32], aim: float, lost: bool, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return scores (images, 2) whose argmax has the accuracy A that is aimed at."""
    shift = np.array([SHIFT[0], 0.0] if lost else SHIFT)
    strength = float(np.linalg.norm(shift))
    noise = np.sqrt(max(0.0, (strength / separation(aim)) ** 2 - 1))
    value = evidence @ (shift / strength) + noise * rng.standard_normal(len(evidence))
    return np.stack([-value, value], axis=1)


def pack(predictions: NDArray[np.int64]) -> Any:
    """Write predictions (..., images) as a digit an image."""
    if predictions.ndim == 1:
        return "".join(map(str, predictions.tolist()))
    return [pack(row) for row in predictions]


def unpack(written: Any) -> NDArray[np.int64]:
    """Read what `pack` wrote."""
    if isinstance(written, str):
        return np.array([int(digit) for digit in written])
    return np.stack([unpack(row) for row in written])
