"""Every reference card builds, trains and answers, and pretrained weights are really where training starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForImageClassification, ViTConfig, ViTModel

from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.registry import load_engine, shipped_cards
from model_adapters.catalog.revision import card_revision, classifier_revision, classifier_settings
from model_adapters.engines.classifier.architectures import build
from model_adapters.interface import ModelError
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
CARDS = {name: one for name, one in shipped_cards().items() if one.engine == "image_classifier"}
QUICK = ("reference/levit", "reference/efficientnet", "reference/vit")


def test_at_least_twelve_kinds_of_every_family_in_one_group() -> None:
    kinds = [classifier_settings(one).kind for one in CARDS.values()]
    assert len(set(kinds)) == len(kinds) >= 12
    assert {classifier_settings(one).family for one in CARDS.values()} == {
        "cnn",
        "mlp",
        "transformer",
        "hybrid",
    }
    assert all(one.groups == ("reference",) for one in CARDS.values())
    assert all(name.startswith("reference/") for name in CARDS)
    assert all(one.licence and one.citation and one.memory_gb and one.notes for one in CARDS.values())


@pytest.mark.parametrize("name", CARDS)
def test_every_card_trains_and_answers(name: str, tmp_path: Path) -> None:
    of = CARDS[name]
    made = trained(of, task(LABELS[:20], LABELS[:5]), tmp_path, steps=2, batch=4, evaluations=1)
    found = scores(made, questions([0, 1], CLASSES))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, atol=1e-9)
    assert made.description.architecture == of.architecture
    assert made.description.parameters < 4e6
    assert made.description.revision == card_revision(of) + "+batch=4+evaluations=1+steps=2"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CARDS]
)
def test_every_kind_learns_what_colours_tell(name: str, tmp_path: Path) -> None:
    labels = [0, 1] * 12
    images = task(labels, classes=2)
    made = trained(CARDS[name], images, tmp_path, steps=30, batch=8, evaluations=2)
    found = scores(made, questions(labels, images.labels)).argmax(axis=1)
    assert (found == labels).mean() > 0.95


def save(folder: Path, kind: str, classes: int = 5, seed: int = 9, **more: Any) -> dict[str, torch.Tensor]:
    """Save a random network as a hub folder; return its weights."""
    architectures = {"resnet": "ResNetForImageClassification", "vit": "ViTForImageClassification"}
    config = AutoConfig.for_model(
        kind, **SMALL[kind], num_labels=classes, architectures=[architectures[kind]], **more
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = AutoModelForImageClassification.from_config(config)
    network.save_pretrained(folder)
    return {key: value.clone() for key, value in network.state_dict().items()}


def pretrained_card(kind: str, folder: Path, **more: Any) -> ModelCard:
    return card(kind, pretrained=str(folder), configuration={}, **more)


def start(of: ModelCard, classes: int = 3) -> dict[str, torch.Tensor]:
    """The weights before the first step."""
    made = build(classifier_settings(of), classes, of.name, seed=0, device=torch.device("cpu"))
    return {key.removeprefix("network."): value for key, value in made.state_dict().items()}


@pytest.mark.parametrize(("kind", "head"), [("resnet", "classifier"), ("vit", "classifier")])
def test_training_starts_from_the_pretrained_weights(kind: str, head: str, tmp_path: Path) -> None:
    size = {"image_size": 32} if kind == "vit" else {}
    saved = save(tmp_path / "model", kind, **size)
    weights = start(pretrained_card(kind, tmp_path / "model"))
    assert set(weights) == set(saved)
    below = [key for key in saved if not key.startswith(head)]
    assert below
    for key in below:
        assert torch.equal(weights[key], saved[key]), key
    assert all(weights[key].shape[0] == 3 for key in set(saved) - set(below))
    made = trained(pretrained_card(kind, tmp_path / "model"), task(LABELS), tmp_path / "cache")
    assert np.isfinite(scores(made, questions([0], CLASSES))).all()
    assert made.recipe.learning_rate < engine(card(kind)).recipe.learning_rate


def test_pretrained_weights_and_size_by_argument(tmp_path: Path) -> None:
    save(tmp_path / "model", "vit", image_size=32)
    of = card("vit")
    made = trained(of, task(LABELS), tmp_path, image_size=64, pretrained=tmp_path / "model")
    assert np.isfinite(scores(made, questions([0], CLASSES))).all()  # positions are interpolated
    assert made.description.hub_id is None
    assert made.description.revision.split("+")[0] != classifier_revision(of)
    assert "image_size" not in made.description.revision


def test_revision_follows_the_weights_and_not_their_place(tmp_path: Path) -> None:
    save(tmp_path / "a", "resnet")
    save(tmp_path / "b", "resnet")
    save(tmp_path / "c", "resnet", seed=10)
    a, b, c = (classifier_revision(pretrained_card("resnet", tmp_path / name)) for name in "abc")
    assert a == b != c
    assert a != classifier_revision(card())


def test_a_backbone_alone_gets_a_head(tmp_path: Path) -> None:
    config = ViTConfig(**SMALL["vit"], image_size=32)
    backbone = ViTModel(config, add_pooling_layer=False)
    backbone.save_pretrained(tmp_path / "model")
    weights = start(pretrained_card("vit", tmp_path / "model"))
    for key, value in backbone.state_dict().items():
        assert torch.equal(weights[f"vit.{key}"], value), key


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("other kind", "is of the kind resnet, not vit"),
        ("weights missing", r"2 weights below the head are missing .* the first is vit\."),
        ("no weights", r"classifier\.pretrained"),
        ("no config", r"has no config\.json"),
    ],
)
def test_pretrained_weights_that_do_not_serve_are_refused(fault: str, message: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    if fault == "other kind":
        save(folder, "resnet")
    else:
        save(folder, "vit", image_size=32)
    if fault == "weights missing":
        kept = load_file(folder / "model.safetensors")
        dropped = [key for key in kept if "layernorm_before" in key][:2]
        save_file(
            {key: value for key, value in kept.items() if key not in dropped},
            folder / "model.safetensors",
            metadata={"format": "pt"},
        )
    elif fault == "no weights":
        (folder / "model.safetensors").unlink()
    elif fault == "no config":
        (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=message) as caught:
        load_engine(pretrained_card("vit", folder), device="cpu", offline=True)
    assert "\n" not in str(caught.value)


def test_batch_norms_bear_two_training_images(tmp_path: Path) -> None:
    """LeViT normalises vectors, one an image."""
    made = trained(CARDS["reference/levit"], task([1, 2], [0, 1]), tmp_path, steps=2, batch=2, evaluations=1)
    assert np.isfinite(scores(made, questions([0], CLASSES))).all()
