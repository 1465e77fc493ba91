"""Half of train to tune on, half to probe on: disjoint, stratified, and the same everywhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.data.dataset import Dataset, Sample, SplitReport
from harness.data.splits import cap_train
from harness.plan.tuning_halves import Halves, _Known, tuned_images, tuning_halves
from tests.harness.small_tasks import make_task

TASK = make_task(("a", "a"), ("b", "b"), ("c", "c"))


def dataset(rows: list[tuple[int, int]], seed: int = 0, prefix: str = "") -> Dataset:
    """A data set of training images, each with a class and a group."""
    samples = tuple(
        Sample(f"{prefix}{i}.png", "train", label, f"g{group}", f"h{i}")
        for i, (label, group) in enumerate(rows)
    )
    task = replace_seed(seed)
    return Dataset(
        task, samples, "f", False, "here", SplitReport("patient_id"), lambda s: Image.new("RGB", (1, 1))
    )


def replace_seed(seed: int) -> object:
    return TASK.model_copy(update={"seed": seed})


def groups(samples: tuple[Sample, ...]) -> set[str]:
    return {s.group for s in samples}


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), min_size=2, max_size=80), st.integers(0, 3))
def test_halves_share_no_group_and_lose_no_image(rows: list[tuple[int, int]], seed: int) -> None:
    whole = dataset(rows, seed)
    halves = tuning_halves(whole)
    assert not groups(halves.tuning) & groups(halves.probing)
    assert sorted(s.id for s in halves.tuning + halves.probing) == sorted(s.id for s in whole.samples)


def test_halves_hold_every_class_in_equal_parts() -> None:
    rows = [(i % 3 if i < 120 else 0, i // 2) for i in range(300)]  # pairs of images, one class commoner
    halves = tuning_halves(dataset(rows))
    whole = Counter(label for label, _ in rows)
    for label, count in whole.items():
        for half in (halves.tuning, halves.probing):
            assert abs(sum(s.label == label for s in half) - count / 2) <= 2


def test_halves_depend_on_seed_and_groups_alone() -> None:
    rows = [(i % 3, i) for i in range(90)]

    def tuning(halves: Halves) -> set[str]:
        return groups(halves.tuning)

    first = tuning(tuning_halves(dataset(rows)))
    shuffled = replace(dataset(rows), samples=tuple(reversed(dataset(rows, prefix="x/").samples)))
    assert tuning(tuning_halves(shuffled)) == first
    assert tuning(tuning_halves(dataset(rows, seed=1))) != first


def test_capping_the_probes_images_never_brings_back_a_tuned_one() -> None:
    """Halves of the whole split, the cap afterwards: were it before, other images would be in other halves."""
    whole = dataset([(i % 3, i) for i in range(90)])
    halves = tuning_halves(whole)
    known = _Known(tuned_images(halves.tuning, 10))
    probing = tuple(s for s in whole.samples if not known.has(s))
    assert probing == halves.probing
    capped, _ = cap_train(probing, 12, 0, whole.report)
    assert len(capped) == 12
    assert not groups(capped) & groups(halves.tuning)


def test_image_of_a_tuned_group_or_with_tuned_pixels_is_known() -> None:
    known = _Known(tuned_images((Sample("1", "train", 0, "g1", "h1"),), 1))
    assert known.has(Sample("other", "train", 0, "g1", "h9"))
    assert known.has(Sample("other", "train", 0, "g9", "h1"))
    assert not known.has(Sample("1", "train", 0, "g9", "h9"))


def test_paths(tmp_path: Path) -> None:
    """A phantom task's images are their own groups, and are halved exactly."""
    from harness.data.sources import load_dataset
    from tests.model_adapters.finetune.small_phantom import phantom_task

    halves = tuning_halves(load_dataset(phantom_task(tmp_path, train=40), max_train=1000))
    assert Counter(s.label for s in halves.tuning) == Counter(s.label for s in halves.probing)
