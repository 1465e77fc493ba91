"""Any classifier with a card can be R; then its scores are those that it gives by itself."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import constants

from harness.data.dataset import Dataset
from harness.passes.prompts import query_of
from harness.passes.training import training_images
from harness.watch.floors import floors_key, load_floors
from harness.watch.reference_choice import chosen_reference
from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.registry import load_engine
from model_adapters.engines.classifier import reference
from model_adapters.interface import ModelError
from tasks.files import cache_folder
from tasks.questions import label_question
from tests.harness.run.test_references import TINY


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(reference, "RECIPE", reference.ReferenceRecipe(width=8, steps=8, batch=16))
    file = tmp_path / "tiny.yaml"
    small = {**TINY, "classifier": {**TINY["classifier"], "image_size": 16}}
    file.write_text(yaml.safe_dump(small))
    found = chosen_reference(str(file))
    assert found is not None
    return found


def test_r_is_the_chosen_classifier(phantom: Dataset, card: ModelCard, tmp_path: Path) -> None:
    found = load_floors(phantom, cache=tmp_path / "floors", reference=card)
    plain = load_floors(phantom, cache=tmp_path / "floors")
    assert found.reference.detail == "a tiny ResNet"
    assert found.key != plain.key
    engine = load_engine(card)
    kept = cache_folder() / "classifiers"
    engine.train(training_images(phantom), seed=0, cache=kept, progress=lambda count: None)
    question = label_question(phantom.task, phantom.task.primary)
    asked = [query_of(question, s.id, phantom.read(s)) for s in phantom.split("test")]
    expected = np.array([scores.raw for scores in engine.score(asked).scores])
    np.testing.assert_allclose(found.reference.scores["test"], expected, atol=1e-6)
    np.testing.assert_array_equal(found.pixels.scores["test"], plain.pixels.scores["test"])


def test_the_key_tells_classifiers_apart(phantom: Dataset, card: ModelCard) -> None:
    wider = card.model_copy(update={"classifier": card.classifier.model_copy(update={"image_size": 32})})
    assert len({floors_key(phantom, 0), floors_key(phantom, 0, card), floors_key(phantom, 0, wider)}) == 3


def test_offline_asks_no_hub_what_it_starts_from(
    phantom: Dataset, card: ModelCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    started = card.classifier.model_copy(update={"pretrained": "clinic/resnet"})
    fetched = card.model_copy(update={"classifier": started})
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{hub.server_port}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(ModelError, match="not in the local cache"):
            load_floors(phantom, cache=tmp_path / "floors", reference=fetched, offline=True)
        assert asked == []
        with pytest.raises(ModelError, match="the hub refuses it"):
            load_floors(phantom, cache=tmp_path / "floors", reference=fetched)
        hub.shutdown()
    assert asked


def test_what_is_no_classifier_is_refused() -> None:
    assert chosen_reference("built-in") is None
    with pytest.raises(ModelError, match="is no image classifier"):
        chosen_reference("zoo/llava-healthy")
