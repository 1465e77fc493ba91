"""The image classifier engine: what it answers, that it learns, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import logsumexp

from model_adapters.interface import Engine, LabelledImages, ModelError, Query, Trainable, TrainingImages
from tests.model_adapters.engines.classifier.images import (
    COLOURS,
    SMALL,
    card,
    engine,
    questions,
    scores,
    task,
    trained,
)

CLASSES = tuple(COLOURS)
LABELS = [0, 1, 2] * 7


@pytest.mark.parametrize("kind", SMALL)
def test_learns_colours_and_its_scores_are_log_probabilities(kind: str, tmp_path: Path) -> None:
    made = trained(card(kind), task(LABELS), tmp_path, steps=60, learning_rate=0.003)
    assert isinstance(made, Engine)
    assert isinstance(made, Trainable)
    found = scores(made, questions(LABELS, CLASSES))
    np.testing.assert_allclose(logsumexp(found, axis=1), 0, atol=1e-9)
    assert (found.argmax(axis=1) == LABELS).mean() > 0.95


def test_order_of_labels_is_order_of_scores(tmp_path: Path) -> None:
    made = trained(card(), task(LABELS), tmp_path)
    in_order = scores(made, questions(LABELS, CLASSES))
    turned = scores(made, questions(LABELS, ("blue", "red", "green")))
    np.testing.assert_array_equal(turned, in_order[:, [2, 0, 1]])
    fewer = made.score(questions([1], ("green", "red"))).scores[0]
    np.testing.assert_allclose(fewer.raw, in_order_of(made, 1)[[1, 0]], atol=1e-6)
    assert fewer.normalised == fewer.raw


def in_order_of(made: object, label: int) -> np.ndarray:
    return scores(made, questions([label], CLASSES))[0]  # type: ignore[arg-type]


def test_label_of_no_class_is_an_error_of_its_query_alone(tmp_path: Path) -> None:
    made = trained(card(), task(LABELS), tmp_path)
    asked = [*questions([0], CLASSES), *questions([1], ("red", "A"))]
    good, bad = made.score(asked, observe=True).scores
    assert good.error is None
    assert len(good.raw) == 3
    assert bad.raw == bad.normalised == ()
    assert bad.error == "the label 'A' is none of the classes red, green, blue"


def test_it_says_what_it_cannot_do(tmp_path: Path) -> None:
    made = engine(card())
    with pytest.raises(ModelError, match="test/resnet: not trained yet"):
        made.score(questions([0], CLASSES))
    made.train(task(LABELS), seed=0, cache=tmp_path, progress=lambda steps: None)
    assert made.sites == ()
    assert made.score(questions([0], CLASSES), observe=True).features == {}
    assert made.generate(questions([0], CLASSES), max_new_tokens=5)[0].error == (
        "an image classifier writes no text"
    )
    abilities = made.description.abilities
    assert (abilities.label_scores, abilities.generation, abilities.reads_prompts) == (True, False, False)
    made.close()
    with pytest.raises(ModelError, match="not trained yet"):
        made.score(questions([0], CLASSES))


def test_description_names_settings_before_and_weights_after_training(tmp_path: Path) -> None:
    made = engine(card())
    before = made.description
    made.train(task(LABELS), seed=0, cache=tmp_path, progress=lambda steps: None)
    after = made.description
    assert before.revision == after.revision
    assert before.revision.endswith("+batch=8+evaluations=3+steps=6")
    assert after.architecture == "ResNetForImageClassification"
    assert after.parameters == sum(p.numel() for p in made._network.parameters())  # type: ignore[union-attr]
    assert after.parameters - before.parameters == 16 + 1  # one more class
    assert set(after.fingerprint) - set(before.fingerprint) == {
        "weights",
        "temperature",
        "training_images",
        "seed",
    }
    wider = card(configuration={**SMALL["resnet"], "hidden_sizes": [8, 24]})
    assert engine(wider).description.revision != before.revision


@pytest.mark.parametrize(
    ("train", "classes"), [([0, 2] * 5, 3), ([0, 1, 2], 3), ([1, 1], 3), ([0, 1] * 3, 2)]
)
def test_missing_classes_and_single_images_give_numbers(
    train: list[int], classes: int, tmp_path: Path
) -> None:
    made = trained(card(), task(train, [0, 1], classes), tmp_path)
    found = scores(made, questions([0, 1], CLASSES[:classes]))
    assert np.isfinite(found).all()


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^test/resnet: train images: 1; an image classifier needs 2"):
        trained(card(), task([1], [0, 1]), tmp_path)
    with pytest.raises(ModelError, match=r"^test/resnet: validation images: 0"):
        trained(card(), task([0, 1], []), tmp_path)


def test_constant_pictures_give_numbers(tmp_path: Path) -> None:
    black = LabelledImages(np.array([0, 1]), lambda index: Image.new("RGB", (8, 8)))
    made = trained(card(), TrainingImages("black", CLASSES[:2], black, black), tmp_path)
    assert np.isfinite(scores(made, questions([0], CLASSES[:2]))).all()


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_pictures_of_other_modes_are_read_as_rgb(mode: str, tmp_path: Path) -> None:
    def read(index: int) -> Image.Image:
        return Image.new("RGB", (50, 30), list(COLOURS.values())[index % 3]).convert(mode)

    images = LabelledImages(np.array([0, 1, 2] * 2), read)
    made = trained(card(), TrainingImages(mode, CLASSES, images, images), tmp_path)
    given, as_rgb = (
        Query("a", read(0), "", CLASSES),
        Query("b", read(0).convert("RGB"), "", CLASSES),
    )
    found = scores(made, [given, as_rgb])
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_answers_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    made = trained(card(), task(LABELS), tmp_path)
    asked = questions(LABELS, CLASSES)
    together = scores(made, asked)
    alone = np.concatenate([scores(made, [one]) for one in asked])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        (
            {},
            {"colour": "1"},
            r"unknown model argument 'colour'; .* has image_size, pretrained, steps, epochs",
        ),
        ({}, {"steps": "many"}, "model argument 'steps' is 'many'; it must be a whole number of at least 1"),
        ({}, {"learning_rate": "-1"}, "'learning_rate' is '-1'; it must be a number above 0"),
        ({}, {"learning_rate": "nan"}, "'learning_rate' is 'nan'; it must be a number above 0"),
        ({}, {"batch": "1"}, "'batch' is '1'; it must be a whole number of at least 2"),
        ({}, {"steps": "3", "epochs": "2"}, "'steps' and 'epochs' exclude each other"),
        ({}, {"image_size": "3"}, "model arguments: classifier.image_size: must be"),
        ({"kind": "resnett"}, {}, r"classifier.kind: .* with 'resnett'; did you mean `resnet"),
        (
            {"configuration": {"depth": [1]}},
            {},
            "configuration: resnet has no key 'depth'; did you mean `depths",
        ),
        ({"configuration": {"layer_type": "round"}}, {}, "configuration: .*layer_type=round is not one of"),
        ({"configuration": {"depths": []}}, {}, "makes no network"),
        ({"kind": "vit", "configuration": {"patch_size": 40}}, {}, "vit cannot take pictures of 32 pixels"),
        ({"pretrained": "/no/such"}, {}, "classifier.pretrained: there is no folder /no/such"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_at_load(
    changes: dict[str, object], arguments: dict[str, str], message: str
) -> None:
    from model_adapters.catalog.registry import load_engine

    with pytest.raises(ModelError, match=message) as caught:
        load_engine(card(**{"kind": "resnet", **changes}), device="cpu", model_args=arguments)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("test/")


def test_divergence_is_an_error_not_an_answer(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"test/resnet: training diverged before step 2 .*learning_rate"):
        trained(card(), task(LABELS), tmp_path, learning_rate=1e30)
    assert not list(tmp_path.glob("*.safetensors"))


def test_torch_is_left_as_it_was(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    made = trained(card("vit"), task(LABELS), tmp_path, steps=2, evaluations=1)
    made.score(questions([0], CLASSES))
    threads = torch.get_num_threads()
    torch.set_num_threads(before)
    assert torch.equal(torch.get_rng_state(), state)
    assert threads == 2
