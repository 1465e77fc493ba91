"""Hulu-Med's own code behind the ordinary engine: shapes of pictures, batches, buffers.

That its features, scores and texts equal an independent computation is tested with all architectures, in
test_features and test_scores.
"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from model_adapters.catalog.card import make_card
from model_adapters.catalog.registry import load_engine
from model_adapters.inside.random_vision import random_vision
from model_adapters.inside.vision_only import vision_features
from model_adapters.interface import ModelError, Query
from tests.model_adapters.tiny.plain import picture, plain_model, queries

NAME = "hulu_med"


def card(folder, **changes):
    return make_card({"name": "hulu", "path": str(folder), "trust_remote_code": True, **changes}, "hulu")


def load(folder, *, batch_size=8, model_args=None, **changes):
    return load_engine(
        card(folder, **changes),
        device="cpu",
        trust_remote_code=True,
        batch_size=batch_size,
        model_args=model_args,
    )


def half_and_half(width, height):
    """Black on the left, white on the right."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, width // 2 :] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize(("width", "height"), [(64, 32), (24, 48), (61, 30)])
def test_a_picture_that_is_not_square_keeps_its_shape(width, height, tiny_engine, tiny_folder):
    shown = half_and_half(width, height)
    inputs = tiny_engine(NAME)._prepare([Query("x", shown, "?", ("A", "B"))]).inputs
    rows, columns = round(height / 4), round(width / 4)
    assert inputs["grid_sizes"].tolist() == [[1, rows, columns]]
    resized = np.asarray(shown.resize((columns * 4, rows * 4), Image.Resampling.BICUBIC)) / 127.5 - 1
    patches = inputs["pixel_values"].reshape(rows, columns, 3, 4, 4).permute(0, 3, 1, 4, 2)
    np.testing.assert_allclose(patches.reshape(rows * 4, columns * 4, 3), resized, atol=1e-5)
    assert (patches[:, :, 0] < 0).all()
    assert (patches[:, :, -1] > 0).all()
    own = plain_model(tiny_folder(NAME), NAME).processor(text="<image>", images=[shown], return_tensors="pt")
    assert own["grid_sizes"].tolist() == [[1, columns, rows]]  # what it does to a PIL image


def test_a_pictures_resolution_does_not_depend_on_its_neighbours(tiny_engine):
    engine, asked = tiny_engine(NAME), queries()
    together = engine._prepare(asked).inputs["grid_sizes"].tolist()
    assert together == [engine._prepare([query]).inputs["grid_sizes"].tolist()[0] for query in asked]
    assert len(set(map(tuple, together))) > 2


def test_prompts_of_one_image_only_are_taken_and_limits_come_from_the_card(tiny_folder):
    engine = load(tiny_folder(NAME), processor={"max_tokens": 40})
    large = Query("x", picture(100, 100), "?", ("A", "B"))
    assert engine.image_tokens([large]) == (36,)  # the largest square grid of at most 40 patches
    with pytest.raises(ValueError, match="exactly one image"):
        engine._processor(["<image><image>"], [[large.image, large.image]])


def test_an_encoder_whose_images_see_each_other_gets_one_prompt_a_pass(tiny_engine, tiny_folder):
    right, asked = tiny_engine(NAME), queries()
    engine = load(tiny_folder(NAME), model_args={"attn_implementation": "eager"})
    assert (right.largest_batch > 8, engine.largest_batch) == (True, 1)
    one, two = (each.score(asked, observe=True) for each in (right, engine))
    for expected, scores in zip(one.scores, two.scores, strict=True):
        np.testing.assert_allclose(scores.raw, expected.raw, atol=1e-4)
    for key, array in one.features.items():
        np.testing.assert_allclose(two.features[key], array, atol=1e-4, err_msg=key)
    alone = vision_features(engine, asked)
    for key, array in alone.items():
        np.testing.assert_allclose(array, one.features[key], atol=1e-4, err_msg=key)
    assert engine.generate(asked, max_new_tokens=3) == right.generate(asked, max_new_tokens=3)


def test_buffers_that_no_checkpoint_holds_are_those_of_a_new_model(tiny_engine):
    rotary = tiny_engine(NAME)._model.model.vision_encoder.encoder.rotary_pos_emb
    expected = 10000.0 ** -(np.arange(0, 6, 2) / 6)
    np.testing.assert_allclose(rotary.inv_freq, expected, rtol=1e-6)


def test_what_the_decoder_computes_is_limited_to_the_last_position(tiny_engine, monkeypatch):
    engine, shapes = tiny_engine(NAME), []
    head = engine._model.lm_head.register_forward_hook(lambda _m, _i, out: shapes.append(out.shape[1]))
    engine.score([Query("x", picture(32, 32), "?", ("A", "B"))])
    head.remove()
    assert shapes == [1]


def test_the_vision_encoder_can_be_given_random_weights(tiny_engine):
    engine, asked = tiny_engine(NAME), queries()
    before = engine.score(asked, observe=True)
    with random_vision(engine, seed=3):
        inside = engine.score(asked, observe=True)
    after = engine.score(asked, observe=True)
    assert before.scores == after.scores
    key = "vision.00.mean"
    assert not np.allclose(before.features[key], inside.features[key])
    rotary = engine._model.model.vision_encoder.encoder.rotary_pos_emb
    assert torch.isfinite(rotary.inv_freq).all()


def test_its_code_is_run_only_when_that_was_allowed(tiny_folder, tmp_path):
    folder, ran = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(tiny_folder(NAME), folder)
    for file in folder.glob("*.py"):
        file.write_text(f"open({str(ran)!r}, 'w').write('x')\n{file.read_text()}")
    for told, groups, key in ((True, [], True), (False, [], False), (False, ["medical"], True)):
        content = {"name": "x", "path": str(folder), "trust_remote_code": told, "groups": groups}
        with pytest.raises(ModelError):
            load_engine(make_card(content, "x"), device="cpu", trust_remote_code=key and not told)
    assert not ran.exists()
    named = make_card({"name": "x", "path": str(folder)}, "x")  # a folder that the user named
    load_engine(named, device="cpu", trust_remote_code=True)
    assert ran.exists()


def test_the_description_tells_what_was_run(tiny_engine, tiny_folder):
    described = tiny_engine(NAME).description
    assert described.architecture == "HulumedQwen3ForCausalLM"
    stored = json.loads((tiny_folder(NAME) / "preprocessor_config.json").read_text())
    assert described.fingerprint["processor"]["max_tokens"] == stored["max_tokens"]
    assert described.parameters == sum(
        p.numel() for p in plain_model(tiny_folder(NAME), NAME).model.parameters()
    )


def rewritten(folder, copy, before, after):
    """A copy of a model whose code and weights call something by another name."""
    shutil.copytree(folder, copy)
    for file in copy.glob("modeling_*.py"):
        file.write_text(file.read_text().replace(before, after))
    weights = load_file(copy / "model.safetensors")
    renamed = {key.replace(before, after): tensor for key, tensor in weights.items()}
    save_file(renamed, copy / "model.safetensors", metadata={"format": "pt"})
    return copy


def test_code_that_is_not_as_its_adapter_expects_is_refused_in_one_line(tiny_folder, tmp_path):
    folder = rewritten(tiny_folder(NAME), tmp_path / "arguments", "grid_sizes", "grids")
    with pytest.raises(ModelError, match=r"not as its adapter expects .*grid_sizes.* names no versions"):
        load(folder)


def test_a_card_says_where_parts_are_that_its_family_has_elsewhere(tiny_engine, tiny_folder, tmp_path):
    folder = rewritten(tiny_folder(NAME), tmp_path / "names", "mm_projector", "projection")
    with pytest.raises(ModelError, match=r"'model\.mm_projector', which is .*anatomy\.paths\.connector"):
        load(folder)
    engine = load(folder, anatomy={"paths": {"connector": "model.projection"}})
    assert engine.anatomy.connector_path == "model.projection"
    assert engine.score(queries()).scores == tiny_engine(NAME).score(queries()).scores
