"""How vLLM is started with a card's settings, and what it says where it cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from model_adapters.interface import ModelError
from tests.model_adapters.tiny.plain import queries
from tests.vllm.load import TOLERANCE, load, load_slow

pytest.importorskip("vllm")


def test_card_and_arguments_reach_vllm(vllm_folder):
    folder, card = vllm_folder("qwen2_5_vl"), {"processor": {"min_pixels": 64, "max_pixels": 256}}
    asked = queries()
    slow = load_slow(folder, **card)
    arguments = {"structured_choice": "true", "enable_prefix_caching": "false", "answer_prefix": "It is"}
    fast = load(folder, card=card, batch_size=2, model_args=arguments)
    try:
        plain = [slow._prepare([query]).inputs["input_ids"][0].tolist() for query in asked]
        prefix = slow._processor.tokenizer("It is", add_special_tokens=False)["input_ids"]
        for query, own in zip(asked, plain, strict=True):
            assert list(fast.prompt_tokens(query)) == [*own, *prefix]
        config = fast._llm.llm_engine.vllm_config
        assert config.scheduler_config.max_num_seqs == 2
        assert config.cache_config.enable_prefix_caching is False
        written = fast.generate(asked, max_new_tokens=1)
        assert all(one.text in query.labels for one, query in zip(written, asked, strict=True))
        settings = fast.description.fingerprint["settings"]
        assert settings["structured_choice"] is True
        assert "max_num_seqs" not in settings  # changes no answer: a run goes on with another batch size
    finally:
        fast.close()


def test_cached_prefixes_change_no_score(vllm_folder):
    """With prompts longer than vLLM's blocks, so that what labels of several tokens need is in its cache."""
    folder = vllm_folder("llava_clip")
    asked = [query.__class__(query.id, query.image, "benign? " * 60, query.labels) for query in queries()]
    fast, slow = load(folder), load_slow(folder)
    try:
        for one, other in zip(fast.score(asked).scores, slow.score(asked).scores, strict=True):
            np.testing.assert_allclose(one.raw, other.raw, atol=TOLERANCE)
        cached = fast._requests.run([fast._branching(asked[0], fast.tokens_of_labels(asked[0])[0][:1], (5,))])
        assert cached[0].num_cached_tokens > 0
    finally:
        fast.close()


def test_weights_that_are_cut_off_are_one_line(vllm_folder, tmp_path):
    folder = tmp_path / "cut"
    folder.mkdir()
    for file in vllm_folder("llava_clip").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"^cut: vLLM cannot load it \(.+\)$"):
        load(folder)


def test_another_device_is_refused(vllm_folder):
    with pytest.raises(ModelError, match="runs on cpu, not on cuda"):
        load(vllm_folder("llava_clip"), device="cuda")
