"""The command that trains a healthy built-in model anew."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from click.testing import CliRunner

from model_adapters.zoo.stored import open_model
from model_adapters.zoo.training.optimise import StageSettings
from tools import train_built_in
from tools.zoo import train


@pytest.fixture
def in_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    few, recipe = StageSettings(steps=2, batch=4, learning_rate=1e-3), train.phantom_recipe
    monkeypatch.setattr(
        train,
        "phantom_recipe",
        lambda family, seed: dataclasses.replace(recipe(family, seed), vision=few, text=few, joint=few),
    )
    monkeypatch.setattr(train_built_in, "PHANTOM_COUNT", 40)


@pytest.mark.usefixtures("in_little_time")
def test_a_trained_model_is_an_ordinary_folder_and_a_killed_training_goes_on(tmp_path: Path) -> None:
    arguments = ["--family", "gemma3", "--checkpoints", str(tmp_path / "kept"), "--output"]
    done = CliRunner().invoke(train_built_in.main, [*arguments, str(tmp_path / "one")])
    assert done.exit_code == 0, done.output
    assert open_model(tmp_path / "one").family == "gemma3"
    (tmp_path / "kept" / "gemma3-seed0-joint.safetensors").unlink()
    done = CliRunner().invoke(train_built_in.main, [*arguments, str(tmp_path / "two")])
    assert "vision: taken from its checkpoint" in done.output
    assert "joint: taken" not in done.output
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]


def test_llava_wants_the_real_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_DATA_DIR", raising=False)
    done = CliRunner().invoke(train_built_in.main, ["--output", str(tmp_path / "model")])
    assert done.exit_code == 2
    assert "name their folder with --data-dir" in done.output


def test_the_recipe_tells_models_apart() -> None:
    asked = [("llava", 0), ("llava", 1), ("gemma3", 0)]
    assert len({train_built_in.recipe_id(family, seed) for family, seed in asked}) == 3
