"""Labels become the tokens that a model would have to write after the prompt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_adapters.catalog.card import PromptSettings
from model_adapters.engines.transformers.chat import ChatFormat
from model_adapters.interface import ModelError
from model_adapters.support.label_tokens import continuations, label_tokens, path_of
from tests.model_adapters.tiny.plain import plain_model

END = 99_999


def tokens(tokenizer, rendered, labels, prefix=""):
    return label_tokens(
        tokenizer, rendered, labels, prefix=prefix, add_special_tokens=False, end_of_turn=lambda: END
    )


@pytest.fixture(scope="module")
def tokenizer(tiny_folder):
    return plain_model(tiny_folder("llava_clip"), "llava_clip").processor.tokenizer


def test_labels_are_read_back_from_their_tokens(tokenizer):
    labels = ("normal", "benign", "malignant", "A")
    for prefix in ("", " "):
        found = tokens(tokenizer, "USER: what? ASSISTANT:", labels, prefix)
        assert [tokenizer.decode(t) for t in found] == [prefix + label for label in labels]


def test_a_label_that_begins_another_gets_its_end(tokenizer):
    found = tokens(tokenizer, "?", ("benign", "benign cyst", "normal"))
    assert [t[-1] for t in found] == [END] * 3
    assert not any(a != b and b[: len(a)] == a for a in found for b in found)


def test_characters_that_merge_with_the_prompt_are_still_scored(tokenizer):
    # "ASSISTANT: " + "benign" tokenises as ":", " benign"; after the space the model writes "benign".
    found = tokens(tokenizer, "ASSISTANT: ", ("benign", "malignant"))
    assert [tokenizer.decode(t) for t in found] == ["benign", "malignant"]


def test_equal_labels_are_refused(tokenizer):
    with pytest.raises(ModelError, match="'A' and 'A' have the same tokens"):
        tokens(tokenizer, "?", ("A", "B", "A"))


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5).map(tuple), min_size=1, max_size=8))
def test_continuations_are_the_fewest_paths_that_serve_every_label(labels):
    paths = continuations(labels)
    for label in labels:
        if len(label) > 1:
            assert paths[path_of(label, paths)][: len(label) - 1] == label[:-1]
    assert not any(a != b and b[: len(a)] == a for a in paths for b in paths)
    assert set(paths) <= {label[:-1] for label in labels}


@pytest.mark.parametrize(
    ("name", "prefix", "end"),
    [
        ("llava_clip", " ", "</s>"),
        ("llava_siglip", "", "<|im_end|>"),
        ("qwen2_5_vl", "", "<|im_end|>"),
        ("gemma3", "", "<end_of_turn>"),
        ("idefics3", " ", "<end_of_utterance>"),
    ],
)
def test_what_comes_before_and_after_an_answer_is_read_from_the_template(name, prefix, end, tiny_folder):
    processor = plain_model(tiny_folder(name), name).processor
    chat = ChatFormat(processor, PromptSettings(), name)
    rendered = chat.render("What is it?")
    assert chat.label_prefix(rendered) == prefix
    ends = frozenset({processor.tokenizer.eos_token_id})
    assert chat.end_of_turn(ends) == processor.tokenizer.convert_tokens_to_ids(end)
    assert rendered.count("What is it?") == 1


@pytest.mark.parametrize("name", ["llava_clip", "llava_next", "gemma3", "idefics3"])
def test_the_first_token_is_there_once(name, tiny_engine):
    engine = tiny_engine(name)
    from tests.model_adapters.tiny.plain import queries

    ids = engine._prepare(queries()).inputs["input_ids"]
    assert (ids == engine._processor.tokenizer.bos_token_id).sum(1).tolist() == [1] * len(queries())


def test_settings_of_a_card_change_the_prompt(tiny_folder):
    processor = plain_model(tiny_folder("gemma3"), "gemma3").processor
    settings = PromptSettings(answer_prefix="Answer:", label_prefix="_")
    chat = ChatFormat(processor, settings, "x")
    assert chat.render("?").endswith("model\nAnswer:")
    assert chat.label_prefix(chat.render("?")) == "_"
