"""The list of cases: complete, balanced from its beginning on, on images that nothing else has seen."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from harness.tuning.zoo_build import PHANTOM_FIRST
from tools.faultbench import cases
from tools.faultbench.cases import Case, FaultKind
from tools.train_built_in import PHANTOM_COUNT

FAULTS = (
    *(FaultKind(f"strong_only_{k}", ("vision",), ("strong",)) for k in range(4)),
    *(FaultKind(f"graded_{k}", ("connector",), ("strong", "mild")) for k in range(6)),
    FaultKind("mismatch", ("connector",), ("strong",), adapted=False),
)


@pytest.fixture(scope="module")
def every() -> tuple[Case, ...]:
    return cases.all_cases(FAULTS)


def test_there_are_as_many_cases_as_the_claims_need(every: tuple[Case, ...]) -> None:
    assert len({case.name for case in every}) == len(every)
    reported = [case for case in every if case.reported]
    assert sum(c.role == "fault" and c.severity == "strong" for c in reported) == 10 * 6
    assert sum(c.role == "fault" and c.severity == "mild" for c in reported) == 6 * 6
    assert sum(c.role in ("healthy", "trap") for c in reported) >= 30
    assert sum(c.role == "healthy" for c in reported) >= 30
    assert sum(c.kind == "shuffled_labels" for c in every) == 20
    assert {c.seed for c in reported} == {1, 2}
    assert len({c.model for c in every}) == 9


def test_mild_faults_have_two_thousand_test_images(every: tuple[Case, ...]) -> None:
    assert {c.draw.test for c in every if c.severity == "mild"} == {2000}
    assert {c.draw.test for c in every if c.severity == "strong"} == {1000}


def test_every_fault_has_its_healthy_model_on_the_same_images(every: tuple[Case, ...]) -> None:
    names = {case.name for case in every}
    for case in every:
        if case.role in ("fault", "mismatch"):
            assert cases.baseline(case).name in names
            assert cases.baseline(case).draw == case.draw
        needed = cases.needs(case)
        assert (needed is not None) == (case.kind == "pass_through")
        assert needed is None or needed.name in names


def test_what_cannot_be_right_is_expected_of_nothing(every: tuple[Case, ...]) -> None:
    assert {c.expected for c in every if c.role == "mismatch"} == {()}
    assert all(c.expected for c in every if c.role != "mismatch")


def test_no_image_is_in_two_draws_or_was_trained_on(every: tuple[Case, ...]) -> None:
    spans = sorted(
        {
            (first, first + count)
            for draw in {replace(case.draw, labels="true") for case in every}
            for first, count in draw.ranges().values()
        }
    )
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert spans[0][0] >= PHANTOM_FIRST + PHANTOM_COUNT


@pytest.mark.parametrize("part", [0.25, 0.5, 0.8])
def test_any_first_part_holds_its_share_of_everything(every: tuple[Case, ...], part: float) -> None:
    def group(case: Case) -> tuple[str, ...]:
        return (case.role, case.kind, case.severity)

    scored = [case for case in every if case.role != "mismatch"]
    first = scored[: round(part * len(scored))]
    total, done = Counter(map(group, scored)), Counter(map(group, first))
    assert all(done[name] >= part * count - 2 for name, count in total.items())
    assert all(done[n] <= part * count + 2 for n, count in total.items() if n[0] != "healthy")
    models, seen = Counter(c.model for c in scored), Counter(c.model for c in first)
    assert all(abs(seen[name] - part * count) <= 0.2 * count + 1 for name, count in models.items())


def test_what_nothing_scores_comes_last(every: tuple[Case, ...]) -> None:
    roles = [case.role for case in every]
    assert roles[roles.index("mismatch") :] == ["mismatch"] * roles.count("mismatch")


def test_key_depends_on_the_case_and_on_the_versions(every: tuple[Case, ...]) -> None:
    keys = {cases.key_of(case, {"phantom": 2}) for case in every}
    assert len(keys) == len(every)
    case = every[0]
    assert cases.key_of(case, {"phantom": 3}) not in keys
    assert cases.key_of(Case.from_json(json.loads(json.dumps(case.to_json()))), {"phantom": 2}) in keys
    assert Case.from_json(json.loads(json.dumps(case.to_json()))) == case
