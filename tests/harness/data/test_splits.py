"""No group crosses a split, the test set is never altered, and every count adds up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.dataset import DataError, Sample, SplitReport
from harness.data.splits import Candidate, cap_train, limit_test, separate, take_subset

SPLIT = st.sampled_from(["train", "train", "train", "val", "test"])
ROWS = st.lists(st.tuples(SPLIT, st.integers(0, 2), st.integers(0, 25)), min_size=1, max_size=80)


def candidates(rows: Sequence[tuple[str | None, int, int]]) -> list[Candidate]:
    return [
        Candidate(Sample(f"{i}.png", split or "train", label, f"g{group}", f"h{i}"), split)  # type: ignore[arg-type]
        for i, (split, label, group) in enumerate(rows)
    ]


def groups(samples: tuple[Sample, ...], split: str) -> set[str]:
    return {s.group for s in samples if s.split == split}


@given(ROWS, st.integers(0, 3))
def test_what_holds_for_every_source_with_splits(rows: list[tuple[str, int, int]], seed: int) -> None:
    given_split = Counter(split for split, _, _ in rows)
    samples, report = separate(candidates(rows), "patient_id", seed)
    train, val, test = (groups(samples, name) for name in ("train", "val", "test"))
    assert not train & val
    assert not train & test
    assert not val & test
    assert [s.id for s in samples if s.split == "test"] == [
        f"{i}.png" for i, row in enumerate(rows) if row[0] == "test"
    ]
    kept = Counter(s.split for s in samples)
    assert kept["train"] == given_split["train"] - report.dropped_train - report.val_cut_from_train
    assert kept["val"] == given_split["val"] - report.dropped_val + report.val_cut_from_train
    order = {name: place for place, name in enumerate(("train", "val", "test"))}
    places = [(order[s.split], int(s.id.removesuffix(".png"))) for s in samples]
    assert places == sorted(places)


@given(ROWS)
def test_nothing_is_dropped_without_reason(rows: list[tuple[str, int, int]]) -> None:
    samples, _ = separate(candidates(rows), "patient_id", 0)
    kept = {s.id for s in samples}
    held = defaultdict(set)
    for split, _, name in rows:
        held[split].add(name)
    for i, (split, _, name) in enumerate(rows):
        if f"{i}.png" not in kept:
            later = held["test"] if split == "val" else held["test"] | held["val"]
            assert name in later


def test_the_group_of_a_dropped_validation_image_does_not_cost_training_images() -> None:
    """Its group is in test as well, so the training images fall to test, and are counted once."""
    rows = [("train", 0, 1), ("val", 0, 1), ("test", 0, 1), ("val", 0, 2), ("train", 0, 3)]
    samples, report = separate(candidates(rows), "patient_id", 0)
    assert [s.id for s in samples] == ["4.png", "3.png", "2.png"]
    assert (report.dropped_train, report.dropped_val) == (1, 1)


@settings(deadline=None)
@given(st.integers(0, 5), st.integers(1, 4))
def test_a_missing_validation_set_is_15_percent_of_every_class(seed: int, group_size: int) -> None:
    rows = [("train", i // 200, i // group_size) for i in range(600)] + [("test", 0, 10_000)]
    samples, report = separate(candidates(rows), "patient_id", seed)
    counts = Counter((s.split, s.label) for s in samples)
    for label in range(3):
        assert counts["val", label] == pytest.approx(30, abs=group_size)
    assert report.val_cut_from_train == sum(counts["val", label] for label in range(3))
    assert not groups(samples, "val") & groups(samples, "train")


def test_a_huge_group_stays_in_training() -> None:
    rows = [("train", 0, 0)] * 500 + [("train", 0, i) for i in range(1, 101)] + [("test", 0, 999)]
    samples, report = separate(candidates(rows), "patient_id", 0)
    assert "g0" in groups(samples, "train")
    assert report.val_cut_from_train == pytest.approx(90, abs=1)


def test_the_cut_depends_on_seed_and_groups_but_not_on_names_or_order() -> None:
    rows = [("train", i % 2, i) for i in range(100)] + [("test", 0, 999)]
    cut = groups(separate(candidates(rows), "image", 1)[0], "val")
    assert groups(separate(candidates(rows[::-1]), "image", 1)[0], "val") == cut
    assert groups(separate(candidates(rows), "image", 2)[0], "val") != cut
    assert sorted(cut)[:4] == ["g17", "g2", "g23", "g43"]  # the same on every machine


def test_a_source_without_splits_is_divided_by_group() -> None:
    rows = [(None, i % 3, i // 2) for i in range(300)]
    samples, report = separate(candidates(rows), "patient_id", 0)
    counts = Counter(s.split for s in samples)
    assert counts.total() == 300
    assert counts["test"] == report.test_cut == pytest.approx(60, abs=6)
    assert counts["val"] == report.val_cut_from_train == pytest.approx(36, abs=6)
    assert sum(len(groups(samples, name)) for name in counts) == 150


def samples_of(count: int, classes: int, group_size: int) -> tuple[Sample, ...]:
    train = tuple(Sample(f"a{i}", "train", i % classes, f"g{i // group_size}", f"h{i}") for i in range(count))
    test = tuple(Sample(f"t{i}", "test", int(i % 10 < 3), f"t{i}", f"t{i}") for i in range(100))
    return train + test


def test_capped_training_keeps_classes_in_proportion_and_prefers_new_groups() -> None:
    samples = samples_of(1000, 2, 10)
    capped, report = cap_train(samples, 100, 0, SplitReport("patient_id"))
    train = [s for s in capped if s.split == "train"]
    assert Counter(s.label for s in train) == {0: 50, 1: 50}
    for label in (0, 1):
        assert len({s.group for s in train if s.label == label}) == 50
    assert report.train_before_max == 1000
    assert [s for s in capped if s.split == "test"] == [s for s in samples if s.split == "test"]
    assert cap_train(samples, 1000, 0, SplitReport("x")) == (samples, SplitReport("x"))


def test_limited_test_sets_keep_classes_in_proportion_and_training_whole() -> None:
    samples = samples_of(50, 2, 1)
    limited, report = limit_test(samples, 20, 0, SplitReport("image"))
    assert Counter(s.label for s in limited if s.split == "test") == {0: 14, 1: 6}
    assert sum(s.split == "train" for s in limited) == 50
    assert report.test_before_limit == 100
    smaller, _ = limit_test(samples, 10, 0, SplitReport("image"))
    assert set(smaller) < set(limited)


def test_the_subset_of_a_task(build: ModuleType) -> None:
    task = build.npz_task(subset={"seed": 0, "sizes": {"train": 10, "test": 30}})
    chosen, report = take_subset(samples_of(50, 2, 1), task, SplitReport("image"))
    assert Counter(s.split for s in chosen) == {"train": 10, "test": 30}
    assert report.subset_of == {"train": 50, "val": 0, "test": 100}
    with pytest.raises(DataError, match="small: the subset wants 10 images of train, which has 9"):
        take_subset(samples_of(9, 2, 1), task, SplitReport("image"))
