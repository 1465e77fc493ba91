"""The budget's formula against real files, counts by hand, and what must grow with what."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.passes.features import FeatureFile
from probes.sites import Site, curve
from tests.harness.conftest import harness
from tests.model_adapters.finetune.small_phantom import phantom_yaml
from tests.model_adapters.tiny.llava import gemma3, llava_clip
from tests.model_adapters.tiny.qwen import qwen2_5_vl
from tools import study_budget
from tools.study_budget import ModelSize, TaskSize, TuningSize

# Widths and blocks by hand: vision 2 blocks of 3, decoder 2 layers of 5.
MODEL = ModelSize(
    vision_blocks=2,
    vision_width=3,
    vision_parameters=100,
    llm_blocks=2,
    llm_width=5,
    llm_parameters=1000,
    connector_parameters=50,
    patches=8,
    image_tokens=4,
    llm_linear_sides=40,
)
TASK = TaskSize(train=60, validation=20, test=10, classes=3, prompt_tokens=6, variants=7, new_tokens=16)
TUNING = TuningSize(images=30, validation=5, rank=2, epochs=2, looks=3, micro_batch=4)


def data_bytes(path: Path) -> int:
    """The size of a safetensors file without its header, whose length its first eight bytes say."""
    with path.open("rb") as stream:
        (header,) = struct.unpack("<Q", stream.read(8))
    return path.stat().st_size - 8 - header


def size_of(sites: tuple[Site, ...]) -> ModelSize:
    vision = [s for s in sites if s.module == "vision" and s.pool == "mean"]
    llm = curve(sites, "llm", "last")
    regrouped = [s for s in sites if s.pool == "regrouped"]
    return replace(
        MODEL,
        vision_blocks=len(vision),
        vision_width=vision[0].width,
        llm_blocks=len(llm),
        llm_width=llm[0].width,
        merged=regrouped[0].width // vision[0].width if regrouped else 1,
    )


@pytest.mark.parametrize(("build", "merged"), [(llava_clip, 1), (qwen2_5_vl, 4), (gemma3, 1)])
def test_features_take_the_bytes_that_the_formula_says(
    build: Callable[[Path], Path], merged: int, tmp_path: Path
) -> None:
    from model_adapters.catalog.registry import load_engine, resolve

    engine = load_engine(resolve([str(build(tmp_path / "model"))])[0].card, device="cpu")
    size, images = size_of(engine.sites), 7
    engine.close()
    assert size.merged == merged
    assert study_budget.sites(size) == len(engine.sites)
    for name, sites, said in (
        ("all", engine.sites, study_budget.feature_bytes(size, images)),
        ("letters", curve(engine.sites, "llm", "last"), study_budget.letter_bytes(size, images)),
    ):
        path = tmp_path / f"{name}.safetensors"
        FeatureFile.create(path, {site.key: (images, site.width) for site in sites}).close()
        assert data_bytes(path) == said


@pytest.mark.slow
def test_a_whole_runs_files_are_as_large_as_said(tmp_path: Path) -> None:
    phantom_yaml(tmp_path, "small", train=20, val=10, test=10)
    asked = ["--tasks", "small.yaml", "--models", "zoo/llava-healthy", "--floors", "task"]
    done = harness("eval", *asked, "--output", "out", "--offline", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "out" / "zoo--llava-healthy" / "small"
    built_in = replace(MODEL, vision_blocks=4, vision_width=128, llm_blocks=4, llm_width=128)
    assert data_bytes(folder / "features.safetensors") == study_budget.feature_bytes(built_in, 40)
    letters = folder / "features-answer_target.safetensors"
    assert data_bytes(letters) == study_budget.letter_bytes(built_in, 40)


def test_operations_are_those_counted_by_hand() -> None:
    # Vision: 2 x 100 x 8 for the matrices, 4 x 2 blocks x 8 x 8 x 3 for attention.
    assert study_budget.vision_flops(MODEL) == 1600 + 1536
    # Connector 2 x 50 x 4; decoder of 10 tokens: 2 x 1000 x 10, and 4 x 2 x 10 x 10 x 5.
    assert study_budget.llm_flops(MODEL, 6) == 400 + 20000 + 4000
    assert study_budget.prompt_flops(MODEL, 6) == 27536
    assert study_budget.observing_flops(MODEL, TASK) == 90 * 27536
    assert study_budget.further_flops(MODEL, TASK, letters=30) == (10 * 7 + 30) * 27536


def test_a_step_is_counted_by_hand() -> None:
    # Updates: 2 operations x rank 2 x 40 sides x 10 tokens; trained matrices cost their gradient once more.
    updates, connector = 1600, 400
    assert study_budget.step_flops(MODEL, TUNING, 6) == 3136 + 2 * (24400 + updates) + updates + connector
    again = replace(TUNING, recompute=True)
    assert study_budget.step_flops(MODEL, again, 6) == 3136 + 3 * (24400 + updates) + updates + connector
    looks = 3 * 5 * 27536
    assert (
        study_budget.tuning_flops(MODEL, TUNING, 6) == 60 * study_budget.step_flops(MODEL, TUNING, 6) + looks
    )


def test_trained_numbers_are_those_that_peft_makes(tmp_path: Path) -> None:
    from torch import nn

    from model_adapters.finetune.lora import count
    from tests.model_adapters.finetune.small import Subject, with_settings

    model = llava_clip(tmp_path / "model")
    subject = Subject(model, tmp_path / "tuned", with_settings(rank=3))
    layers = [m for layer in subject.engine.anatomy.decoder_layers for m in layer.modules()]
    plain = {id(m): m for m in layers if isinstance(m, nn.Linear) and m.weight.shape[0] != 3}
    sides = sum(sum(m.weight.shape) for m in plain.values() if m.weight.shape[1] != 3)
    size = replace(
        MODEL,
        llm_linear_sides=sides,
        connector_parameters=count(subject.engine.anatomy.connector.parameters()),
    )
    made = count(subject.attached.parameters.values())
    assert study_budget.trained_parameters(size, TuningSize(10, 5, rank=3)) == made
    subject.engine.close()


def test_memory_is_weights_trained_numbers_and_activations() -> None:
    trained = 2 * 40 + 50
    assert study_budget.trained_parameters(MODEL, TUNING) == trained
    assert study_budget.tuned_bytes(MODEL, TUNING) == 4 * trained
    assert study_budget.checkpoint_bytes(MODEL, TUNING) == 16 * trained
    kept = 4 * study_budget.kept_bytes(MODEL, 6, recompute=False)
    assert study_budget.tuning_memory(MODEL, TUNING, 6) == 2 * 1150 + 16 * trained + kept
    big = replace(MODEL, llm_blocks=40, llm_linear_sides=800)
    assert (
        study_budget.kept_bytes(big, 6, recompute=True) < study_budget.kept_bytes(big, 6, recompute=False) / 4
    )


def test_writing_is_bound_by_memory_in_small_batches_and_by_operations_in_large_ones() -> None:
    begin = 10 * 27536 / 1e6
    slow_memory = study_budget.writing_seconds(MODEL, TASK, 1e6, 1e3, batch=1)
    assert slow_memory == pytest.approx(begin + 10 * 16 * 2000 / 1e3)
    slow_units = study_budget.writing_seconds(MODEL, TASK, 1e6, 1e9, batch=10)
    assert slow_units == pytest.approx(begin + 16 * 2 * 1000 * 10 / 1e6)


@pytest.mark.parametrize(
    "field", ["image_tokens", "patches", "llm_parameters", "vision_parameters", "llm_blocks"]
)
def test_more_of_anything_costs_more(field: str) -> None:
    larger = replace(MODEL, **{field: 2 * getattr(MODEL, field)})
    assert study_budget.prompt_flops(larger, 6) > study_budget.prompt_flops(MODEL, 6)
    assert study_budget.tuning_flops(larger, TUNING, 6) > study_budget.tuning_flops(MODEL, TUNING, 6)
    assert study_budget.answering_memory(larger, TASK, 8) >= study_budget.answering_memory(MODEL, TASK, 8)


def test_more_images_and_epochs_cost_more() -> None:
    assert study_budget.tuning_flops(MODEL, replace(TUNING, epochs=3), 6) > study_budget.tuning_flops(
        MODEL, TUNING, 6
    )
    assert study_budget.feature_bytes(MODEL, 8) == 2 * study_budget.feature_bytes(MODEL, 4)
    assert study_budget.probe_work(MODEL, replace(TASK, train=120)) == 2 * study_budget.probe_work(
        MODEL, TASK
    )
    assert np.isfinite(study_budget.published_probe_flops(MODEL, TASK))
