"""The random-weight floor against a model built from its configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from harness.data.dataset import Dataset
from harness.watch import random_floor
from harness.watch.random_floor import load_random_vision
from model_adapters.catalog.registry import load_engine, resolve
from model_adapters.engines.transformers.engine import TransformersEngine
from model_adapters.inside.random_vision import random_vision
from model_adapters.inside.vision_only import random_vision_features, vision_features
from model_adapters.interface import ModelDescription, ModelError, Query
from tasks.subset import select
from tests.model_adapters.tiny.models import BUILDERS

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


@pytest.mark.parametrize("name", ["llava_siglip", "qwen2_5_vl", "gemma3"])
def test_vision_alone_is_what_the_whole_pass_shows_of_it(engine_of: Loader, name: str) -> None:
    engine = engine_of(name)
    whole = engine.score(queries(), observe=True)
    ran: list[object] = []
    hooks = [layer.register_forward_hook(lambda *_: ran.append(1)) for layer in engine.anatomy.decoder_layers]
    alone = vision_features(engine, queries())
    for hook in hooks:
        hook.remove()
    assert not ran
    assert set(alone) == {key for key in whole.features if key.startswith("vision")}
    for key, array in alone.items():
        np.testing.assert_allclose(array, whole.features[key], atol=1e-5)
    again = engine.score(queries(), observe=True)  # the pass that was stopped left nothing behind
    assert again.scores == whole.scores


def test_random_features_are_those_of_the_random_encoder(engine_of: Loader) -> None:
    engine = engine_of("llava_siglip")
    found = random_vision_features(engine, queries(), seed=4)
    with random_vision(engine, seed=4):
        expected = engine.score(queries(), observe=True).features
    for key, array in found.items():
        np.testing.assert_allclose(array, expected[key], atol=1e-5)


def test_an_engine_without_layers_is_refused() -> None:
    class Server:
        description = ModelDescription("far", None, "0", "?", 0, "openai", "?", "remote")

    with pytest.raises(ModelError, match=r"far: the engine openai"):
        random_vision_features(Server(), queries())  # type: ignore[arg-type]


def test_the_floor_is_the_linear_probe_of_random_features(
    engine_of: Loader, phantom: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of("llava_siglip")
    monkeypatch.setattr(random_floor, "IMAGES", {"train": 40, "val": 20, "test": 30})
    found = load_random_vision(engine, phantom, seed=2, cache=tmp_path)
    assert "40 training and 30 test images" in found.detail
    chosen = {
        split: [
            phantom.split(split)[row]
            for row in select(
                [s.id for s in phantom.split(split)], [s.label for s in phantom.split(split)], count, 2
            )
        ]
        for split, count in random_floor.IMAGES.items()
    }
    features = {
        split: random_vision_features(
            engine, [Query(s.id, phantom.read(s), "?", ()) for s in samples], seed=2
        )
        for split, samples in chosen.items()
    }
    labels = {split: np.array([s.label for s in samples]) for split, samples in chosen.items()}
    assert found.layers is not None
    assert [layer.site for layer in found.layers] == [s.name for s in engine.sites if s.module == "vision"]
    for layer in found.layers:
        x = {split: part[f"{layer.site}.mean"] for split, part in features.items()}
        mean, deviation = x["train"].mean(axis=0), x["train"].std(axis=0)
        z = {split: (part - mean) / deviation for split, part in x.items()}
        fits = [
            LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(z["train"], labels["train"])
            for c in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
        ]
        rows = np.arange(20)
        loss = [-fit.predict_log_proba(z["val"])[rows, labels["val"]].mean() for fit in fits]
        predicted = fits[int(np.argmin(loss))].predict(z["test"])
        expected = balanced_accuracy_score(labels["test"], predicted)
        assert layer.balanced_accuracy.value == pytest.approx(expected, abs=0.04)  # one image is 0.033
    monkeypatch.setattr(random_floor, "_measure", None)  # calling it would raise
    assert load_random_vision(engine, phantom, seed=2, cache=tmp_path) == found
    (kept,) = (tmp_path / "random_vision").glob("*.json")
    monkeypatch.undo()
    monkeypatch.setattr(random_floor, "IMAGES", {"train": 40, "val": 20, "test": 30})
    kept.write_bytes(kept.read_bytes()[:50])
    assert load_random_vision(engine, phantom, seed=2, cache=tmp_path) == found


def test_a_floor_that_cannot_be_had_says_why(phantom: Dataset, tmp_path: Path) -> None:
    class Server:
        description = ModelDescription("far", None, "0", "?", 0, "openai", "?", "remote")

    found = load_random_vision(Server(), phantom, cache=tmp_path)  # type: ignore[arg-type]
    assert found.layers is None
    assert "far: the engine openai" in found.detail
