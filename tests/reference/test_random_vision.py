"""The random-weight floor against a model built from its configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model_adapters.interface import Query
from model_adapters.random_vision import random_vision
from model_adapters.registry import load_engine, resolve
from model_adapters.transformers_engine import TransformersEngine
from tests.engines.tiny_models import BUILDERS

Loader = Callable[[str], TransformersEngine]


@pytest.fixture(scope="module")
def engine_of(tmp_path_factory: pytest.TempPathFactory) -> Loader:
    loaded: dict[str, TransformersEngine] = {}

    def load(name: str) -> TransformersEngine:
        if name not in loaded:
            folder: Path = BUILDERS[name](tmp_path_factory.mktemp("tiny") / name)
            engine = load_engine(resolve([str(folder)])[0].card, device="cpu", batch_size=4)
            assert isinstance(engine, TransformersEngine)
            loaded[name] = engine
        return loaded[name]

    return load


def queries() -> list[Query]:
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)) for _ in range(3)]
    return [Query(str(i), picture, "What is it?", ("a", "b")) for i, picture in enumerate(pictures)]


def weights(engine: TransformersEngine) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in engine._model.state_dict().items()}


@pytest.mark.parametrize("name", ["llava_siglip", "qwen2_5_vl", "gemma3"])
def test_only_the_vision_encoder_changes_and_only_inside(engine_of: Loader, name: str) -> None:
    engine = engine_of(name)
    before, seen = weights(engine), engine.score(queries(), observe=True)
    state = torch.get_rng_state()
    with random_vision(engine, seed=3):
        inside, floor = weights(engine), engine.score(queries(), observe=True)
    assert torch.equal(torch.get_rng_state(), state)
    after, again = weights(engine), engine.score(queries(), observe=True)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert again.scores == seen.scores
    for key, array in seen.features.items():
        np.testing.assert_array_equal(array, again.features[key])
        if key.startswith("vision"):
            assert np.abs(floor.features[key] - array).max() > 1e-3
    changed = {key for key in before if not torch.equal(before[key], inside[key])}
    anatomy = engine.anatomy
    untouched = {id(t) for part in (anatomy.connector, *anatomy.decoder_layers) for t in part.parameters()}
    owners = dict(engine._model.named_parameters())
    assert changed
    assert all(id(owners[key]) not in untouched for key in changed if key in owners)
    blocks = {id(t) for block in anatomy.vision_blocks for t in block.parameters() if t.ndim == 2}
    drawn = {id(owners[key]) for key in changed if key in owners}
    assert blocks <= drawn


def test_weights_are_those_of_a_new_encoder_and_follow_the_seed(engine_of: Loader) -> None:
    engine = engine_of("llava_siglip")
    encoder = engine._model.get_encoder(modality="image")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(5)
        expected = type(encoder)(encoder.config).state_dict()
    with random_vision(engine, seed=5):
        found = {key: tensor.clone() for key, tensor in encoder.state_dict().items()}
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    with random_vision(engine, seed=6):
        assert not all(torch.equal(found[key], tensor) for key, tensor in encoder.state_dict().items())


def test_own_weights_come_back_after_an_error(engine_of: Loader) -> None:
    engine = engine_of("llava_siglip")
    before = weights(engine)
    with pytest.raises(RuntimeError, match="stop"), random_vision(engine):
        raise RuntimeError("stop")
    assert all(torch.equal(before[key], tensor) for key, tensor in engine._model.state_dict().items())
