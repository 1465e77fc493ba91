"""`harness models check` passes models that are as their cards say, and names the key of a card that lies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from harness.cli.models import models
from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.registry import resolve
from model_adapters.checks.model_check import check_model
from tests.harness.conftest import harness
from tests.model_adapters.tiny.models import BUILDERS


def card_of(folder: Path, **changes) -> ModelCard:
    card = resolve([str(folder)])[0].card
    content = {**card.model_dump(), **changes}
    return ModelCard.model_validate(content)


def sound(folder: Path, **changes) -> ModelCard:
    """The tiny tokenizers know "A" but not " B": after a prompt that ends in no space nothing must come first."""
    return card_of(folder, **{"prompt": {"label_prefix": ""}, **changes})


def failures(card: ModelCard) -> dict[str, str]:
    return {f.check: f.detail for f in check_model(card, device="cpu") if f.passed is False}


@pytest.mark.parametrize("name", BUILDERS)
def test_a_model_that_is_as_its_card_says_passes_every_check(name, tiny_folder):
    findings = check_model(sound(tiny_folder(name)), device="cpu")
    assert [f for f in findings if not f.passed] == []
    assert [f.check for f in findings] == [
        "loads",
        "sites",
        "consumed layer",
        "image tokens",
        "chat template",
        "label tokens",
        "scores = generation",
        "label scores",
        "free text",
    ]


LIES = {
    "vision_blocks": ("loads", "anatomy.vision_blocks 4, the loaded model has 3"),
    "llm_blocks": ("loads", "anatomy.llm_blocks 4, the loaded model has 3"),
    "llm_width": ("loads", "anatomy.llm_width 4, the loaded model has 32"),
    "vision_width": ("sites", "anatomy.vision_width 4, the loaded model has 24"),
    "consumed_layer": ("loads", "anatomy.consumed_layer 4, the loaded model has 1"),
    "image_tokens": ("image tokens", "anatomy.image_tokens 4, picture 64x64 has 16"),
}


@pytest.mark.parametrize("key", LIES)
def test_a_wrong_number_on_the_card_is_named(key, tiny_folder):
    check, message = LIES[key]
    found = failures(card_of(tiny_folder("llava_clip"), anatomy={key: 4}))
    assert message in found[check]


def test_a_wrong_image_token_is_named(tiny_folder):
    found = failures(card_of(tiny_folder("llava_clip"), anatomy={"image_token": "<|image_pad|>"}))
    assert "anatomy.image_token <|image_pad|>, the loaded model has <image>" in found["loads"]


def test_wrong_pixels_for_a_token_are_named(tiny_folder):
    found = failures(card_of(tiny_folder("qwen2_5_vl"), anatomy={"pixels_per_image_token": 16}))
    assert "anatomy.pixels_per_image_token 16, picture 64x64 has 64" in found["image tokens"]
    assert failures(card_of(tiny_folder("qwen2_5_vl"), anatomy={"pixels_per_image_token": 64})) == {}


def test_an_unverified_fact_that_is_wrong_is_a_remark_of_the_engine_and_a_finding(tiny_folder):
    from model_adapters.catalog.registry import load_engine

    card = sound(tiny_folder("llava_clip"), anatomy={"llm_blocks": 40}, unverified=("anatomy.llm_blocks",))
    (remark,) = load_engine(card, device="cpu").description.remarks
    assert "anatomy.llm_blocks 40, the loaded model has 3: unverified on the card" in remark
    assert failures(card) == {"card": remark}


def test_labels_that_share_their_first_token_name_the_prefix(tiny_folder):
    found = failures(card_of(tiny_folder("llava_clip"), prompt={"label_prefix": " ("}))
    assert found["label tokens"].startswith("the letters A, B, C, D, E share their first token")
    assert "prompt.label_prefix" in found["label tokens"]


def test_a_missing_chat_template_names_its_key(tiny_folder, tmp_path):
    from shutil import copytree

    folder = copytree(tiny_folder("qwen2_vl"), tmp_path / "no-template")
    (folder / "chat_template.jinja").unlink()
    assert "prompt.chat_template" in failures(card_of(folder))["loads"]


def test_a_template_that_forgets_the_question_is_named(tiny_folder):
    template = "{% for m in messages %}<image>{% endfor %}ASSISTANT:"
    found = failures(card_of(tiny_folder("llava_clip"), prompt={"chat_template": template}))
    assert "holds the question 0 times" in found["chat template"]
    assert "prompt.chat_template" in found["chat template"]


def test_a_connector_that_reads_another_layer_than_its_configuration_says(tiny_folder, monkeypatch):
    """The anatomy is read from the configuration; the check is made on what the model does."""
    from dataclasses import replace

    from model_adapters.catalog.registry import load_engine
    from model_adapters.checks.inner_check import check_consumed_layer
    from model_adapters.interface import ModelError

    engine = load_engine(card_of(tiny_folder("llava_clip")), device="cpu")
    assert check_consumed_layer(engine).startswith("the connector reads vision block 1, and none of the 1")
    right = engine.anatomy
    engine.anatomy = replace(right, consumed_layer=2)
    with pytest.raises(ModelError, match="does not depend on vision block 2"):
        check_consumed_layer(engine)
    engine.anatomy = replace(right, consumed_layer=0)
    with pytest.raises(ModelError, match=r"anatomy\.consumed_layer is wrong"):
        check_consumed_layer(engine)


def test_features_that_are_not_finite_are_a_finding(tiny_folder, tmp_path):
    from shutil import copytree

    from safetensors.torch import load_file, save_file

    folder = copytree(tiny_folder("llava_siglip"), tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    key = next(k for k in weights if k.endswith("layers.1.mlp.down_proj.weight"))
    weights[key] = torch.full_like(weights[key], float("inf"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    found = failures(card_of(folder))
    assert "llm.01" in found["sites"]
    assert "not finite" in found["label scores"]


def test_the_command_prints_a_table_or_json_and_says_by_its_status_whether_all_passed(tiny_folder, tmp_path):
    folder = str(tiny_folder("llava_siglip"))
    done = CliRunner().invoke(models, ["check", folder, "--json"])
    (report,) = json.loads(done.stdout)
    assert all(finding["passed"] for finding in report["findings"])
    card = tmp_path / "card.yaml"
    card.write_text(f"name: liar\npath: {folder}\nanatomy: {{llm_blocks: 7}}\n")
    lied = harness("models", "check", "card.yaml", folder=tmp_path)
    assert lied.returncode == 1
    assert "FAILED  the card says anatomy.llm_blocks 7" in lied.stdout
