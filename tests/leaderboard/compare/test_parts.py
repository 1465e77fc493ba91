"""What is compared beside the accuracy: against the records' own scores, plain loops and planted losses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from leaderboard.compare.comparison import compare_results
from leaderboard.compare.drops import drop_changes
from leaderboard.compare.health import health_changes
from leaderboard.compare.measured import Measured
from leaderboard.compare.parts import Change, LeftOut, Pair, balanced_accuracy_change, paired_change
from leaderboard.scoring.answers import score_answers
from leaderboard.scoring.diagnosis import gather
from leaderboard.scoring.health import score_health
from probes.verdict.health import feature_health_score
from probes.verdict.waterfall import waterfall
from tests.leaderboard.compare.compared import changed, of_made_up, run
from tests.leaderboard.lines import CLASSES, made_up, probe

DROPS = ("drop_vision", "drop_connector", "drop_comprehension", "drop_mapping")
SCORES = ("fhs_vision", "fhs_connector", "fhs_llm")


def by_name(changes: tuple[Change, ...]) -> dict[str, Change]:
    return {change.name: change for change in changes}


@pytest.fixture(scope="module")
def unchanged() -> Pair:
    return Pair(run(1, images=400), run(2, images=400))


def test_every_value_is_the_one_that_the_record_of_that_run_holds(unchanged: Pair) -> None:
    health, _ = health_changes(unchanged, "linear")
    drops, _ = drop_changes(unchanged)
    balanced = balanced_accuracy_change(unchanged)
    for side, which in ((unchanged.baseline, "baseline"), (unchanged.candidate, "candidate")):
        filed = score_health(side.probes, side.test, final=0.5)
        assert filed is not None
        parts = (filed.vision, filed.connector, filed.llm)
        assert [getattr(change, which) for change in health] == pytest.approx([part.fhs for part in parts])
        evidence = gather(side.samples, side.probes, CLASSES)
        assert evidence is not None
        terms = waterfall(evidence.predictions).drops
        assert [getattr(change, which) for change in drops] == pytest.approx(
            [term.gap.value for term in terms]
        )
        answers = score_answers(side.samples, classes=CLASSES, headline="scores", primary_prompt="plain")
        assert getattr(balanced, which) == pytest.approx(answers.balanced_accuracy.value)
    assert [change.name for change in (*health, *drops)] == [*SCORES, *DROPS]


def test_a_change_is_the_candidate_minus_the_baseline_in_its_interval(unchanged: Pair) -> None:
    (task,) = compare_results([(unchanged.baseline, unchanged.candidate)]).tasks
    assert [change.name for change in task.secondary] == ["balanced_accuracy", *SCORES, *DROPS]
    for change in task.secondary:
        assert change.value == pytest.approx(change.candidate - change.baseline)
        assert change.low <= change.value <= change.high
        assert change.p <= change.p_adjusted
        assert change.p_adjusted > 0.05  # nothing changed
    assert task.left_out == ()


def test_balanced_accuracy_is_resampled_as_a_plain_loop_does(unchanged: Pair) -> None:
    found = balanced_accuracy_change(unchanged)
    labels = unchanged.labels
    predicted = [np.array([line.predicted for line in side.test]) for side in unchanged.sides]
    rng = np.random.default_rng(8)
    gaps = []
    for _ in range(3000):
        chosen = rng.integers(len(labels), size=len(labels))
        recall = [
            np.mean([(p[chosen] == k)[labels[chosen] == k].mean() for k in range(CLASSES)]) for p in predicted
        ]
        gaps.append(recall[1] - recall[0])
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(gaps, [0.025, 0.975])), abs=0.006)
    twice = 2 * min(np.mean(np.array(gaps) <= 0), np.mean(np.array(gaps) >= 0))
    assert found.p == pytest.approx(min(1, twice), abs=0.04)


def test_a_run_beside_itself_changes_nothing(unchanged: Pair) -> None:
    (task,) = compare_results([(unchanged.baseline, unchanged.baseline)]).tasks
    for change in task.secondary:
        assert (change.value, change.p) == (0, 1)
        assert change.low < 0 < change.high


@pytest.mark.parametrize(
    ("lost", "drop", "score"),
    [
        (
            {"vision": 0.65, "connector": 0.65, "last_token": 0.65, "image_mean": 0.65, "answers": 0.65},
            0,
            "fhs_vision",
        ),
        ({"connector": 0.65, "last_token": 0.65, "image_mean": 0.65, "answers": 0.65}, 1, "fhs_connector"),
        ({"last_token": 0.65, "answers": 0.65}, 2, "fhs_llm"),
    ],
)
def test_a_planted_loss_is_seen_at_its_place(lost: dict[str, float], drop: int, score: str) -> None:
    (task,) = compare_results([(run(1, images=500), run(2, images=500, **lost))]).tasks
    assert task.decision.verdict == "regressed"
    found = by_name(task.secondary)
    rises = {name: found[name] for name in DROPS}
    significant = [name for name, change in rises.items() if change.p_adjusted < 0.05]
    assert significant == [DROPS[drop]]
    assert rises[DROPS[drop]].value > 0.1
    assert rises[DROPS[drop]].better == "lower"
    assert found[score].value < 0
    assert found[score].p_adjusted < 0.05


def test_swapped_answers_are_a_loss_of_the_mapping() -> None:
    sizes = {"train": 150, "val": 100, "test": 400}
    before = made_up(3, sizes=sizes)
    after = made_up(3, sizes=sizes, spoken=lambda scores: scores[:, [1, 0, 2, 3]])
    (task,) = compare_results([(of_made_up(before), of_made_up(after))]).tasks
    found = by_name(task.secondary)
    assert task.decision.verdict == "regressed"
    assert [n for n in DROPS if found[n].p_adjusted < 0.05] == ["drop_mapping"]
    # The probes are the same in both runs.
    assert [found[name].value for name in SCORES] == [0, 0, 0]


def test_noise_alone_is_no_change_of_health() -> None:
    for number in range(6):
        pair = Pair(*(run(2 * number + side, images=60, shared=number) for side in (0, 1)))
        for change in health_changes(pair, "linear")[0]:
            assert change.low < 0 < change.high
            assert change.p > 0.01
            assert change.noise_limited is not None


def flat(own: int, layers: int = 8) -> Measured:
    """A run on 60 images whose vision layers all have the same true accuracy."""
    made = run(own, images=60)
    rng = np.random.default_rng(own)
    lines = [line for line in made.probes if line.module != "vision"]
    for split in ("val", "test"):
        labels = np.array([line.label for line in made.samples if line.split == split])
        for layer in range(layers):
            said = (labels + (rng.random(len(labels)) > 0.85)) % CLASSES
            place = {"site": f"vision.{layer:02d}", "layer": layer, "consumed": layer == layers - 1}
            lines.append(probe("vision", split, said, **place))
    return replace(made, probes=tuple(lines))


def test_what_noise_may_explain_is_no_change_of_health() -> None:
    pair = Pair(flat(1), flat(2))
    found = by_name(health_changes(pair, "linear")[0])["fhs_vision"]
    curves = [
        np.array(
            [
                np.array(line.predictions) == pair.labels
                for line in side.probes
                if line.split == "test" and line.module == "vision"
            ]
        )
        for side in pair.sides
    ]
    rng = np.random.default_rng(1)
    gaps = []
    for _ in range(2000):
        chosen = rng.integers(60, size=60)
        scores = [feature_health_score(curve[:, chosen].mean(axis=1)) for curve in curves]
        gaps.append(float(scores[1] - scores[0]))
    low, high = np.quantile(gaps, [0.025, 0.975])
    assert found.value == pytest.approx(np.mean(gaps), abs=0.03)
    assert found.value != 0
    assert found.p == 1  # the resamples alone would not be so sure
    # What noise may have done to either curve comes to their interval.
    assert high - low + 0.05 < found.high - found.low < 3 * (high - low)
    assert found.noise_limited


def test_group_names_need_not_be_the_same() -> None:
    first, second = run(1, images=120, per_group=3), run(2, images=120, per_group=3)
    renamed = replace(
        second,
        samples=tuple(
            s.model_copy(update={"group": f"{s.split}-{99 - int(s.group.removeprefix(s.split)):02d}"})
            for s in second.samples
        ),
    )
    assert compare_results([(first, second)]) == compare_results([(first, renamed)])


def left(found: tuple[LeftOut, ...]) -> dict[str, str]:
    return {one.name: one.reason for one in found}


def test_what_one_run_lacks_is_left_out_with_the_reason(unchanged: Pair) -> None:
    unwatched = replace(unchanged.candidate, probes=())
    (task,) = compare_results([(unchanged.baseline, unwatched)]).tasks
    assert [change.name for change in task.secondary] == ["balanced_accuracy"]
    assert set(left(task.left_out)) == {*SCORES, *DROPS}
    assert all("in the candidate" in one.reason for one in task.left_out)
    both = replace(unchanged, baseline=replace(unchanged.baseline, probes=()), candidate=unwatched)
    assert "in the baseline and candidate" in left(health_changes(both, "linear")[1])["fhs_llm"]
    assert set(left(health_changes(unchanged, "paper")[1])) == set(SCORES)


def test_probes_that_learned_from_other_images_are_left_out(unchanged: Pair) -> None:
    halved = run(2, images=400, fit=100)
    relearned = replace(
        unchanged.candidate,
        samples=(*(s for s in halved.samples if s.split != "test"), *unchanged.candidate.test),
    )
    (task,) = compare_results([(unchanged.baseline, relearned)]).tasks
    assert [change.name for change in task.secondary] == ["balanced_accuracy"]
    assert "learned from other images: 150 of train in the baseline, 100" in left(task.left_out)["fhs_vision"]


def test_a_drop_from_another_reference_is_left_out(unchanged: Pair) -> None:
    other = changed(unchanged.candidate, reference="a ResNet")
    found, missing = drop_changes(replace(unchanged, candidate=other))
    assert [change.name for change in found] == list(DROPS[1:])
    assert "different references: 'two small networks' and 'a ResNet'" in left(missing)["drop_vision"]
    without = Measured("y", other.record.model_copy(update={"floors": None}), other.samples, other.probes)
    found, missing = drop_changes(replace(unchanged, candidate=without))
    assert [change.name for change in found] == list(DROPS[1:])
    assert left(missing)["drop_vision"] == "no reference classifier in the candidate"


def test_answers_read_from_text_have_no_drops(unchanged: Pair) -> None:
    read = [changed(side, headline="generated") for side in unchanged.sides]
    found, missing = drop_changes(Pair(read[0], read[1]))
    assert found == ()
    assert set(left(missing)) == set(DROPS)


def test_probes_without_validation_have_no_drops(unchanged: Pair) -> None:
    tested = replace(
        unchanged.baseline, probes=tuple(x for x in unchanged.baseline.probes if x.split == "test")
    )
    assert set(left(drop_changes(replace(unchanged, baseline=tested))[1])) == set(DROPS)


def test_rounding_is_no_change() -> None:
    noise = np.full(1000, 1e-17)
    assert paired_change("accuracy", "share", "higher", (0.5, 0.5), (noise, 2 * noise), 50).p == 1
