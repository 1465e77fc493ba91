"""Training a built-in model: reproducible, resumable, and its loss is the one that transformers computes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model_adapters.zoo.save import save_model
from model_adapters.zoo.training import dialogue
from model_adapters.zoo.training.material import TrainingSet
from model_adapters.zoo.training.optimise import StageSettings
from model_adapters.zoo.training.questions import QuestionAnswer
from tools.zoo.families import build_model
from tools.zoo.images import resize
from tools.zoo.stages import vision_stage
from tools.zoo.train import Recipe, Trained, train


@pytest.fixture(scope="module")
def trained(phantom: TrainingSet, colours: TrainingSet, recipe: Recipe) -> Trained:
    return train([phantom, colours], recipe)


def test_one_seed_gives_one_model(
    phantom: TrainingSet, colours: TrainingSet, recipe: Recipe, trained: Trained
) -> None:
    again = train([phantom, colours], recipe)
    assert again.losses == trained.losses
    weights = zip(again.tiny.model.parameters(), trained.tiny.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


def test_another_seed_gives_another_model(
    phantom: TrainingSet, colours: TrainingSet, recipe: Recipe, trained: Trained
) -> None:
    other = train([phantom, colours], dataclasses.replace(recipe, seed=1))
    assert all(other.losses[stage] != trained.losses[stage] for stage in ("vision", "text", "joint"))


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(
    phantom: TrainingSet, colours: TrainingSet, recipe: Recipe, trained: Trained, tmp_path: Path
) -> None:
    train([phantom, colours], recipe, checkpoints=tmp_path)
    (tmp_path / "llava-seed0-joint.safetensors").unlink()
    resumed = train([phantom, colours], recipe, checkpoints=tmp_path)
    assert resumed.losses == {"joint": trained.losses["joint"]}
    weights = zip(resumed.tiny.model.parameters(), trained.tiny.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


def test_the_vision_stage_learns(colours: TrainingSet, recipe: Recipe, trained: Trained) -> None:
    tiny = build_model("llava", trained.tiny.processor.tokenizer, seed=0, scale=recipe.scale)
    settings = StageSettings(steps=25, batch=8, learning_rate=3e-3)
    losses = vision_stage(tiny, [colours], settings, 0, lambda progress: None)
    assert np.mean(losses[-5:]) < 0.3 < losses[0]


def test_the_loss_is_that_of_transformers(trained: Trained, phantom: TrainingSet) -> None:
    """Embeddings put together here and padded, against the model's own forward pass, one by one."""
    tiny = trained.tiny
    questions = [
        QuestionAnswer("What is it?", "cyst"),
        QuestionAnswer("A longer question about it: A) x\nB) y", "warm red"),
    ]
    images = [Image.fromarray(image) for image in phantom.images[:2]]
    pixels = torch.stack(
        [torch.from_numpy(resize(image) / np.float32(127.5) - 1).permute(2, 0, 1) for image in images]
    )
    total, count = 0.0, 0
    for image, question in zip(images, questions, strict=True):
        text = dialogue.render(tiny, question.prompt)
        whole = tiny.processor(images=[image], text=text + question.answer + "<eos>", return_tensors="pt")
        asked = tiny.processor(images=[image], text=text, return_tensors="pt")["input_ids"].shape[1]
        labels = whole["input_ids"].clone()
        labels[:, :asked] = -100
        answered = int((labels != -100).sum())
        with torch.no_grad():
            total += float(tiny.model(**whole, labels=labels).loss) * answered
        count += answered
    with torch.no_grad():
        ours = dialogue.loss(tiny, dialogue.encode(tiny, questions), tiny.connect(tiny.see(pixels)))
    assert float(ours) == pytest.approx(total / count, abs=1e-4)


def test_a_saved_model_loads_with_the_same_weights(trained: Trained, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    save_model(trained.tiny, tmp_path)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float32)
    for (name, ours), theirs in zip(trained.tiny.model.named_parameters(), loaded.parameters(), strict=True):
        assert torch.equal(ours.half().float(), theirs), name


def test_an_unknown_family_is_named(trained: Trained) -> None:
    with pytest.raises(ValueError, match=r"unknown family 'blip'.*llava"):
        build_model("blip", trained.tiny.processor.tokenizer, seed=0)
