"""Compute a record's scores from its lines. A run files with it, a verifier recomputes with it.

Everything here follows from `samples.jsonl` and `probes.jsonl` alone (and from the declared
permutation p-values, which need the features).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from leaderboard.record.parts import Interval
from leaderboard.record.record import AnswersPart, Outcomes, ProbePart
from leaderboard.record.samples import ProbeLine, SampleLine
from leaderboard.scoring import answer_tests
from leaderboard.scoring.answer_tests import NO_CLASS as NO_CLASS
from leaderboard.scoring.answer_tests import to_interval as _interval
from probes.stats import bootstrap, metrics
from probes.stats.bootstrap import ClusterBootstrap

Headline = Literal["scores", "generated"]
SiteKey = tuple[str, str, str]  # readout, site, pool

SCORING_VERSION = 2  # raised when a score is computed differently
DRAWS = 2_000  # of the cluster bootstrap behind an interval
MAIN_READOUT = "linear"  # the one a verdict uses
CLASS_READOUTS = ("linear", "paper")  # the readouts whose lines are probes of the class at a site


def best(scores: Sequence[float] | None) -> int | None:
    """Return the index of the highest score; None without scores. A tie goes to the first."""
    return None if scores is None else int(np.argmax(scores))


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
    labels = np.array([line.label for line in test])
    groups = [line.group for line in test]
    predicted = _classes(line.predicted for line in test)
    resamples = ClusterBootstrap.of(groups, draws=DRAWS, seed=seed)
    probabilities = _probabilities(test) if headline == "scores" else None
    generated = [line.generated_outcome for line in test]
    prompts = _prompt_correct(test, primary_prompt)
    letters = _letters(test)
    by_label = {name: p for name, p in prompts.items() if name not in letters}
    mapped = answer_tests.mapped_answers(samples, classes, resamples) if headline == "scores" else None
    return AnswersPart(
        accuracy=_interval(metrics.proportion_estimate(predicted == labels, groups)),
        balanced_accuracy=_interval(bootstrap.balanced_accuracy_estimate(labels, predicted, resamples)),
        macro_f1=_interval(bootstrap.macro_f1_estimate(labels, predicted, resamples)),
        auroc=_auroc(labels, probabilities, resamples),
        ece=None
        if probabilities is None
        else _interval(bootstrap.calibration_error_estimate(labels, probabilities, resamples)),
        headline_source=headline,
        outcomes=count_outcomes(line.outcome for line in test),
        generated_accuracy=None
        if None in generated
        else _share([outcome == "correct" for outcome in generated], groups),
        generated_outcomes=None
        if None in generated
        else count_outcomes(o for o in generated if o is not None),
        letters_accuracy=_share(np.mean([prompts[name] for name in letters], axis=0), groups)
        if letters
        else None,
        order_consistency=_share(_consistent(test, letters), groups) if letters else None,
        prompt_accuracies={name: _share(correct, groups) for name, correct in prompts.items()},
        prompt_spread=_spread(by_label.values()) if len(by_label) > 1 else None,
        prompt_spread_interval=answer_tests.prompt_spread_interval(by_label, resamples),
        order_accuracies=answer_tests.order_accuracies(test, letters),
        majority_accuracy=max(Counter(labels.tolist()).values()) / len(labels),
        confusion=answer_tests.confusion(labels, predicted, classes),
        label_prior=None if probabilities is None else tuple(probabilities.mean(axis=0).tolist()),
        mapped=mapped.mapped if mapped else None,
        relabelling=mapped.relabelling if mapped else None,
        relabelling_p=mapped.relabelling_p if mapped else None,
        reliability=None if probabilities is None else answer_tests.reliability(labels, probabilities),
    )


def score_probes(
    lines: Iterable[ProbeLine],
    test: Sequence[SampleLine],
    permutation_p: Mapping[SiteKey, float],
    *,
    seed: int = 0,
) -> tuple[ProbePart, ...]:
    """Score every probe on the test images; a readout's seeds are averaged."""
    labels = np.array([line.label for line in test])
    groups = [line.group for line in test]
    resamples = ClusterBootstrap.of(groups, draws=DRAWS, seed=seed)
    return tuple(
        _probe_part(same, labels, groups, resamples, permutation_p.get(key))
        for key, same in by_site(lines).items()
    )


def by_site(lines: Iterable[ProbeLine]) -> dict[SiteKey, list[ProbeLine]]:
    """Gather the test lines of each readout and site over its seeds, in the order of the lines.

    Lines of other readouts than `CLASS_READOUTS` are passed over.
    """
    found: dict[SiteKey, list[ProbeLine]] = {}
    for line in lines:
        if line.split == "test" and line.readout in CLASS_READOUTS:
            found.setdefault((line.readout, line.site, line.pool), []).append(line)
    return found


def mean_correct(lines: Sequence[ProbeLine], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return, per test image, the share of seeds whose probe was right, shape (images,)."""
    return cast(
        NDArray[np.float64], np.mean([np.array(line.predictions) == labels for line in lines], axis=0)
    )


def _probe_part(
    lines: Sequence[ProbeLine],
    labels: NDArray[np.integer],
    groups: Sequence[str],
    resamples: ClusterBootstrap,
    permutation_p: float | None,
) -> ProbePart:
    first = lines[0]
    # With several seeds the metrics of one probe are not defined image by image, but those of their mean
    # scores are; accuracy stays the mean over seeds, as the paper reports it.
    scores = np.mean([np.array(line.scores) for line in lines], axis=0)
    predicted = np.array(first.predictions) if len(lines) == 1 else scores.argmax(axis=1)
    return ProbePart(
        site=first.site,
        module=first.module,
        layer=first.layer,
        pool=first.pool,
        readout=first.readout,
        seeds=tuple(line.seed for line in lines),
        consumed=first.consumed,
        accuracy=_share(mean_correct(lines, labels), groups),
        balanced_accuracy=_interval(bootstrap.balanced_accuracy_estimate(labels, predicted, resamples)),
        auroc=_auroc(labels, scores, resamples),
        permutation_p=permutation_p,
    )


def _classes(predicted: Iterable[int | None]) -> NDArray[np.int64]:
    return np.array([NO_CLASS if p is None else p for p in predicted], dtype=np.int64)


def _probabilities(test: Sequence[SampleLine]) -> NDArray[np.float64] | None:
    """Return the softmax over the labels, or None where an image has no scores."""
    if any(line.scores is None for line in test):
        return None
    return metrics.softmax(np.array([line.scores for line in test]))


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


def _spread(correct: Iterable[NDArray[np.float64]]) -> float:
    means = [float(values.mean()) for values in correct]
    return max(means) - min(means)


def count_outcomes(found: Iterable[str]) -> Outcomes:
    """Count what became of the images."""
    counted = Counter(found)
    return Outcomes(
        correct=counted["correct"],
        wrong=counted["wrong"],
        no_answer=counted["no_answer"],
        error=counted["error"],
    )


def _auroc(
    labels: NDArray[np.integer], scores: NDArray[np.float64] | None, resamples: ClusterBootstrap
) -> Interval | None:
    """Return the macro AUROC, or None without scores or where the test images are all of one class."""
    if scores is None:
        return None
    estimate = bootstrap.macro_auroc_estimate(labels, scores, resamples)
    return None if estimate is None else _interval(estimate)


def _share(correct: Sequence[bool] | NDArray[np.float64], groups: Sequence[str]) -> Interval:
    return _interval(metrics.proportion_estimate(np.asarray(correct, dtype=float), groups))
