"""The floors of a task: their values, their nulls, and that the cache never lies."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from harness.data.dataset import DataError, Dataset
from harness.passes.store import RunStore
from harness.watch import floors as module
from harness.watch.floor_lines import ask_blank, floor_lines
from harness.watch.floors import balanced_predictions, fixed_predictions_p, floors_key, load_floors
from model_adapters.engines.classifier import reference
from model_adapters.interface import LabelScores, Observation
from tests.harness.conftest import run_of


@pytest.fixture(autouse=True)
def _short_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "RECIPE", reference.ReferenceRecipe(width=8, steps=8, batch=16))


def labels_of(dataset: Dataset, split: str) -> np.ndarray:
    return np.array([s.label for s in dataset.samples if s.split == split])


def test_rows_are_those_of_the_data_set(phantom: Dataset, tmp_path: Path) -> None:
    found = load_floors(phantom, cache=tmp_path)
    for floor in (found.reference, found.pixels, found.majority):
        for split in ("val", "test"):
            assert floor.scores[split].shape == (len(phantom.split(split)), 5)
            assert floor.predictions(split).shape == (len(phantom.split(split)),)


def test_pixels_are_the_linear_probe_of_the_principal_components(phantom: Dataset, tmp_path: Path) -> None:
    floor = load_floors(phantom, cache=tmp_path).pixels
    flat = {
        split: np.stack([np.asarray(phantom.read(s)) for s in phantom.split(split)]).reshape(60, -1) / 255
        for split in ("train", "val", "test")
    }
    components = PCA(59, svd_solver="full").fit(flat["train"])
    z = {split: components.transform(x) for split, x in flat.items()}
    z = {split: (x - z["train"].mean(axis=0)) / z["train"].std(axis=0) for split, x in z.items()}
    fits = [
        LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(z["train"], labels_of(phantom, "train"))
        for c in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    ]
    rows = np.arange(60)
    loss = [-fit.predict_log_proba(z["val"])[rows, labels_of(phantom, "val")].mean() for fit in fits]
    expected = fits[int(np.argmin(loss))].predict_log_proba(z["test"])
    np.testing.assert_allclose(floor.scores["test"], expected, atol=0.02)
    assert floor.permutation_p is not None
    assert 1 / 201 <= floor.permutation_p <= 1


def test_majority_names_the_commonest_class_of_train(phantom: Dataset, tmp_path: Path) -> None:
    kept = [s for s in phantom.samples if s.split != "train" or s.label in (1, 3)]
    train = [s for s in kept if s.split == "train"]
    kept.remove(next(s for s in train if s.label == 1))
    uneven = dataclasses.replace(phantom, samples=tuple(kept))
    floor = load_floors(uneven, cache=tmp_path).majority
    assert Counter(s.label for s in uneven.split("train")).most_common(1)[0][0] == 3
    assert set(floor.predictions("test")) == {3}
    np.testing.assert_allclose(np.exp(floor.scores["val"]).sum(axis=1), 1)


def test_second_call_reads_the_cache(
    phantom: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_floors(phantom, cache=tmp_path)
    monkeypatch.setattr(module, "compute_floors", None)  # calling it would raise
    again = load_floors(phantom, cache=tmp_path)
    for name in ("reference", "pixels", "majority"):
        a, b = getattr(first, name), getattr(again, name)
        assert (a.name, a.detail, a.seed, a.permutation_p) == (b.name, b.detail, b.seed, b.permutation_p)
        for split in ("val", "test"):
            np.testing.assert_array_equal(a.scores[split], b.scores[split])


@pytest.mark.parametrize("damage", ["cut", "other", "empty", "swapped"])
def test_damaged_cache_is_computed_anew(
    phantom: Dataset, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = load_floors(phantom, cache=tmp_path)
    (path,) = (tmp_path / "floors").glob("*.npz")
    data = path.read_bytes()
    if damage == "swapped":
        load_floors(phantom, seed=1, cache=tmp_path)
        (other,) = set((tmp_path / "floors").glob("*.npz")) - {path}
        data = other.read_bytes()
    path.write_bytes({"cut": data[: len(data) // 2], "other": b"no archive", "empty": b""}.get(damage, data))
    with caplog.at_level(logging.WARNING):
        again = load_floors(phantom, cache=tmp_path)
    assert "damaged" in caplog.text
    np.testing.assert_array_equal(first.reference.scores["test"], again.reference.scores["test"])
    caplog.clear()
    load_floors(phantom, cache=tmp_path)
    assert caplog.text == ""
    assert not list(tmp_path.rglob("*.part"))


def test_key_knows_everything_that_matters(phantom: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = phantom.samples[0]
    changed = [
        dataclasses.replace(phantom, samples=(dataclasses.replace(sample, **change), *phantom.samples[1:]))
        for change in ({"label": 1 - sample.label % 2}, {"group": "g"}, {"pixel_hash": "0"}, {"split": "val"})
    ]
    changed += [
        dataclasses.replace(phantom, fingerprint="0"),
        dataclasses.replace(phantom, samples=phantom.samples[::-1]),
        dataclasses.replace(phantom, samples=phantom.samples[1:]),
    ]
    keys = [floors_key(phantom, 0), floors_key(phantom, 1), *(floors_key(d, 0) for d in changed)]
    monkeypatch.setattr(reference, "RECIPE", reference.ReferenceRecipe(steps=9))
    keys.append(floors_key(phantom, 0))
    assert len(set(keys)) == len(keys)


def test_cache_that_cannot_be_written_is_done_without(
    phantom: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "floors").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        found = load_floors(phantom, cache=tmp_path)
    assert "cannot be kept" in caplog.text
    assert found.reference.scores["test"].shape == (60, 5)


def test_split_without_images_is_refused(phantom: Dataset, tmp_path: Path) -> None:
    alone = dataclasses.replace(phantom, samples=phantom.split("train") + phantom.split("test"))
    with pytest.raises(DataError, match="no val image"):
        load_floors(alone, cache=tmp_path)


def test_null_of_fixed_predictions_is_the_exact_one() -> None:
    """Seven images in five groups: every deal of the groups' labels can be counted."""
    groups = np.array([0, 0, 0, 1, 2, 3, 4])
    own = np.array([0, 0, 1, 1, 1])
    predicted = np.array([0, 0, 0, 1, 1, 1, 1])
    observed = balanced_accuracy_score(own[groups], predicted)
    deals = [balanced_accuracy_score(np.array(d)[groups], predicted) for d in permutations(own)]
    exact = np.mean(np.array(deals) >= observed)
    found = fixed_predictions_p(predicted, own[groups], groups, draws=4000)
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 4000))


def test_null_of_fixed_predictions_keeps_its_level() -> None:
    """Predictions that follow the groups but know nothing of the labels; images alone would mislead."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 5)
    p = [
        fixed_predictions_p(
            rng.integers(0, 2, 30)[groups], rng.integers(0, 2, 30)[groups], groups, draws=99, seed=i
        )
        for i in range(200)
    ]
    assert np.mean(np.array(p) <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    right = rng.integers(0, 2, 30)[groups]
    assert fixed_predictions_p(right, right, groups, draws=199) == 1 / 200


def test_balanced_predictions_are_the_bayes_rule() -> None:
    """p(k | x) / p(k) is p(x | k) up to a factor: with equal shares the likelihood decides."""
    rng = np.random.default_rng(1)
    likelihood, counts = rng.random((50, 3)), np.array([90, 9, 1])
    joint = likelihood * counts
    scores = np.log(joint / joint.sum(axis=1, keepdims=True))
    labels = np.repeat(np.arange(3), counts)
    np.testing.assert_array_equal(balanced_predictions(scores, labels, 3), likelihood.argmax(axis=1))
    missing = np.column_stack([scores, np.zeros(50)])
    np.testing.assert_array_equal(balanced_predictions(missing, labels, 4), likelihood.argmax(axis=1))


class _Names:
    """An engine that names benign, whatever it is shown."""

    def __init__(self, error: str | None = None) -> None:
        self.error = error
        self.seen: list[tuple[int, ...]] = []

    def score(self, queries, *, observe=False):  # type: ignore[no-untyped-def]
        (query,) = queries
        self.seen.append((*query.image.size, *query.image.getpixel((0, 0))))
        raw = tuple(-1.0 if label == "benign" else -3.0 for label in query.labels)
        return Observation((LabelScores(raw, raw, self.error),))


def test_a_blank_picture_is_asked_about_once(phantom: Dataset, tmp_path: Path) -> None:
    engine = _Names()
    answers = []
    for _ in range(2):  # the second time as after a kill
        with RunStore(tmp_path / "run", {}) as store:
            answers.append(ask_blank(run_of(store, engine, phantom)))  # type: ignore[arg-type]
    assert engine.seen == [(64, 64, 127, 127, 127)]
    assert answers[0] == answers[1]
    names = [c.name for c in phantom.task.classes]
    assert answers[0].scores == tuple(-1.0 if name == "benign" else -3.0 for name in names)
    assert "64 x 64" in answers[0].detail


def test_a_blank_picture_without_an_answer_says_why(phantom: Dataset, tmp_path: Path) -> None:
    with RunStore(tmp_path / "run", {}) as store:
        found = ask_blank(run_of(store, _Names("out of memory"), phantom))  # type: ignore[arg-type]
    assert found.scores is None
    assert "out of memory" in found.detail


def test_lines_of_the_floors_say_what_the_floors_predict(phantom: Dataset, tmp_path: Path) -> None:
    floors = load_floors(phantom, cache=tmp_path)
    lines = {(line.site, line.split): line for line in floor_lines(floors)}
    assert len(lines) == 6
    for floor in (floors.reference, floors.pixels, floors.majority):
        for split in ("val", "test"):
            line = lines[(floor.name, split)]
            np.testing.assert_allclose(line.scores, floor.scores[split], atol=1e-4)
            assert line.predictions == tuple(np.argmax(line.scores, axis=1))
            agree = np.mean(floor.predictions(split) == line.predictions)
            assert agree >= 0.95  # two classes whose scores are equal to four digits
            assert (line.module, line.readout, line.consumed) == ("image", "floor", False)
