"""A run goes on where everything that can change an answer is as it was, and only there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.data.dataset import Dataset
from harness.data.sources import load_dataset
from harness.plan.configuration import make_configuration
from harness.plan.options import EvalOptions
from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.registry import shipped_cards
from tasks.catalog import load


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(load("phantom-200"), limit=8)


def configured(card: ModelCard, dataset: Dataset, **arguments: str) -> dict[str, Any]:
    return make_configuration(card, dataset, EvalOptions(model_args=arguments))


def test_what_cards_did_not_always_say_enters_only_where_it_is_said(dataset):
    card = shipped_cards()["zoo/llava-healthy"]
    plain = configured(card, dataset)
    assert sorted(plain["model"]) == [
        *("architecture", "attn_implementation", "dtype", "engine", "fault", "headline", "hub_id"),
        *("max_new_tokens", "model_args", "name", "processor", "prompt", "revision", "trust_remote_code"),
    ]  # as the first stores have them, which are gone on with
    about = {"trained_on": ("busi",), "unverified": ("licence",), "requires": ("torch",)}
    assert configured(card.model_copy(update=about), dataset) == plain
    penalty = card.generation.model_copy(update={"repetition_penalty": 1.2})
    for change in ({"quantisation": "bitsandbytes-8bit"}, {"generation": penalty}):
        assert configured(card.model_copy(update=change), dataset) != plain


def test_speed_memory_and_money_do_not_end_a_run(dataset):
    card = shipped_cards()["zoo/llava-healthy"]
    plain = configured(card, dataset)
    for argument in ("gpu_memory_utilization", "timeout", "concurrency", "api_key_env", "input_price"):
        assert configured(card, dataset, **{argument: "1"}) == plain
    for argument in ("answer_prefix", "top_logprobs", "base_url", "max_model_len"):
        assert configured(card, dataset, **{argument: "1"}) != plain


def test_no_path_enters_and_weights_may_lie_elsewhere(dataset, tmp_path):
    found = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        card = classifier(str(folder))
        found.append(configured(card, dataset))
        assert str(tmp_path) not in json.dumps(configured(card, dataset, pretrained=str(folder)))
    assert found[0] == found[1]
    assert str(tmp_path) not in json.dumps(found)
    (tmp_path / "two" / "config.json").write_text('{"a": 1}')
    assert configured(classifier(str(tmp_path / "two")), dataset) != found[1]


def classifier(pretrained: str) -> ModelCard:
    settings = {"kind": "resnet", "family": "cnn", "pretrained": pretrained}
    return ModelCard.model_validate({"name": "r", "engine": "image_classifier", "classifier": settings})
