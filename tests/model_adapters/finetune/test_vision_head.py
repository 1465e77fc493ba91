"""`--part vision`: the encoder alone learns the classes, by a head on what the connector reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.console import Console
from harness.tuning.finetuning import finetune
from harness.tuning.options import FinetuneOptions
from leaderboard.record.record import read_record
from model_adapters.catalog.card import load_card
from model_adapters.catalog.registry import load_engine, resolve
from model_adapters.finetune.checkpoints import Checkpoints
from model_adapters.finetune.lora import attach
from model_adapters.finetune.settings import TuningSettings
from model_adapters.finetune.training import Tuning
from model_adapters.finetune.vision_head import HEAD_NAMES, VisionObjective, pooled_vision
from model_adapters.interface import ModelError, Query
from tests.harness.conftest import harness
from tests.model_adapters.finetune.small import FAMILIES, load, queries, small_task, with_settings
from tests.model_adapters.finetune.small_phantom import CLASSES, phantom_task


@pytest.mark.parametrize("family", [*FAMILIES, "qwen3_vl", "internvl"])
def test_pooled_layer_is_the_one_that_the_engine_watches(
    family: str, tiny_folder: Callable[[str], Path]
) -> None:
    engine = load(tiny_folder(family))
    site = next(site for site in engine.sites if site.consumed and site.pool == "mean")
    wanted = engine.score(queries(), observe=True).features[site.key]
    with torch.no_grad():
        found = torch.cat([pooled_vision(engine, [query]) for query in queries()])
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_the_encoder_and_the_head_alone(
    family: str, method: str, tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    engine = load(tiny_folder(family))
    settings = with_settings(part="vision", method=method)
    objective = VisionObjective(engine, attach(engine, settings), small_task(), settings)
    Tuning(objective, settings, Checkpoints(tmp_path, "key"))._take_step(1)
    assert all(objective.parameters[name].grad is not None for name in HEAD_NAMES)
    anatomy = engine.anatomy
    encoder = {id(p) for p in anatomy.encoder.parameters()} - {id(p) for p in anatomy.connector.parameters()}
    reached = {name: p for name, p in engine._model.named_parameters() if p.grad is not None}
    assert reached
    assert all(id(p) in encoder for p in reached.values())
    assert all((".lora_" in name) == (method == "lora") for name in reached)
    read = [f"{anatomy.vision_path}.{layer}." for layer in range(anatomy.consumed_layer + 1)]
    assert all(any(name.startswith(start) for name in reached) for start in read)
    unread = f"{anatomy.vision_path}.{anatomy.consumed_layer + 1}."
    assert not any(name.startswith(unread) for name in reached)
    assert not any(unread in name for name in objective.parameters)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_tuned_encoder_is_evaluated_by_its_head(method: str, tmp_path: Path) -> None:
    """Training's last validation scores and the engine's, loaded from the folder, give one log-loss."""
    task = phantom_task(tmp_path, train=120, val=20)
    settings = TuningSettings(part="vision", method=method, epochs=3, evaluations=1, learning_rate=1e-3)  # type: ignore[arg-type]
    options = FinetuneOptions(task, resolve(["zoo/llava-healthy"])[0].card, tmp_path / "model", settings)
    about = finetune(options, Console())
    first, last = about.looks
    assert (first.balanced_accuracy, first.log_loss) == (0.2, round(np.log(5), 6))  # the head knows nothing
    assert last.balanced_accuracy > 0.5
    card = load_card(tmp_path / "model" / "card.yaml")
    assert (card.name, card.engine) == ("zoo/llava-healthy-vision-head", "vision_head")
    from harness.data.sources import load_dataset

    dataset = load_dataset(task)
    shown = dataset.split("val")
    engine = load_engine(card, device="cpu")
    scores = engine.score([Query(s.id, dataset.read(s), "?", CLASSES) for s in shown]).scores
    losses = [-found.raw[s.label] for found, s in zip(scores, shown, strict=True)]
    assert np.mean(losses) == pytest.approx(last.log_loss, abs=1e-4)
    assert engine.sites == ()
    backwards = engine.score([Query("x", dataset.read(shown[0]), "?", CLASSES[::-1])]).scores[0]
    assert backwards.raw == pytest.approx(scores[0].raw[::-1])
    assert engine.score([Query("x", dataset.read(shown[0]), "?", ("A", "B"))]).scores[0].error


def test_head_that_is_missing_is_named(tmp_path: Path) -> None:
    card = resolve(["zoo/llava-healthy"])[0].card
    with pytest.raises(ModelError, match="the engine vision_head needs an adapter"):
        load_engine(card, engine="vision_head")


@pytest.mark.slow
def test_eval_files_the_head_as_lora(tmp_path: Path) -> None:
    task = phantom_task(tmp_path, train=40)
    settings = TuningSettings(part="vision", epochs=1, evaluations=1)
    options = FinetuneOptions(task, resolve(["zoo/llava-healthy"])[0].card, tmp_path / "model", settings)
    finetune(options, Console())
    done = harness("eval", "--models", "model", "--tasks", "small.yaml", "--output", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    place = tmp_path / "out" / "zoo--llava-healthy-vision-head@lora" / "small" / "record.json"
    record = read_record(place)
    assert record.condition == "lora"
    assert record.tuning is not None
    assert record.tuning.part == "vision"
    assert record.probes == ()
