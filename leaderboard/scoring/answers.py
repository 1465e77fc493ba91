"""Score the answers: how often right, how sure, what kind of mistakes, and how much the wording matters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leaderboard.record.parts import Interval
from leaderboard.record.record import AnswersPart, Headline, Outcomes, ReliabilityBin
from leaderboard.record.samples import NO_CLASS, Asked, SampleLine
from leaderboard.scoring.reading import best
from probes.stats.bootstrap import (
    ClusterBootstrap,
    balanced_accuracy_estimate,
    calibration_error_estimate,
    macro_auroc_estimate,
    macro_f1_estimate,
)
from probes.stats.metrics import ece_bins, proportion_estimate, softmax
from probes.verdict.mapping import (
    MappedAnswers,
    ScoreMaps,
    apply_score_maps,
    fit_score_maps,
    permutation_p,
    score_array,
)
from tasks.questions import LETTERS
from tasks.sources import SPLITS

Integers = NDArray[np.integer]

DRAWS = 2_000  # of the cluster bootstrap behind an interval


class Remapped(NamedTuple):
    """The label scores' answers to the test images under maps of the scores; `p` is that of the relabelling."""

    maps: ScoreMaps
    answers: MappedAnswers
    p: float


def score_answers(
    samples: Sequence[SampleLine], *, classes: int, headline: Headline, primary_prompt: str, seed: int = 0
) -> AnswersPart:
    """Score the answers to the test images.

    Args:
        samples: the lines of the test images, and of train and validation where these were asked: the
            maps of the label scores are fitted on them and nothing else is.
        classes: number of classes of the task.
        headline: whether label scores or the parsed free text are the headline.
        primary_prompt: id of the prompt that `SampleLine.scores` belong to.
        seed: of the bootstrap.
    """
    test = [line for line in samples if line.split == "test"]
    labels, groups = np.array([line.label for line in test]), [line.group for line in test]
    predicted = predicted_classes(test)
    resamples = ClusterBootstrap.of(groups, draws=DRAWS, seed=seed)
    prompts = _prompt_correct(test, primary_prompt)
    letters = _letters(test)
    by_label = {name: p for name, p in prompts.items() if name not in letters}
    spread = [float(correct.mean()) for correct in by_label.values()]
    generated = [line.generated_outcome for line in test if line.generated_outcome is not None]
    written = len(generated) == len(test)
    return AnswersPart(
        accuracy=_share(predicted == labels, groups),
        balanced_accuracy=Interval.of(balanced_accuracy_estimate(labels, predicted, resamples)),
        macro_f1=Interval.of(macro_f1_estimate(labels, predicted, resamples)),
        headline_source=headline,
        outcomes=Outcomes.of(line.outcome for line in test),
        generated_accuracy=_share([one == "correct" for one in generated], groups) if written else None,
        generated_outcomes=Outcomes.of(generated) if written else None,
        letters_accuracy=_share(np.mean([prompts[name] for name in letters], axis=0), groups)
        if letters
        else None,
        order_consistency=_share(_consistent(test, letters), groups) if letters else None,
        prompt_accuracies={name: _share(correct, groups) for name, correct in prompts.items()},
        prompt_spread=max(spread) - min(spread) if len(spread) > 1 else None,
        prompt_spread_interval=prompt_spread_interval(by_label, resamples),
        order_accuracies=order_accuracies(test, letters),
        majority_accuracy=max(Counter(labels.tolist()).values()) / len(labels),
        confusion=confusion(labels, predicted, classes),
        **_of_label_scores(samples, labels, classes, resamples, read=headline == "scores"),
    )


def predicted_classes(test: Sequence[SampleLine]) -> NDArray[np.int64]:
    """Return the headline's class for each test image, shape (images,), `NO_CLASS` where there is none."""
    return np.array([NO_CLASS if line.predicted is None else line.predicted for line in test], dtype=np.int64)


def remap(samples: Sequence[SampleLine], classes: int) -> Remapped | None:
    """Fit the maps of the label scores on train, choose on validation, and apply them to test.

    None where a split has no label scores. See `probes.verdict.mapping`.
    """
    by_split = {name: [line for line in samples if line.split == name] for name in SPLITS}
    scores = {name: score_array((s.scores for s in part), classes) for name, part in by_split.items()}
    if not all(np.isfinite(part).all(axis=1).any() for part in scores.values()):
        return None
    labels = {name: np.array([s.label for s in part]) for name, part in by_split.items()}
    maps = fit_score_maps(scores["train"], labels["train"], scores["val"], labels["val"])
    answers = apply_score_maps(maps, scores["test"])
    return Remapped(maps, answers, permutation_p(maps, answers, labels["test"]))


def _of_label_scores(
    samples: Sequence[SampleLine], labels: Integers, classes: int, resamples: ClusterBootstrap, *, read: bool
) -> dict[str, Any]:
    """Return the parts that label scores alone give: none without `read`, some where an image has no scores."""
    found: dict[str, Any] = {"auroc": None, "ece": None}
    remapped = remap(samples, classes) if read else None
    if remapped is not None:
        found |= {
            "mapped": {
                name: Interval.of(balanced_accuracy_estimate(labels, answers, resamples))
                for name, answers in vars(remapped.answers).items()
            },
            "relabelling": remapped.maps.permutation,
            "relabelling_p": remapped.p,
        }
    scores = [line.scores for line in samples if line.split == "test"]
    if read and None not in scores:
        shares = softmax(np.array(scores))
        auroc = macro_auroc_estimate(labels, shares, resamples)
        found |= {
            "auroc": Interval.of(auroc) if auroc else None,  # None where all images are of one class
            "ece": Interval.of(calibration_error_estimate(labels, shares, resamples)),
            "label_prior": tuple(shares.mean(axis=0).tolist()),
            "reliability": reliability(labels, shares),
        }
    return found


def confusion(labels: Integers, predicted: Integers, classes: int) -> tuple[tuple[int, ...], ...]:
    """Count images by true class (rows) and predicted class (columns, the last for no class)."""
    counts = np.zeros((classes, classes + 1), dtype=int)
    np.add.at(counts, (labels, np.where(predicted == NO_CLASS, classes, predicted)), 1)
    return tuple(map(tuple, counts.tolist()))


def reliability(labels: Integers, probabilities: NDArray[np.float64]) -> tuple[ReliabilityBin, ...]:
    """Return the bins behind the calibration error that hold an image, from unsure to sure."""
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = ece_bins(confidence)
    return tuple(
        ReliabilityBin(
            confidence=float(confidence[place == bin].mean()),
            accuracy=float(correct[place == bin].mean()),
            count=int((place == bin).sum()),
        )
        for bin in np.unique(place)
    )


def order_accuracies(test: Sequence[SampleLine], prompts: Sequence[str]) -> dict[str, Interval]:
    """Return the accuracy on each option order, and by the letter of the right option.

    Keys are "prompt/0-2-1" for an order, the classes from option A on, where every image was asked under the
    same orders, and "prompt/right at A" for all questions whose right option was A. An image that was asked
    so more than once counts with the share that was right.
    """
    found: dict[str, Interval | None] = {}
    for prompt in prompts:
        asked = [[one for one in line.orders if one.prompt == prompt] for line in test]
        if len({tuple(sorted(one.order for one in same)) for same in asked}) == 1:
            for order in sorted(one.order for one in asked[0]):
                chosen = [[one for one in same if one.order == order] for same in asked]
                found[f"{prompt}/{'-'.join(map(str, order))}"] = _accuracy(test, chosen)
        for place in range(max(len(one.order) for same in asked for one in same)):
            chosen = [
                [one for one in same if one.order[place] == line.label]
                for line, same in zip(test, asked, strict=True)
            ]
            found[f"{prompt}/right at {LETTERS[place]}"] = _accuracy(test, chosen)
    return {name: value for name, value in found.items() if value is not None}


def _accuracy(test: Sequence[SampleLine], chosen: Sequence[Sequence[Asked]]) -> Interval | None:
    """Return the accuracy over the images with a chosen question; None where no image has one."""
    pairs = [(line, same) for line, same in zip(test, chosen, strict=True) if same]
    if not pairs:
        return None
    correct = np.array([np.mean([one.predicted == line.label for one in same]) for line, same in pairs])
    return Interval.of(proportion_estimate(correct, [line.group for line, _ in pairs]))


def prompt_spread_interval(
    correct: Mapping[str, NDArray[np.float64]], resamples: ClusterBootstrap
) -> Interval | None:
    """Return the largest minus the smallest accuracy over prompts, with its interval; None for one prompt.

    The observed spread is larger than the true one on average, because noise alone tells a largest from a
    smallest; a percentile interval of it would lie too high. With e the errors of the prompts' accuracies,
    the spread is off by at most max e - min e, so the interval reaches as far to both sides as the 95%
    quantile of that over paired draws of whole groups (one bound for all pairs of prompts, as Tukey's). It
    starts at 0 where no two prompts can be told apart, and covers more often than in 95% of cases.

    Args:
        correct: for each prompt, how right each test image was, from 0 to 1, (images,).
        resamples: of the test images.
    """
    if len(correct) < 2:
        return None
    stacked = np.stack(list(correct.values()))
    means = stacked.mean(axis=1)
    value = float(means.max() - means.min())
    errors = resamples.means(stacked) - means
    reach = float(np.quantile(errors.max(axis=1) - errors.min(axis=1), 0.95))
    return Interval(
        value=value, low=max(0.0, value - reach), high=min(1.0, value + reach), n=stacked.shape[1]
    )


def _prompt_correct(test: Sequence[SampleLine], primary_prompt: str) -> dict[str, NDArray[np.float64]]:
    """Return, for each prompt, how right each image was: the share of its option orders."""
    correct = {primary_prompt: [float(best(line.scores) == line.label) for line in test]}
    for prompt in dict.fromkeys(asked.prompt for line in test for asked in line.orders):
        correct[prompt] = [
            float(np.mean([a.predicted == line.label for a in line.orders if a.prompt == prompt]))
            for line in test
        ]
    return {prompt: np.array(values) for prompt, values in correct.items()}


def _letters(test: Sequence[SampleLine]) -> tuple[str, ...]:
    """Return the prompts that were asked under more than one option order."""
    counted = Counter(asked.prompt for asked in test[0].orders)
    return tuple(prompt for prompt, orders in counted.items() if orders > 1)


def _consistent(test: Sequence[SampleLine], letters: Sequence[str]) -> list[bool]:
    """Tell for each image whether every option order gave the same class."""
    return [
        all(
            len({a.predicted for a in line.orders if a.prompt == prompt}) == 1
            and all(a.predicted is not None for a in line.orders if a.prompt == prompt)
            for prompt in letters
        )
        for line in test
    ]


def _share(correct: Sequence[bool] | NDArray[np.float64], groups: Sequence[str]) -> Interval:
    return Interval.of(proportion_estimate(np.asarray(correct, dtype=float), groups))
