"""Parts are found by shape and not by name; layouts of pictures are read from what a processor gives."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from model_adapters.anatomy.find import _longest_blocks, consumed_layer
from model_adapters.catalog.card import ModulePaths, make_card
from model_adapters.catalog.registry import load_engine, resolve
from model_adapters.engines.transformers.generation import read_generation
from model_adapters.engines.transformers.inputs import image_units, position_ids
from model_adapters.interface import ModelError
from tests.model_adapters.tiny.models import BUILDERS, WITH_OWN_CODE
from tests.model_adapters.tiny.plain import plain_model, queries

PATHS = {  # vision blocks, connector, decoder layers below `model.`
    "internvl": ("vision_tower.encoder.layer", "multi_modal_projector", "language_model.layers"),
    "idefics3": ("vision_model.encoder.layers", "connector", "text_model.layers"),
    "smolvlm": ("vision_model.encoder.layers", "connector", "text_model.layers"),
    "hulu_med": ("vision_encoder.encoder.layers", "mm_projector", "layers"),
    "qwen": ("visual.blocks", "visual.merger", "language_model.layers"),
    "other": ("vision_tower.encoder.layers", "multi_modal_projector", "language_model.layers"),
}


@pytest.mark.parametrize("name", [*BUILDERS, *WITH_OWN_CODE])
def test_parts_are_where_the_library_has_them(name, tiny_engine):
    found = tiny_engine(name).anatomy
    family = next((family for family in PATHS if name.startswith(family)), "other")
    expected = PATHS[family]
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


def load_with_paths(folder, **paths):
    card = resolve([str(folder)])[0].card
    changed = card.anatomy.model_copy(update={"paths": ModulePaths(**paths)})
    return load_engine(card.model_copy(update={"anatomy": changed}), device="cpu")


def test_a_cards_paths_go_before_what_is_found(tiny_folder):
    found = load_with_paths(
        tiny_folder("llava_siglip"),
        vision="model.vision_tower.encoder.layers",
        connector="model.multi_modal_projector.linear_2",
        decoder="model.language_model.layers",
        final_norm="model.language_model.layers.2.input_layernorm",
    ).anatomy
    assert found.connector_path == "model.multi_modal_projector.linear_2"
    assert found.final_norm is found.decoder_layers[2].input_layernorm
    assert len(found.vision_blocks) == len(found.decoder_layers) == 3
    assert type(found.encoder).__name__ == "SiglipVisionModel"


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ({"vision": "model.vision_tower.blocks"}, r"anatomy\.paths\.vision 'model.*blocks', which"),
        ({"decoder": "model.languages"}, r"anatomy\.paths\.decoder .*did you mean .*`model\.language_model`"),
        ({"connector": "projector"}, r"anatomy\.paths\.connector 'projector', which is no module of it"),
        ({"final_norm": "model.norm"}, r"anatomy\.paths\.final_norm 'model\.norm', which is no module of it"),
        ({"vision": "model.vision_tower"}, r"anatomy\.paths\.vision .* must name the list that holds"),
    ],
)
def test_a_cards_path_that_names_nothing_is_refused_by_its_key(tiny_folder, paths, message):
    with pytest.raises(ModelError, match=message) as error:
        load_with_paths(tiny_folder("llava_siglip"), **paths)
    assert "\n" not in str(error.value)


HIDING = """
from transformers import LlavaForConditionalGeneration

class Hiding(LlavaForConditionalGeneration):
    def get_encoder(self, modality=None):
        return self
"""


def test_other_paths_are_another_engine(tiny_folder):
    """Features of other modules must not be taken for those that a store has."""
    paths = {"connector": "model.multi_modal_projector.linear_2"}
    plain, changed = (
        load_with_paths(tiny_folder("llava_siglip")),
        load_with_paths(tiny_folder("llava_siglip"), **paths),
    )
    assert "paths" not in plain.description.fingerprint
    assert changed.description.fingerprint["paths"] == paths


def test_own_code_of_no_known_family_needs_no_more_than_paths(tiny_folder, tiny_engine, tmp_path):
    folder = shutil.copytree(tiny_folder("llava_siglip"), tmp_path / "hiding")
    weights = plain_model(tiny_folder("llava_siglip"), "llava_siglip").model.state_dict()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "modeling_hiding.py").write_text(HIDING)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForImageTextToText": "modeling_hiding.Hiding"}
    (folder / "config.json").write_text(json.dumps(config))
    content = {"name": "x", "path": str(folder), "trust_remote_code": True}
    with pytest.raises(ModelError, match=r"Hiding shows no vision encoder .*anatomy\.paths\.vision"):
        load_engine(make_card(content, "x"), device="cpu", trust_remote_code=True)
    paths = {"vision": "model.vision_tower.encoder.layers"}
    card = make_card({**content, "anatomy": {"paths": paths}}, "x")
    engine = load_engine(card, device="cpu", trust_remote_code=True)
    assert engine.description.architecture == "Hiding"
    one, two = (e.score(queries(), observe=True) for e in (engine, tiny_engine("llava_siglip", 8)))
    for key, array in two.features.items():
        np.testing.assert_allclose(one.features[key], array, atol=1e-5)
