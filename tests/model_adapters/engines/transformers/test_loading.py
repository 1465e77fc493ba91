"""Broken, foreign and incomplete models are refused in one line; a revision changes with what matters."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from model_adapters.catalog.card import make_card
from model_adapters.catalog.registry import load_engine, resolve
from model_adapters.catalog.revision import card_revision, folder_revision
from model_adapters.interface import ModelError
from tests.model_adapters.tiny.plain import queries


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of a whole model that a test may break."""
    return shutil.copytree(tiny_folder("llava_siglip"), tmp_path / "model")


def load(folder, **options):
    return load_engine(resolve([str(folder)])[0].card, device="cpu", **options)


def edit(file, **changes):
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, **changes}))


def break_weights(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])


def drop_one_weight(folder):
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(key for key in weights if "linear_1.weight" in key))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def pickle_weights(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").write_text("{"), r"model: its config\.json cannot be used"),
        (lambda f: edit(f / "config.json", model_type="nonesuch"), r"its config\.json cannot be used"),
        (lambda f: (f / "config.json").write_text('{"model_type": "bert"}'), "no image-and-text model"),
        (break_weights, "its weights cannot be loaded"),
        (drop_one_weight, r"1 weights are missing .*linear_1\.weight"),
        (pickle_weights, "its weights cannot be loaded .*safetensors"),
        (lambda f: (f / "tokenizer.json").unlink(), "processor cannot be loaded"),
        (lambda f: (f / "chat_template.jinja").unlink(), "ships no chat template"),
        (
            lambda f: (f / "chat_template.jinja").write_text("{{ messages[0]['content'][1]['text'] }}"),
            "0 image placeholders",
        ),
        (
            lambda f: (f / "chat_template.jinja").write_text("{% for x in %}"),
            "chat template cannot be rendered",
        ),
        (
            lambda f: edit(f / "config.json", vision_feature_layer=-9),
            "vision_feature_layer -9 is no output of its 3",
        ),
        (lambda f: edit(f / "config.json", image_token_index=7), "(has no image tokens|cannot)"),
    ],
)
def test_a_broken_folder_is_refused_in_one_line(folder, damage, message):
    damage(folder)
    with pytest.raises(ModelError, match=message) as error:
        load(folder).score(queries()[:1])
    assert "\n" not in str(error.value)


def test_devices_and_types_that_do_not_exist_are_refused(folder):
    card = resolve([str(folder)])[0].card
    for options, message in (
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"device": "cpu", "dtype": "int4"}, "unknown dtype 'int4'"),
    ):
        with pytest.raises(ModelError, match=message):
            load_engine(card, **options)


def test_code_of_a_model_is_not_run_unasked(folder):
    ran = folder / "ran"
    (folder / "modeling_mine.py").write_text(f"open({str(ran)!r}, 'w').write('x')\n")
    edit(
        folder / "config.json",
        model_type="mine",
        auto_map={"AutoConfig": "modeling_mine.C", "AutoModelForImageTextToText": "modeling_mine.M"},
    )
    with pytest.raises(ModelError):
        load(folder)
    assert not ran.exists()
    card = make_card({"name": "x", "path": str(folder), "trust_remote_code": True}, "x")
    with pytest.raises(ModelError, match="--trust-remote-code"):
        load_engine(card)


def test_a_card_that_describes_another_model_is_refused(folder):
    card = make_card({"name": "x", "path": str(folder), "anatomy": {"vision_blocks": 27}}, "x")
    with pytest.raises(ModelError, match=r"anatomy\.vision_blocks 27, the loaded model has 3"):
        load_engine(card, device="cpu")


def test_settings_of_card_and_call_reach_the_model(folder):
    engine = load(
        folder, dtype="bfloat16", model_args={"attn_implementation": "eager", "system": "Be brief."}
    )
    assert engine.description.dtype == "bfloat16"
    assert engine.description.fingerprint["attn_implementation"] == "eager"
    assert "<|im_start|>system\nBe brief." in engine._chat.render("?")
    assert engine.description.parameters == sum(p.numel() for p in engine._model.parameters())
    assert all(scores.error is None for scores in engine.score(queries()).scores)


def test_processor_settings_of_the_card_change_the_number_of_image_tokens(tiny_folder):
    def tokens(**processor):
        content = {"name": "x", "path": str(tiny_folder("qwen2_vl")), "processor": processor}
        engine = load_engine(make_card(content, "x"), device="cpu")
        return engine.image_tokens(queries()[1:2])[0]

    assert tokens() == 10  # 64 x 32 pixels, at most 64 patches of 4 x 4, four of them a token
    assert tokens(max_pixels=256) == 2  # at most 16 patches, in the shape of the picture


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("max_pixel", 256, "processor.max_pixel: neither its processor .* have such a setting"),
        ("max_pixels", "lots", "processor.max_pixels: 'lots' is no number of pixels"),
        ("min_pixels", -1, "processor.min_pixels: -1 is no number of pixels"),
    ],
)
def test_processor_settings_that_would_do_nothing_are_refused(key, value, message, tiny_folder):
    content = {"name": "x", "path": str(tiny_folder("qwen2_vl")), "processor": {key: value}}
    with pytest.raises(ModelError, match=message):
        load_engine(make_card(content, "x"), device="cpu")


def test_the_revision_changes_with_everything_that_can_change_an_answer(folder):
    before = folder_revision(folder)
    assert before == card_revision(resolve([str(folder)])[0].card) == load(folder).description.revision
    (folder / "README.md").write_text("no answer depends on this")
    moved = folder.rename(folder.with_name("elsewhere"))
    assert folder_revision(moved) == before
    seen = {before}
    for name in (
        "config.json",
        "tokenizer.json",
        "chat_template.jinja",
        "processor_config.json",
        "model.safetensors",
    ):
        file = moved / name
        file.write_bytes(file.read_bytes() + b" ")
        seen.add(folder_revision(moved))
    assert len(seen) == 6


def test_the_hash_of_a_large_file_is_remembered_in_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    model = tmp_path / "model"
    model.mkdir()
    weights = model / "model.safetensors"
    weights.write_bytes(bytes(2 << 20))
    first = folder_revision(model)
    (remembered,) = (tmp_path / "cache" / "file-hashes").iterdir()
    assert remembered.read_text() == hashlib.sha256(bytes(2 << 20)).hexdigest()
    remembered.write_text("0" * 64)  # what stands there is believed, so the file is not read again
    assert folder_revision(model) != first
    remembered.write_text("0" * 63)
    assert folder_revision(model) == first
    weights.write_bytes(bytes(2 << 20) + b"x")
    assert folder_revision(model) != first
    assert len(list((tmp_path / "cache" / "file-hashes").iterdir())) == 2
