"""Training: the same every time, chosen by validation, kept in a file that is not trusted blindly."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model_adapters.catalog.card import ClassifierSettings
from model_adapters.engines.classifier.architectures import Classifier, build
from model_adapters.engines.classifier.recipe import ClassifierRecipe
from model_adapters.engines.classifier.training import (
    TrainedClassifier,
    standardise,
    to_pixels,
    train,
)
from model_adapters.interface import LabelledImages, TrainingImages
from model_adapters.support.training import weights_hash
from tests.model_adapters.engines.classifier.images import (
    COLOURS,
    SMALL,
    card,
    engine,
    images_of,
    questions,
    scores,
    task,
    trained,
)

CLASSES = tuple(COLOURS)
LABELS = [0, 1, 2] * 7
RECIPE = ClassifierRecipe(learning_rate=0.003, steps=24, batch=8, evaluations=6, patience=6, measured=16)
CPU = torch.device("cpu")
CONTRADICTING = replace(images_of([0, 1, 2] * 4, 2), labels=np.array([1, 2, 0] * 4))


def network(kind: str = "resnet") -> Classifier:
    settings = ClassifierSettings(kind=kind, family="cnn", image_size=32, configuration=SMALL[kind])
    return build(settings, 3, "test", seed=0, device=CPU)


def run(images: TrainingImages, recipe: ClassifierRecipe, seed: int = 0, **more: object) -> TrainedClassifier:
    given = {"progress": lambda steps: None, **more}
    return train(network, images, recipe, side=32, seed=seed, device=CPU, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", SMALL)
def test_same_seed_same_weights_whatever_the_global_seed_and_threads(kind: str, tmp_path: Path) -> None:
    found = []
    before = torch.get_num_threads()
    for number, (seed, threads) in enumerate(((0, 1), (0, 2), (1, 1))):
        torch.manual_seed(number)
        torch.set_num_threads(threads)
        made = trained(card(kind), task(LABELS), tmp_path / str(number), seed=seed)
        weights = made.description.fingerprint["weights"]
        found.append((weights, scores(made, questions(LABELS, CLASSES))))
    torch.set_num_threads(before)
    assert found[0][0] == found[1][0] != found[2][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])
    assert not np.allclose(found[0][1], found[2][1])


def plain_log_loss(
    one: Classifier, trained_on: TrainedClassifier, images: LabelledImages
) -> tuple[float, float]:
    """The lowest log-loss over temperatures, by loops, one picture at a time."""
    rows = []
    with torch.inference_mode():
        for index in range(len(images)):
            pixels = to_pixels(images.read(index), 32)[None]
            rows.append(one(standardise(pixels, trained_on.mean, trained_on.deviation))[0].double())
    best = (np.inf, np.nan)
    for temperature in np.geomspace(0.25, 4, 33):
        total = 0.0
        for row, label in zip(rows, images.labels, strict=True):
            total -= torch.log_softmax(row / temperature, dim=0)[label].item()
        best = min(best, (total / len(rows), float(temperature)))
    return best


def test_the_snapshot_with_the_lowest_validation_loss_is_kept() -> None:
    """Validation contradicts training, so that what was learned last is not the best."""
    images = replace(task(LABELS), validation=CONTRADICTING)
    snapshots: dict[int, Classifier] = {}

    def keep(step: int, seen: Classifier) -> None:
        snapshots[step] = network().eval()
        snapshots[step].load_state_dict(seen.state_dict())

    made = run(images, RECIPE, watch=keep)
    assert list(snapshots) == [4, 8, 12, 16, 20, 24]
    plain = {step: plain_log_loss(one, made, images.validation) for step, one in snapshots.items()}
    for found in made.evaluations:
        assert (found.log_loss, found.temperature) == pytest.approx(plain[found.step], abs=1e-5)
    best = min(plain, key=lambda step: plain[step][0])
    assert best != 24
    assert made.kept.step == best
    assert weights_hash(made.weights) == weights_hash(snapshots[best].state_dict())


def test_training_ends_when_patience_does() -> None:
    images = replace(task(LABELS), validation=CONTRADICTING)
    steps: list[int] = []
    whole = run(images, RECIPE)
    short = run(images, replace(RECIPE, patience=2), progress=steps.append)
    assert short.evaluations == whole.evaluations[: len(short.evaluations)]
    assert len(short.evaluations) < len(whole.evaluations)
    assert short.evaluations[-1].step == short.kept.step + 2 * 4
    assert sum(steps) == short.evaluations[-1].step


def test_pixels_are_standardised_by_the_training_images() -> None:
    images = task(LABELS)
    made = run(images, replace(RECIPE, steps=1, evaluations=1))
    pixels = np.stack([to_pixels(images.train.read(index), 32) for index in range(len(LABELS))])
    np.testing.assert_allclose(made.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(made.deviation, pixels.std(axis=(0, 1, 2)), rtol=1e-9)
    standard = standardise(pixels, made.mean, made.deviation)
    assert standard.shape == (21, 3, 32, 32)
    np.testing.assert_allclose(standard.mean(dim=(0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(standard.std(dim=(0, 2, 3)), 1, atol=1e-3)


def test_epochs_count_passes_over_the_images(tmp_path: Path) -> None:
    done: list[int] = []
    made = engine(card(), epochs=3, evaluations=2)
    made.train(task(LABELS), seed=0, cache=tmp_path, progress=done.append)
    assert made.training_steps == sum(done) == 3
    assert made._trained is not None
    assert made._trained.evaluations[-1].step == 3 * 3  # 21 images in batches of 8


def test_what_was_trained_is_read_back(tmp_path: Path) -> None:
    told: list[int] = []
    first = trained(card(), task(LABELS), tmp_path)
    kept = list(tmp_path.glob("*.safetensors"))
    assert len(kept) == 1
    written = kept[0].stat().st_mtime_ns

    def never(index: int) -> None:
        raise AssertionError("no image may be read again")

    unread = LabelledImages(np.array(LABELS), never)  # type: ignore[arg-type]
    second = engine(card())
    second.train(
        replace(task(LABELS), train=unread, validation=unread), seed=0, cache=tmp_path, progress=told.append
    )
    asked = questions(LABELS, CLASSES)
    np.testing.assert_array_equal(scores(first, asked), scores(second, asked))
    assert first.description == second.description
    assert sum(told) == second.training_steps
    assert kept[0].stat().st_mtime_ns == written


@pytest.mark.parametrize("change", ["images", "labels", "seed", "settings", "recipe"])
def test_anything_else_is_trained_anew(change: str, tmp_path: Path) -> None:
    trained(card(), task(LABELS), tmp_path)
    images, of, seed, more = task(LABELS), card(), 0, {}
    if change == "images":
        images = replace(images, key="others")
    elif change == "labels":
        images = replace(images, labels=("rot", "green", "blue"))
    elif change == "seed":
        seed = 1
    elif change == "settings":
        of = card(image_size=40)
    else:
        more = {"weight_decay": 0.1}
    trained(of, images, tmp_path, seed, **more)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "a weight", "of another key"])
def test_a_damaged_file_is_trained_anew(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = questions(LABELS, CLASSES)
    wanted = scores(trained(card(), task(LABELS), tmp_path), asked)
    (kept,) = tmp_path.glob("*.safetensors")
    content = bytearray(kept.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "empty":
        content = bytearray()
    elif damage == "a weight":
        content[-3] ^= 0x40
    else:
        trained(card(), task(LABELS, key="others"), tmp_path)
        (other,) = set(tmp_path.glob("*.safetensors")) - {kept}
        content = bytearray(other.read_bytes())
    kept.write_bytes(bytes(content))
    with caplog.at_level(logging.WARNING):
        again = scores(trained(card(), task(LABELS), tmp_path), asked)
    np.testing.assert_array_equal(again, wanted)
    assert "made anew" in caplog.text


def test_a_folder_that_cannot_be_written_costs_time_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "file"
    place.write_text("")
    made = trained(card(), task(LABELS), place / "below")
    assert np.isfinite(scores(made, questions([0], CLASSES))).all()
    assert "cannot be kept" in caplog.text
