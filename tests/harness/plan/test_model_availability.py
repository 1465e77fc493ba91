"""A plan says why a model cannot run here, before anything is loaded or downloaded."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from harness.plan.model_availability import Surroundings, why_unavailable
from harness.plan.options import EvalOptions
from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.hub import weights_cached
from model_adapters.catalog.registry import Selected

HUB_ID = "clinic/model-7b"


class _Hub(BaseHTTPRequestHandler):
    """A hub that is there, and keeps its models to itself."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A reachable hub and an empty cache, whose folder is returned."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield no_token(monkeypatch, tmp_path)
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No hub within reach, and an empty cache, whose folder is returned."""
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return no_token(monkeypatch, tmp_path)


def no_token(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "no-token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return cache


def cache_weights(cache: Path, *, shards: int = 1, missing: int = 0) -> None:
    """Lay a model into the cache as the hub's client does, the last `missing` of its files left out."""
    model = cache / f"models--{HUB_ID.replace('/', '--')}"
    snapshot = model / "snapshots" / ("c" * 40)
    snapshot.mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("c" * 40)
    names = [f"model-{i:05d}-of-{shards:05d}.safetensors" for i in range(1, shards + 1)]
    if shards == 1:
        names = ["model.safetensors"]
    else:
        index = {"weight_map": {f"layer.{i}": name for i, name in enumerate(names)}}
        (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in names[: shards - missing]:
        (snapshot / name).write_bytes(b"")


def reason(card: ModelCard, *, named: bool = False, **options) -> str | None:
    asked = EvalOptions(device="cpu", **options)
    return why_unavailable(Selected(card, named), asked, Surroundings(asked))


def hub_card(**keys) -> ModelCard:
    return ModelCard(name="clinic", **{"hub_id": HUB_ID, **keys})


def test_weights_that_are_neither_here_nor_reachable(no_hub):
    assert reason(hub_card()) == (
        f"the weights of {HUB_ID} are not in the local cache, and the hub cannot be reached"
    )
    assert "gated, and" in (reason(hub_card(gated=True)) or "")


def test_offline_asks_nobody(no_hub):
    assert "--offline allows no download" in (reason(hub_card(), offline=True) or "")


def test_cached_weights_need_no_hub(no_hub):
    cache_weights(no_hub)
    assert reason(hub_card(gated=True), offline=True) is None


def test_the_revision_that_was_asked_for_is_looked_for(no_hub):
    cache_weights(no_hub)
    assert reason(hub_card(), model_args={"revision": "c" * 40}) is None
    assert reason(hub_card(), model_args={"revision": "d" * 40}) is not None


@pytest.mark.parametrize(("missing", "found"), [(0, True), (1, False)])
def test_weights_are_there_only_if_every_shard_is(missing, found, no_hub):
    cache_weights(no_hub, shards=3, missing=missing)
    assert weights_cached(HUB_ID, "main") is found
    assert weights_cached(HUB_ID, "c" * 40) is found
    assert weights_cached(HUB_ID, "d" * 40) is False


def test_a_large_download_must_be_agreed_to(hub):
    assert "about 15 GB to download: agree with --yes" in (reason(hub_card(memory_gb=18.0)) or "")
    assert reason(hub_card(memory_gb=18.0), assume_yes=True) is None
    assert reason(hub_card(memory_gb=1.0)) is None


def test_a_gated_model_names_the_page_with_its_terms(hub, monkeypatch):
    for token in (None, "hf_refused"):
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        found = reason(hub_card(gated=True)) or ""
        assert f"https://huggingface.co/{HUB_ID}" in found
        assert "hf auth login" in found


def local_card(tmp_path: Path, **keys) -> ModelCard:
    (tmp_path / "config.json").write_text("{}")
    return ModelCard(name="clinic", path=str(tmp_path), **keys)


def test_memory(tmp_path):
    card = local_card(tmp_path, memory_gb=70_000, dtype="bfloat16")
    assert reason(card).startswith("needs about 70000 GB of memory, this machine has")
    assert "24500 GB" in reason(card, model_args={"quantisation": "bitsandbytes-4bit"})
    assert "140000 GB" in reason(card, model_args={"dtype": "float32"})
    assert reason(local_card(tmp_path, memory_gb=0.5)) is None


def test_memory_that_a_server_has_is_not_this_machines(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.plan.model_availability.find_spec", lambda name: object())
    server = {"base_url": "http://localhost:8000/v1"}
    assert reason(local_card(tmp_path, memory_gb=70_000), engine="openai", model_args=server) is None


def test_a_server_alone_has_no_weights_for_an_engine_of_this_machine():
    endpoint = {"base_url": "http://127.0.0.1:9/v1", "model": "tiny"}
    card = ModelCard.model_validate({"name": "served", "engine": "openai", "endpoint": endpoint})
    assert "names a server and no weights for the engine transformers" in reason(card, engine="transformers")


def test_code_of_a_models_own_runs_only_where_it_is_named_and_allowed(tmp_path):
    card = local_card(tmp_path, trust_remote_code=True)
    assert "--trust-remote-code" in reason(card, named=True)
    assert "name it" in reason(card, trust_remote_code=True)
    assert reason(card, named=True, trust_remote_code=True) is None


def test_versions_that_a_models_own_code_pins(tmp_path):
    card = local_card(tmp_path, requires=("transformers<5",))
    assert reason(card).startswith("needs transformers<5, ")


def test_an_engine_that_is_not_installed_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.plan.model_availability.find_spec", lambda name: None)
    assert "pip install 'mllm-harness[vllm]'" in reason(local_card(tmp_path), engine="vllm")
    assert "pip install 'mllm-harness[api]'" in reason(local_card(tmp_path), engine="openai")


def test_all_reasons_are_given_at_once(no_hub):
    card = hub_card(gated=True, trust_remote_code=True, memory_gb=70_000, requires=("transformers<5",))
    assert len((reason(card) or "").split("; ")) == 4


def test_a_server_must_be_named_and_its_key_be_there(tmp_path, monkeypatch):
    monkeypatch.delenv("CLINIC_KEY", raising=False)
    asked = {"base_url": "http://localhost:8000/v1"}
    assert "no server is named" in reason(local_card(tmp_path), engine="openai")
    assert reason(local_card(tmp_path), engine="openai", model_args=asked) is None
    server = ModelCard(
        name="clinic", engine="openai", endpoint={**asked, "model": "m", "api_key_env": "CLINIC_KEY"}
    )
    assert reason(server) == "the environment variable CLINIC_KEY holds no key"
    monkeypatch.setenv("CLINIC_KEY", "secret")
    assert reason(server) is None
