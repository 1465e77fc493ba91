"""Parts are found by shape and not by name; layouts of pictures are read from what a processor gives."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from model_adapters.anatomy import _longest_blocks, consumed_layer
from model_adapters.generation import read_generation
from model_adapters.interface import ModelError
from model_adapters.model_inputs import image_units, position_ids
from tests.engines.plain import plain_model
from tests.engines.tiny_models import BUILDERS

PATHS = {  # vision blocks, connector, decoder layers below `model.`
    "internvl": ("vision_tower.encoder.layer", "multi_modal_projector", "language_model.layers"),
    "idefics3": ("vision_model.encoder.layers", "connector", "text_model.layers"),
    "qwen": ("visual.blocks", "visual.merger", "language_model.layers"),
    "other": ("vision_tower.encoder.layers", "multi_modal_projector", "language_model.layers"),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_parts_are_where_the_library_has_them(name, tiny_engine):
    found = tiny_engine(name).anatomy
    expected = PATHS.get("qwen" if name.startswith("qwen") else name, PATHS["other"])
    paths = (found.vision_path, found.connector_path, found.decoder_path)
    assert paths == tuple(f"model.{path}" for path in expected)


@pytest.mark.parametrize(
    ("stated", "block"), [(None, 23), (-1, 23), (-2, 22), (24, 23), (1, 0), ([-2, -5, 3], 22)]
)
def test_the_consumed_layer_counts_from_the_input_of_block_0(stated, block):
    assert consumed_layer(SimpleNamespace(vision_feature_layer=stated), 24, "x") == block


@pytest.mark.parametrize("stated", [0, 25, -26, [], [3, 40]])
def test_a_consumed_layer_that_is_no_block_is_refused(stated):
    with pytest.raises(ModelError, match="is no output of its 24 vision blocks"):
        consumed_layer(SimpleNamespace(vision_feature_layer=stated), 24, "x")


def test_experts_inside_layers_are_not_taken_for_layers():
    layers = nn.ModuleList(
        nn.ModuleDict({"experts": nn.ModuleList(nn.Linear(1, 1) for _ in range(9))}) for _ in "ab"
    )
    decoder = nn.ModuleDict({"layers": layers, "norms": nn.ModuleList([nn.LayerNorm(1)])})
    names = {id(module): name for name, module in decoder.named_modules()}
    path, blocks = _longest_blocks(decoder, names, "x")
    assert (path, len(blocks)) == ("layers", 2)


def pictures(*shape):
    return {"pixel_values": torch.ones(shape)}


def test_units_of_pictures():
    grid = {**pictures(30, 9), "image_grid_thw": torch.tensor([[1, 2, 3], [1, 4, 6]])}
    assert image_units(grid, [3, 12]) == (6, 24)
    tiles = pictures(2, 4, 3, 8, 8)
    tiles["pixel_values"][0, 1:] = 0
    assert image_units(tiles, [10, 40]) == (1, 4)
    assert image_units(pictures(2, 3, 8, 8), [7, 7]) == (1, 1)
    assert image_units(pictures(5, 3, 8, 8), [4, 16]) == (1, 4)
    packed = {**pictures(2, 3, 8, 8), "image_sizes": torch.tensor([[8, 8], [4, 8]])}
    assert image_units(packed, [64, 32]) == (64, 32)
    with pytest.raises(ModelError, match="cannot be assigned to 2 images"):
        image_units(pictures(5, 3, 8, 8), [7, 9])


def test_positions_count_from_the_first_token_of_a_padded_prompt():
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    assert position_ids(mask).tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]


def test_written_text_ends_at_the_end_token(tiny_folder):
    tokenizer = plain_model(tiny_folder("llava_clip"), "llava_clip").processor.tokenizer
    first, rest = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("benign", " cyst"))
    ended = read_generation([*first, 2, *rest], frozenset({2}), tokenizer)
    assert (ended.text, ended.finished) == ("benign", True)
    cut = read_generation([*first, *rest], frozenset({2}), tokenizer)
    assert (cut.text, cut.finished) == ("benign cyst", False)
