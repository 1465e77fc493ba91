"""Scores that are computed again, against scikit-learn, plain loops and plain arithmetic on the lines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from leaderboard.board.folder import BoardFolder
from leaderboard.record.record import DiagnosisPart, Record, RecordError
from leaderboard.record.samples import ProbeLine
from leaderboard.scoring.recompute import DECLARED, declared_parts, differences, recompute
from leaderboard.scoring.score import Declared, Lines, score
from leaderboard.verify.record_checks import check_declared, check_record
from tests.leaderboard.lines import CLASSES, MadeUp
from tests.leaderboard.made_submission import SIZES, image_list, made_board, made_record, made_run, small_task
from tests.leaderboard.verify.json_edits import leaves

Content = dict[str, Any]


@pytest.fixture(scope="module")
def run() -> MadeUp:
    return made_run(answers=0.7, last_token=0.6)


@pytest.fixture(scope="module")
def declared(run: MadeUp) -> Record:
    return made_record(run)


@pytest.fixture(scope="module")
def found(run: MadeUp, declared: Record) -> Record:
    """The record as it is computed from the lines, whatever it declared before."""
    return recompute(declared, Lines(run.samples, run.lines), small_task())


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> BoardFolder:
    return made_board(tmp_path_factory.mktemp("board") / "board")


def labels(run: MadeUp) -> np.ndarray:
    return np.array([line.label for line in run.test()])


def answered(run: MadeUp) -> np.ndarray:
    return np.array([line.scores for line in run.test()]).argmax(axis=1)


def test_accuracies_are_those_of_scikit_learn(run: MadeUp, found: Record) -> None:
    answers = found.answers
    assert answers is not None
    right, said = labels(run), answered(run)
    assert answers.accuracy.value == pytest.approx(np.mean(right == said))
    assert answers.balanced_accuracy.value == pytest.approx(balanced_accuracy_score(right, said))
    assert answers.macro_f1.value == pytest.approx(f1_score(right, said, average="macro"))
    scores = np.exp(np.array([line.scores for line in run.test()]))
    scores /= scores.sum(axis=1, keepdims=True)
    assert answers.auroc is not None
    assert answers.auroc.value == pytest.approx(roc_auc_score(right, scores, multi_class="ovr"))
    assert answers.majority_accuracy == np.bincount(right).max() / len(right)


def test_the_calibration_error_is_that_of_a_plain_loop(run: MadeUp, found: Record) -> None:
    bins: dict[int, list[tuple[float, bool]]] = {}
    for line in run.test():
        assert line.scores is not None
        powers = [math.exp(score) for score in line.scores]
        confidence = max(powers) / sum(powers)
        place = min(14, math.ceil(confidence * 15) - 1)
        bins.setdefault(place, []).append((confidence, line.scores.index(max(line.scores)) == line.label))
    error = sum(abs(sum(right for _, right in b) - sum(c for c, _ in b)) for b in bins.values()) / 60
    assert found.answers is not None
    assert found.answers.ece is not None
    assert found.answers.ece.value == pytest.approx(error)


def test_texts_and_letters_are_counted_by_a_plain_loop(run: MadeUp, found: Record) -> None:
    answers = found.answers
    assert answers is not None
    assert answers.generated_accuracy is not None
    assert answers.letters_accuracy is not None
    assert answers.generated_accuracy.value == pytest.approx(
        sum(
            line.text == f"It is {('normal', 'cyst', 'benign', 'malignant')[line.label]}."
            for line in run.test()
        )
        / 60
    )
    shares = []
    for line in run.test():
        letters = [one for one in line.orders if one.prompt == "letters"]
        assert len(letters) == 4
        shares.append(sum(one.predicted == line.label for one in letters) / 4)
    assert answers.letters_accuracy.value == pytest.approx(sum(shares) / 60)


def probe_line(run: MadeUp, site: str, pool: str = "mean") -> ProbeLine:
    (line,) = [
        one
        for one in run.lines
        if (one.site, one.pool, one.split) == (site, pool, "test") and one.readout != "answer_target"
    ]
    return line


def accuracy(run: MadeUp, site: str, pool: str = "mean") -> float:
    said = probe_line(run, site, pool).predictions
    return sum(a == b.label for a, b in zip(said, run.test(), strict=True)) / 60


def published_score(curve: Sequence[float]) -> float:
    """The Feature Health Score by its formula (arXiv 2604.08333)."""
    variation = 0.0
    for one, following in pairwise(curve):
        variation += abs(following - one)
    growth = math.log(curve[-1] / math.sqrt(curve[0] * min(curve)))
    return curve[-1] * (1 + growth) * math.exp(-0.2 * variation / curve[-1])


def test_the_health_profile_follows_the_published_formula(run: MadeUp, found: Record) -> None:
    assert found.health is not None
    assert found.answers is not None
    vision = published_score([accuracy(run, f"vision.0{layer}") for layer in (0, 1)])
    connector = published_score([accuracy(run, "connector.00")])
    decoder = published_score([accuracy(run, f"llm.0{layer}", "last") for layer in (0, 1, 2)])
    wanted = (vision, connector, decoder, found.answers.accuracy.value)
    assert found.health.profile == pytest.approx(wanted)


def test_the_waterfall_is_plain_arithmetic_on_the_lines(run: MadeUp, found: Record) -> None:
    diagnosis = found.diagnosis
    assert diagnosis is not None
    right = labels(run)

    def level(said: Sequence[int] | np.ndarray) -> float:
        return float((balanced_accuracy_score(right, said) - 1 / CLASSES) / (1 - 1 / CLASSES))

    reference, vision = (
        level(probe_line(run, "reference").predictions),
        level(probe_line(run, "vision.01").predictions),
    )
    connector, answers = level(probe_line(run, "connector.00").predictions), level(answered(run))
    drops = {drop.mode: drop.value for drop in diagnosis.drops}
    assert drops["vision"] == pytest.approx(reference - vision)
    assert drops["connector"] == pytest.approx(vision - connector)
    assert drops["comprehension"] + drops["mapping"] == pytest.approx(connector - answers)
    last = level(probe_line(run, "llm.02", "last").predictions)
    assert diagnosis.parts["lost_in_decoder"].value == pytest.approx(connector - last)
    assert diagnosis.parts["total"].value == pytest.approx(reference - answers)


def test_floors_and_letters_targets_are_counted_by_a_plain_loop(run: MadeUp, found: Record) -> None:
    assert found.floors is not None
    assert found.floors.reference.accuracy.value == pytest.approx(accuracy(run, "reference"))
    commonest = np.bincount([line.label for line in run.samples if line.split == "train"]).argmax()
    assert found.floors.majority.accuracy.value == pytest.approx(np.mean(labels(run) == commonest))
    assert found.answer_target is not None
    for part in found.answer_target:
        (line,) = [
            one
            for one in run.lines
            if (one.readout, one.split, one.layer) == ("answer_target", "test", part.layer)
        ]
        asked = list(zip(line.targets or (), line.predictions, strict=True))
        assert part.accuracy.value == pytest.approx(sum(t == p for t, p in asked) / len(asked))
        assert part.accuracy.n == len(asked) == 60


def test_a_run_as_it_is_filed_differs_in_nothing(declared: Record, found: Record) -> None:
    assert list(differences(declared, found)) == []
    assert found == declared


def places(content: Content) -> Iterator[tuple[Any, Any, str]]:
    """Yield every value of a record: its container, its key there, and its dotted place."""
    named = {id(content): ""}
    waiting: list[Any] = [content]
    while waiting:
        inner = waiting.pop()
        for key, value in inner.items() if isinstance(inner, dict) else enumerate(inner):
            if isinstance(value, dict | list):
                dot = "." if isinstance(inner, dict) and named[id(inner)] else ""
                named[id(value)] = named[id(inner)] + (
                    f"{dot}{key}" if isinstance(inner, dict) else f"[{key}]"
                )
                waiting.append(value)
    for container, key in leaves(content):
        place = named[id(container)]
        yield (
            container,
            key,
            place + (f"[{key}]" if isinstance(container, list) else f"{'.' if place else ''}{key}"),
        )


def other(value: Any) -> Any:
    """Return another value of the same kind, as a forger might write it."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value + 0.01
    if isinstance(value, str):
        return value + "x"
    return None


def is_declared(place: str, names: Sequence[str]) -> bool:
    plain = "".join(part for part in place.replace("]", "[").split("[") if not part.isdigit())
    for floor in ("reference", "pixels", "majority"):
        plain = plain.replace(f"floors.{floor}.", "floors.")
    return any(plain == name or plain.startswith((f"{name}.", f"{name}[")) for name in names)


def test_every_value_is_declared_or_found_when_it_is_changed(
    run: MadeUp, declared: Record, found: Record, board: BoardFolder
) -> None:
    """What a board does not call declared cannot be changed, wherever it stands."""
    names = declared_parts(found, SIZES["train"])
    content = json.loads(declared.model_dump_json())
    images, task = image_list(run), small_task()
    checked, free = 0, []
    for container, key, place in list(places(content)):
        before = container[key]
        container[key] = other(before)
        if container[key] is None or is_declared(place, names):
            container[key] = before
            continue
        checked += 1
        try:
            changed = Record.model_validate(content)
            board.task(changed.task.name)
            check_record(changed, task, images, True)
            check_declared(changed, run.lines, task)
            if not any(one.field == place for one in differences(changed, found)):
                free.append(place)
        except (ValueError, RecordError):
            pass  # refused
        container[key] = before
    assert free == []
    assert checked > 500


def test_what_is_not_there_is_not_called_declared(declared: Record) -> None:
    names = declared_parts(declared.model_copy(update={"similarity": None, "tuning": None}), SIZES["train"])
    assert "similarity" not in names
    assert "tuning" not in names
    assert set(names) <= set(DECLARED)
    assert names == tuple(sorted(names, key=DECLARED.index))


def test_which_training_images_were_left_out_is_declared(declared: Record) -> None:
    assert "task.n_train" not in declared_parts(declared, SIZES["train"])
    assert "task.n_train" in declared_parts(declared, SIZES["train"] + 1)


@pytest.mark.parametrize("change", [1e-9, -1e-9])
def test_rounding_makes_no_difference_and_more_does(declared: Record, change: float) -> None:
    assert declared.answers is not None
    for factor, count in ((1, 0), (1e4, 1)):
        accuracy = declared.answers.accuracy.model_copy(
            update={"value": declared.answers.accuracy.value + factor * change}
        )
        answers = declared.answers.model_copy(update={"accuracy": accuracy})
        found = [d.field for d in differences(declared.model_copy(update={"answers": answers}), declared)]
        assert found == ["answers.accuracy.value"] * count


def test_a_missing_part_is_a_difference(declared: Record, found: Record) -> None:
    for name in ("health", "diagnosis", "answer_target", "answers"):
        changed = declared.model_copy(update={name: None})
        assert [one.field for one in differences(changed, found)] == [name]
    fewer = declared.model_copy(update={"probes": declared.probes[1:]})
    assert [one.field for one in differences(fewer, found)] == ["probes"]


def test_a_verdict_without_a_signal_rests_on_the_declared_nulls(run: MadeUp, declared: Record) -> None:
    """The one verdict that p-values decide which the lines cannot show, and so the entry calls them declared."""
    assert declared.floors is not None
    assert declared.permutation is not None
    none = {"permutation_p": 0.5}
    floors = declared.floors.model_copy(
        update={
            "reference": declared.floors.reference.model_copy(update=none),
            "pixels": declared.floors.pixels.model_copy(update=none),
        }
    )
    blind = declared.model_copy(
        update={"floors": floors, "permutation": declared.permutation.model_copy(update={"vision_p": 0.5})}
    )
    found = recompute(blind, Lines(run.samples, run.lines), small_task())
    assert isinstance(found.diagnosis, DiagnosisPart)
    assert found.diagnosis.verdict == "no_signal"
    assert {"permutation", "floors.permutation_p"} <= set(declared_parts(found, SIZES["train"]))


def test_without_probes_the_answers_alone_are_scored(run: MadeUp, found: Record) -> None:
    scores = score(Lines(run.samples), Declared.of(found, small_task()))
    assert scores.answers == found.answers
    assert {part for name, part in vars(scores).items() if name != "answers"} == {None, ()}


def test_probes_without_what_their_floors_declare_are_refused(run: MadeUp) -> None:
    with pytest.raises(ValueError, match="floors"):
        score(Lines(run.samples, run.lines), Declared(small_task(), "scores", 0))
