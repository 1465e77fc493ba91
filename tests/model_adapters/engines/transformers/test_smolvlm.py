"""SmolVLM without torchvision and num2words reads what its own processor would have made.

That its features, scores and texts equal an independent computation is tested with all architectures.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, SmolVLMImageProcessorPil
from transformers.models.smolvlm import processing_smolvlm
from transformers.models.smolvlm.processing_smolvlm import SmolVLMProcessor

from tests.model_adapters.tiny.plain import picture, plain_model, queries


@pytest.fixture
def own(tiny_folder, monkeypatch):
    """SmolVLM's own processor with something in the place of its video half, which no image comes near."""
    folder = tiny_folder("smolvlm")
    video = type("NoVideos", (), {"num_frames": 1, "fps": 1})()
    monkeypatch.setattr(processing_smolvlm, "num2words", str)
    monkeypatch.setattr(SmolVLMProcessor, "check_argument_for_proper_class", lambda *_: None)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    pictures = SmolVLMImageProcessorPil.from_pretrained(folder)
    template = tokenizer.chat_template
    return SmolVLMProcessor(pictures, tokenizer, video, image_seq_len=4, chat_template=template)


def test_tokens_and_pixels_are_those_of_its_own_processor(own, tiny_engine):
    engine, asked = tiny_engine("smolvlm"), queries()
    turns = [
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": query.prompt}]}]
        for query in asked
    ]
    rendered = [own.apply_chat_template(turn, add_generation_prompt=True) for turn in turns]
    assert rendered == [engine.rendered(query) for query in asked]
    expected = own(
        text=rendered,
        images=[[query.image] for query in asked],
        return_tensors="pt",
        padding=True,
        padding_side="left",
        add_special_tokens=engine._chat.adds_special_tokens(rendered[0]),
    )
    made = engine._prepare(asked).inputs
    assert set(made) == {"input_ids", "attention_mask", "pixel_values", "pixel_attention_mask"}
    for key, tensor in made.items():
        assert torch.equal(tensor, expected[key].to(tensor.dtype)), key
    assert len(set(made["attention_mask"].sum(1).tolist())) > 2  # other numbers of tiles, padded


def test_tiles_are_written_row_by_row_and_the_whole_picture_last(tiny_folder):
    plain = plain_model(tiny_folder("smolvlm"), "smolvlm")
    made = plain.processor(text=["<image>"], images=[[picture(64, 40)]], add_special_tokens=False)
    tiles = "<fake_token_around_image><row_1_col_1>IIII<fake_token_around_image><row_1_col_2>IIII\n"
    below = tiles.replace("row_1", "row_2")
    whole = "\n<fake_token_around_image><global-img>IIII<fake_token_around_image>"
    written = (tiles + below + whole).replace("I", "<image>")
    assert made["input_ids"][0] == plain.processor.tokenizer(written, add_special_tokens=False)["input_ids"]
    assert np.asarray(made["pixel_values"]).shape[1] == 5
