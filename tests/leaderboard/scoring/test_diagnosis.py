"""The verdict from lines alone: it names what was planted, adds up, and guesses nothing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from leaderboard.record.checks import FloorPart, FloorsPart
from leaderboard.record.parts import Interval
from leaderboard.record.record import DiagnosisPart, PermutationPart, ProbePart
from leaderboard.scoring.diagnosis import gather, score_diagnosis, signal_tests
from probes.verdict.diagnosis import SignalTests
from tests.leaderboard.lines import CLASSES, MadeUp, made_up, probe

ROOT = Path(__file__).parents[3]
AFTER_VISION = ("vision", "connector", "image_mean", "last_token", "answers")


def diagnosed(run: MadeUp, **changes: object) -> DiagnosisPart | None:
    arguments = {
        "classes": CLASSES,
        "headline": "scores",
        "signal": SignalTests(reference=0.001, pixels=0.005, vision=0.005, consumed_vision=0.005),
        "reference": "a small network",
        **changes,
    }
    return score_diagnosis(run.samples, run.lines, **arguments)  # type: ignore[arg-type]


def chance_corrected(labels: list[int], predicted: np.ndarray) -> float:
    return (balanced_accuracy_score(labels, predicted) - 1 / CLASSES) / (1 - 1 / CLASSES)


def cycle(scores: np.ndarray) -> np.ndarray:
    return np.roll(scores, 1, axis=1)


def prior(scores: np.ndarray) -> np.ndarray:
    return scores + np.array([3.0, 0.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("verdict", "detail", "planted"),
    [
        ("vision", None, dict.fromkeys(AFTER_VISION, 0.7)),
        ("connector", None, dict.fromkeys(AFTER_VISION[1:], 0.7)),
        ("comprehension", "erased", dict.fromkeys(AFTER_VISION[2:], 0.7)),
        ("comprehension", "not_routed", dict.fromkeys(AFTER_VISION[3:], 0.7)),
        ("comprehension", "not_used", dict.fromkeys(AFTER_VISION[4:], 0.7)),
        ("mapping", "label_permutation", {"spoken": cycle}),
        ("mapping", "label_prior", {"spoken": prior}),
        ("healthy", None, {}),
    ],
)
def test_a_planted_loss_is_named(verdict: str, detail: str | None, planted: dict) -> None:
    found = diagnosed(made_up(1, **planted))
    assert found is not None
    assert found.verdict == verdict
    assert detail is None or detail in found.details
    if verdict != "healthy":
        (worst,) = [drop for drop in found.drops if drop.mode == verdict]
        assert worst.significant
        assert worst.points > 10
        assert found.probabilities[verdict] > 0.8


def test_a_layer_that_is_not_read_is_a_wrong_layer() -> None:
    found = diagnosed(made_up(2, early=0.85, **dict.fromkeys(AFTER_VISION, 0.6)))
    assert found is not None
    assert found.verdict == "vision"
    assert "wrong_layer" in found.details


@settings(max_examples=5, deadline=None)
@given(
    seed=st.integers(0, 99),
    accuracies=st.fixed_dictionaries({name: st.floats(0.3, 0.95) for name in ("reference", *AFTER_VISION)}),
)
def test_drops_add_up_and_levels_are_those_of_scikit_learn(seed: int, accuracies: dict) -> None:
    run = made_up(seed, sizes={"train": 80, "val": 60, "test": 120}, per_group=2, **accuracies)
    found = diagnosed(run)
    assert found is not None
    labels = [line.label for line in run.test()]
    plain = np.array([line.predicted for line in run.test()])
    reference = chance_corrected(labels, run.predictions("reference"))
    answers = chance_corrected(labels, plain)
    assert sum(drop.value for drop in found.drops) == pytest.approx(reference - answers)
    assert found.parts["total"].value == pytest.approx(reference - answers)
    points = 100 * (np.mean(run.predictions("reference") == labels) - np.mean(plain == labels))
    assert sum(drop.points for drop in found.drops) == pytest.approx(points)
    assert found.levels["answers"] == pytest.approx(answers)
    for name, place in {
        "vision": ("vision.01", "mean"),
        "connector": ("connector.00", "mean"),
        "image_mean": ("llm.02", "mean"),
        "last_token": ("llm.02", "last"),
    }.items():
        assert found.levels[name] == pytest.approx(chance_corrected(labels, run.predictions(*place)))


def test_the_logistic_map_reads_as_much_as_that_of_scikit_learn() -> None:
    run = made_up(3, spoken=lambda s: cycle(prior(s)))
    found = diagnosed(run)
    assert found is not None
    x = {split: np.array([s.scores for s in run.samples if s.split == split]) for split in ("train", "test")}
    y = {split: [s.label for s in run.samples if s.split == split] for split in ("train", "test")}
    expected = LogisticRegression(max_iter=5000).fit(x["train"], y["train"]).predict(x["test"])
    assert found.levels["logistic"] == pytest.approx(chance_corrected(y["test"], expected), abs=0.02)


def test_an_image_without_scores_counts_as_wrong() -> None:
    run = made_up(4)
    lost = {line.id for line in run.test()[:100]}
    samples = tuple(
        line.model_copy(update={"scores": None, "predicted": None, "outcome": "error"})
        if line.id in lost
        else line
        for line in run.samples
    )
    before, after = diagnosed(run), diagnosed(replace(run, samples=samples))
    assert before is not None
    assert after is not None
    labels = [line.label for line in run.test()]
    spoken = [CLASSES if line.id in lost else line.predicted for line in run.test()]
    recalls = [
        np.mean([p == k for p, y in zip(spoken, labels, strict=True) if y == k]) for k in range(CLASSES)
    ]
    assert after.levels["answers"] == pytest.approx((np.mean(recalls) - 1 / CLASSES) / (1 - 1 / CLASSES))
    assert after.levels["answers"] < before.levels["answers"] - 0.05


def test_nothing_is_guessed_where_something_was_not_measured() -> None:
    run = made_up(5, sizes={"train": 80, "val": 60, "test": 100})
    assert diagnosed(run) is not None
    assert diagnosed(run, headline="generated") is None
    assert diagnosed(replace(run, lines=())) is None
    for site in ("vision.01", "connector.00", "llm.02"):
        assert diagnosed(replace(run, lines=tuple(p for p in run.lines if p.site != site))) is None
    for split in ("train", "val", "test"):
        samples = tuple(
            line.model_copy(update={"scores": None}) if line.split == split else line for line in run.samples
        )
        assert diagnosed(replace(run, samples=samples)) is None


def test_without_the_reference_vision_is_not_assessed() -> None:
    run = made_up(6)
    alone = replace(run, lines=tuple(line for line in run.lines if line.module != "image"))
    for found in (diagnosed(alone), diagnosed(run, reference=None)):
        assert found is not None
        assert [drop.mode for drop in found.drops] == ["connector", "comprehension", "mapping"]
        assert found.reference is None
        assert found.verdict == "undetermined"
        assert "not assessed" in " ".join(found.sentences or ())


def test_the_best_layer_is_chosen_on_validation() -> None:
    run = made_up(7, early=0.5)
    swapped = [
        probe("early", "val", np.array([s.label for s in run.samples if s.split == "val"]))
        if (line.site, line.split) == ("vision.00", "val")
        else line
        for line in run.lines
    ]
    found = diagnosed(replace(run, lines=tuple(swapped)))
    assert found is not None
    labels = [line.label for line in run.test()]
    assert found.levels["best_vision"] == pytest.approx(
        chance_corrected(labels, run.predictions("vision.00"))
    )
    plain = diagnosed(run)
    assert plain is not None
    assert plain.levels["best_vision"] == plain.levels["vision"]


def test_a_connector_that_merges_tokens_is_compared_with_what_it_reads() -> None:
    run = made_up(8)
    wrong = {split: (run.predictions("vision.01", split=split) + 1) % CLASSES for split in ("val", "test")}
    merged = tuple(probe("vision", split, wrong[split], pool="regrouped") for split in ("val", "test"))
    evidence = gather(run.samples, run.lines + merged, CLASSES)
    assert evidence is not None
    np.testing.assert_array_equal(evidence.predictions.vision, wrong["test"])


def test_no_signal_where_nothing_beats_permuted_labels() -> None:
    flat = made_up(9, **dict.fromkeys(("reference", "pixels", "early", *AFTER_VISION), 0.25))
    found = diagnosed(flat, signal=SignalTests(reference=0.4, pixels=0.2, vision=0.7, consumed_vision=0.7))
    assert found is not None
    assert found.verdict == "no_signal"


def test_declared_p_values_are_gathered_from_the_record() -> None:
    some = Interval(value=0.5, low=0.4, high=0.6, n=10)

    def part(
        site: str, module: str, pool: str, p: float, consumed: bool, readout: str = "linear"
    ) -> ProbePart:
        return ProbePart.model_validate(
            {
                "site": site,
                "module": module,
                "layer": 0,
                "pool": pool,
                "readout": readout,
                "seeds": (0,),
                "consumed": consumed,
                "accuracy": some,
                "balanced_accuracy": some,
                "auroc": None,
                "permutation_p": p,
            }
        )

    probes = [
        part("vision.00", "vision", "mean", 0.5, False),
        part("vision.01", "vision", "mean", 0.4, True),
        part("vision.01", "vision", "regrouped", 0.3, True),
        part("vision.01", "vision", "regrouped", 0.2, True, readout="paper"),
    ]

    def floor(name: str, p: float | None) -> FloorPart:
        return FloorPart(name=name, detail="d", accuracy=some, balanced_accuracy=some, permutation_p=p)

    floors = FloorsPart(
        key="k",
        reference=floor("reference", 0.01),
        pixels=floor("pixels", 0.02),
        majority=floor("majority", None),
    )
    permutation = PermutationPart(draws=200, highest=0.3, vision_p=0.03)
    assert signal_tests(probes, permutation, floors) == SignalTests(0.01, 0.02, 0.03, 0.3)
    assert signal_tests(probes[:2], None, None) == SignalTests(consumed_vision=0.4)


def test_it_needs_no_torch() -> None:
    modules = "leaderboard.scoring.score, leaderboard.scoring.recompute"
    program = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
