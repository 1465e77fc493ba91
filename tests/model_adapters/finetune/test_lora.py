"""What is tuned, what is not, and that a merged model answers as the tuned one did."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.registry import load_engine
from model_adapters.catalog.tuned import ADAPTER, ADAPTER_CONFIGURATION, FULL
from model_adapters.engines.transformers import adapter
from model_adapters.engines.transformers.engine import TransformersEngine
from model_adapters.finetune import lora
from model_adapters.finetune.lora import attach, save_tuned, target_modules
from model_adapters.interface import ModelError
from tests.model_adapters.finetune.small import FAMILIES, Subject, load, with_settings

LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def with_gradients(subject: Subject) -> set[str]:
    """The names of all parameters that one step's gradient reaches."""
    subject.tuning._take_step(1)
    return {name for name, p in subject.engine._model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("connector", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_only_what_is_tuned(
    family: str, connector: bool, tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    subject = Subject(tiny_folder(family), tmp_path, with_settings(connector=connector))
    anatomy, found = subject.engine.anatomy, with_gradients(subject)
    updates = {name for name in found if ".lora_" in name}
    per_layer = len(LINEAR) * 2
    assert len(updates) == len(anatomy.decoder_layers) * per_layer
    assert all(name.startswith(f"{anatomy.decoder_path}.") for name in updates)
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in updates} == LINEAR
    own = {f"{anatomy.connector_path}.{name}" for name, _ in anatomy.connector.named_parameters()}
    assert found - updates == (own if connector else set())
    names = {name for name, _ in subject.engine._model.named_parameters()}
    assert names > found  # vision encoder, embeddings, norms and head are as they were


def test_vision_encoder_is_adapted_on_request_up_to_the_layer_that_is_read(
    tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    subject = Subject(tiny_folder("llava_clip"), tmp_path, with_settings(vision=True))
    anatomy = subject.engine.anatomy
    start = f"{anatomy.vision_path}."
    tuned = {n.partition(start)[2] for n in subject.attached.parameters if ".lora_" in n and start in n}
    reached = {n.partition(start)[2] for n in with_gradients(subject) if ".lora_" in n and start in n}
    layers = {int(name.split(".")[0]) for name in tuned}
    assert {name.replace(".default.", ".") for name in reached} == tuned
    assert layers == set(range(anatomy.consumed_layer + 1))
    assert anatomy.consumed_layer + 1 < len(anatomy.vision_blocks)


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_model_scores_as_before_merging(
    family: str, tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    subject = Subject(tiny_folder(family), tmp_path / "run", with_settings(epochs=1))
    untuned = subject.scores()
    tuned = subject.tuning.run(lambda steps: None)
    before = subject.scores()
    save_tuned(tmp_path / "tuned", subject.attached, tuned.weights)
    card = ModelCard(name="tuned", path=str(tiny_folder(family)), adapter=str(tmp_path / "tuned"))
    merged = load_engine(card, device="cpu", batch_size=8)
    assert isinstance(merged, TransformersEngine)
    subject.engine = merged
    np.testing.assert_allclose(subject.scores(), before, atol=1e-4)
    assert np.abs(before - untuned).max() > 0.05
    plain = load(tiny_folder(family))
    assert [type(m) for m in merged._model.modules()] == [type(m) for m in plain._model.modules()]
    assert merged.sites == plain.sites
    assert merged.description.revision.startswith(plain.description.revision + "+adapter:")


def test_adapter_folder_is_an_ordinary_one_of_peft_and_always_the_same(
    tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    from peft import PeftModel

    subject = Subject(tiny_folder("llava_clip"), tmp_path, with_settings(connector=False, epochs=1))
    tuned = subject.tuning.run(lambda steps: None)
    wanted = subject.scores()
    save_tuned(tmp_path / "one", subject.attached, tuned.weights)
    written = json.loads((tmp_path / "one" / ADAPTER_CONFIGURATION).read_text())
    assert written["target_modules"] == sorted(
        target_modules(load(tiny_folder("llava_clip")), subject.settings)
    )
    assert not (tmp_path / "one" / FULL).exists()
    fresh = load(tiny_folder("llava_clip"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        PeftModel.from_pretrained(fresh._model, str(tmp_path / "one"))
    subject.engine = fresh
    np.testing.assert_allclose(subject.scores(), wanted, atol=1e-5)


def test_unknown_target_is_named_with_what_is_close(tiny_folder: Callable[[str], Path]) -> None:
    engine = load(tiny_folder("llava_clip"))
    with pytest.raises(
        ModelError, match=r"no linear layer of its language part is 'q_prj'; did you mean `q_proj"
    ):
        attach(engine, with_settings(targets=("q_prj",)))
    assert {n.rpartition(".")[2] for n in target_modules(engine, with_settings(targets=("q_proj",)))} == {
        "q_proj"
    }


def test_peft_that_is_missing_is_said_with_the_way_out(
    tiny_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load(tiny_folder("llava_clip"))
    monkeypatch.setattr(adapter, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"peft is not installed: pip install 'mllm-harness\[finetune\]'"):
        attach(engine, with_settings())


def test_adapter_that_does_not_fit_is_refused(tiny_folder: Callable[[str], Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    subject = Subject(tiny_folder("llava_clip"), tmp_path, with_settings(epochs=1))
    folder = tmp_path / "tuned"
    save_tuned(folder, subject.attached, lora.changed(subject.attached.parameters))
    card = ModelCard(name="tuned", path=str(tiny_folder("llava_clip")), adapter=str(folder))
    other = card.model_copy(update={"path": str(tiny_folder("qwen2_5_vl"))})
    with pytest.raises(ModelError, match=r"tuned: .* does not fit the model|cannot be used"):
        load_engine(other, device="cpu")
    weights = load_file(folder / ADAPTER)
    lost = min(weights)
    save_file({k: v for k, v in weights.items() if k != lost}, folder / ADAPTER)
    with pytest.raises(ModelError, match="does not fit the model: 1 weights differ"):
        load_engine(card, device="cpu")
    (folder / ADAPTER).unlink()
    with pytest.raises(ModelError, match=f"has no {ADAPTER}, so its adapter is not whole"):
        load_engine(card, device="cpu")


def test_model_in_bfloat16_trains_in_float32_and_merges_back(
    tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    card = ModelCard(name="low", path=str(tiny_folder("gemma3")))
    engine = load_engine(card, device="cpu", dtype="bfloat16")
    assert isinstance(engine, TransformersEngine)
    attached = attach(engine, with_settings())
    assert {p.dtype for p in attached.parameters.values()} == {torch.float32}
    save_tuned(tmp_path / "tuned", attached, lora.changed(attached.parameters))
    tuned = card.model_copy(update={"adapter": str(tmp_path / "tuned")})
    merged = load_engine(tuned, device="cpu", dtype="bfloat16")
    assert isinstance(merged, TransformersEngine)
    assert {p.dtype for p in merged._model.parameters()} == {torch.bfloat16}
