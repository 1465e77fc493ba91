"""Sample and probe lines of a made-up run, with a loss where a test wants it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from leaderboard.record.samples import ProbeLine, SampleLine

CLASSES = 4
SIZES = {"train": 300, "val": 150, "test": 800}

PLACES = {
    "reference": ("image", "reference", "mean"),
    "pixels": ("image", "pixels", "mean"),
    "early": ("vision", "vision.00", "mean"),
    "vision": ("vision", "vision.01", "mean"),
    "connector": ("connector", "connector.00", "mean"),
    "image_mean": ("llm", "llm.02", "mean"),
    "last_token": ("llm", "llm.02", "last"),
}
ACCURACIES = dict.fromkeys(PLACES, 0.85) | {"pixels": 0.5, "early": 0.5, "answers": 0.85}


@dataclass(frozen=True)
class MadeUp:
    """The lines of a run."""

    samples: tuple[SampleLine, ...]
    lines: tuple[ProbeLine, ...]

    def test(self) -> list[SampleLine]:
        return [line for line in self.samples if line.split == "test"]

    def predictions(self, site: str, pool: str = "mean", split: str = "test") -> np.ndarray:
        (found,) = [line for line in self.lines if (line.site, line.pool, line.split) == (site, pool, split)]
        return np.array(found.predictions)


def made_up(
    seed: int = 0,
    *,
    sizes: dict[str, int] = SIZES,
    spoken: Callable[[np.ndarray], np.ndarray] = lambda scores: scores,
    per_group: int = 1,
    **accuracies: float,
) -> MadeUp:
    """Draw a run whose places have the given accuracies, their errors mostly on the same, hard images.

    `spoken` turns the label scores (images, classes) of a model that answers with the accuracy `answers`
    into those it gives.
    """
    rng = np.random.default_rng(seed)
    wanted = ACCURACIES | accuracies
    samples: list[SampleLine] = []
    lines: list[ProbeLine] = []
    for split, count in sizes.items():
        labels = rng.integers(CLASSES, size=count)
        hardness = rng.standard_normal(count // per_group + 1)[np.arange(count) // per_group]

        def predicted(accuracy: float, labels=labels, hardness=hardness, count=count) -> np.ndarray:
            own = 0.9 * hardness + np.sqrt(1 - 0.81) * rng.standard_normal(count)
            other = (labels + rng.integers(1, CLASSES, size=count)) % CLASSES
            return np.where(own < norm.ppf(accuracy), labels, other)

        scores = 4.0 * np.eye(CLASSES)[predicted(wanted["answers"])] + rng.normal(size=(count, CLASSES))
        scores = spoken(np.log(np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)))
        samples += [
            sample(split, i, int(labels[i]), scores[i].tolist(), group=f"{split}{i // per_group}")
            for i in range(count)
        ]
        if split != "train":
            lines += [probe(name, split, predicted(wanted[name])) for name in PLACES]
    return MadeUp(tuple(samples), tuple(lines))


def sample(
    split: str, number: int, label: int, scores: list[float] | None, *, group: str, **changes: object
) -> SampleLine:
    best = None if scores is None else int(np.argmax(scores))
    outcome = "error" if best is None else "correct" if best == label else "wrong"
    return SampleLine.model_validate(
        {
            "id": f"{split}/{number:05d}",
            "split": split,
            "pixel_hash": "0",
            "label": label,
            "group": group,
            "scores": scores,
            "scores_normalised": scores,
            "predicted": best,
            "text": None,
            "read": None,
            "outcome": outcome,
            "generated_outcome": None,
            "orders": (),
            **changes,
        }
    )


def probe(name: str, split: str, predictions: np.ndarray, **changes: object) -> ProbeLine:
    module, site, pool = PLACES[name]
    return ProbeLine.model_validate(
        {
            "site": site,
            "module": module,
            "layer": int(site.partition(".")[2] or 0),
            "pool": pool,
            "width": 8,
            "consumed": name == "vision",
            "readout": "floor" if module == "image" else "linear",
            "seed": 0,
            "split": split,
            "predictions": tuple(predictions.tolist()),
            "scores": tuple(map(tuple, np.eye(CLASSES)[predictions].tolist())),
            **changes,
        }
    )
