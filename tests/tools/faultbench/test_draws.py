"""The bench's tasks: valid, fresh images, the labels that each draw promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.data.phantom import generate
from harness.data.sources import load_dataset
from tasks.catalog import check, load
from tasks.sources import SPLITS
from tools.faultbench.cases import Draw
from tools.faultbench.draws import primary_only, write_task

SMALL = {"train": 30, "val": 20, "test": 40}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))


def images_and_labels(path: Path, folder: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Read a task as `harness eval` does."""
    dataset = load_dataset(load(path), data_dir=folder, offline=True)
    images = {s: np.stack([np.asarray(dataset.read(x)) for x in dataset.split(s)]) for s in SPLITS}
    return images, {s: np.array([x.label for x in dataset.split(s)]) for s in SPLITS}


def test_draw_is_of_its_own_images_with_the_phantoms_questions(tmp_path: Path) -> None:
    draw = Draw(3, **SMALL)
    path = write_task(draw, tmp_path, owner="m")
    assert check(path) == ()
    task, phantom = load(path), load("phantom")
    assert (task.classes, task.prompts) == (phantom.classes, phantom.prompts)
    images, labels = images_and_labels(path, tmp_path)
    for split, (first, count) in draw.ranges().items():
        drawn = generate(first, count)
        assert np.array_equal(images[split][..., 0], drawn.images)
        assert np.array_equal(labels[split], drawn.labels)


def test_shuffled_labels_are_dealt_over_all_splits_and_say_nothing_of_the_images(tmp_path: Path) -> None:
    draw = Draw(60, labels="shuffled", train=400, val=100, test=100)
    path = write_task(draw, tmp_path, owner="m")
    assert check(path) == ()
    images, labels = images_and_labels(path, tmp_path)
    own = {split: generate(first, count) for split, (first, count) in draw.ranges().items()}
    for split in SPLITS:
        assert np.array_equal(images[split][..., 0], own[split].images)
    dealt, true = (
        np.concatenate([part[s] for s in SPLITS]) for part in (labels, {s: own[s].labels for s in SPLITS})
    )
    assert np.array_equal(np.bincount(dealt), np.bincount(true))
    assert abs((dealt == true).mean() - 0.2) < 0.06
    assert write_task(draw, tmp_path, owner="another") == path
    other = write_task(Draw(61, labels="shuffled", **SMALL), tmp_path, owner="m")
    assert not np.array_equal(images_and_labels(other, tmp_path)[1]["train"], labels["train"][:30])


def test_answers_become_the_labels(tmp_path: Path) -> None:
    draw = Draw(5, labels="answers", **SMALL)
    rng = np.random.default_rng(2)
    answers = {f"{s}/{i:06d}": int(rng.integers(5)) for s, count in SMALL.items() for i in range(count)}
    path = write_task(draw, tmp_path, owner="m", answers=answers)
    assert check(path) == ()
    _, labels = images_and_labels(path, tmp_path)
    assert {f"{s}/{i:06d}": int(k) for s in SPLITS for i, k in enumerate(labels[s])} == answers
    changed = {name: 4 - k for name, k in answers.items()}
    assert write_task(draw, tmp_path, owner="m", answers=changed) != path


def test_only_the_primary_question_is_left() -> None:
    task = load("phantom")
    asked = primary_only(task)
    assert asked.prompts == (task.primary,)
    assert asked.primary == task.primary
    assert (asked.classes, asked.source, asked.seed) == (task.classes, task.source, task.seed)
