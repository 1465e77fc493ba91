"""The healthy built-in models as a user meets them: ordinary folders that transformers loads and that answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from harness.data.phantom import CLASSES, generate
from model_adapters.catalog.built_in_weights import build_one, names
from model_adapters.engines.transformers.processors import load_processor
from model_adapters.interface import ModelError

FREE = "This is an ultrasound image. What does it show: {}? Answer with one of these only."
LETTERS = "This is an ultrasound image. What does it show?\n{}\nAnswer with the letter of one option only."
FRESH = 60_000  # no task and no training uses these indices


@pytest.fixture(scope="module")
def loaded(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    # As AutoProcessor gives it; Qwen's would ask for torchvision, for videos.
    return model, load_processor(str(folder), model.config, folder.name, local_files_only=True)


def first_token_scores(loaded: tuple[Any, Any], images: np.ndarray, prompts: list[str]) -> torch.Tensor:
    model, processor = loaded
    rows = []
    for start in range(0, len(images), 50):
        part = slice(start, start + 50)
        messages = [
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]
            for prompt in prompts[part]
        ]
        text = [processor.apply_chat_template(m, add_generation_prompt=True) for m in messages]
        pictures = [[Image.fromarray(image).convert("RGB")] for image in images[part]]
        inputs = processor(images=pictures, text=text, padding=True, return_tensors="pt")
        with torch.no_grad():
            rows.append(model(**inputs, logits_to_keep=1).logits[:, -1])
    return torch.cat(rows)


def token(loaded: tuple[Any, Any], word: str) -> int:
    (only,) = loaded[1].tokenizer(word, add_special_tokens=False)["input_ids"]
    return int(only)


def test_free_labels(loaded: tuple[Any, Any]) -> None:
    batch = generate(FRESH, 200)
    prompt = FREE.format("normal, cyst, benign, malignant or calcified")
    scores = first_token_scores(loaded, batch.images, [prompt] * 200)[:, [token(loaded, c) for c in CLASSES]]
    assert (scores.argmax(1).numpy() == batch.labels).mean() > 0.6


def test_letters_under_shuffled_options(loaded: tuple[Any, Any]) -> None:
    batch = generate(FRESH, 200)
    orders = [np.random.default_rng(index).permutation(5) for index in range(200)]
    options = ["\n".join(f"{x}) {CLASSES[k]}" for x, k in zip("ABCDE", o, strict=True)) for o in orders]
    scores = first_token_scores(loaded, batch.images, [LETTERS.format(o) for o in options])
    chosen = scores[:, [token(loaded, letter) for letter in "ABCDE"]].argmax(1).numpy()
    answers = np.array([order[k] for order, k in zip(orders, chosen, strict=True)])
    assert (answers == batch.labels).mean() > 0.6


def test_it_writes_a_label_and_stops(loaded: tuple[Any, Any]) -> None:
    model, processor = loaded
    content = [{"type": "image"}, {"type": "text", "text": FREE.format(", ".join(CLASSES))}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    image = Image.fromarray(generate(FRESH, 1).images[0]).convert("RGB")
    inputs = processor(images=[image], text=[text], return_tensors="pt")
    written = model.generate(**inputs, max_new_tokens=8)[0, inputs["input_ids"].shape[1] :]
    assert processor.tokenizer.decode(written, skip_special_tokens=True) in CLASSES
    assert written[-1] == processor.tokenizer.eos_token_id


def test_labels_tokenise_alike_alone_and_after_the_prompt(loaded: tuple[Any, Any]) -> None:
    _, processor = loaded
    tokenizer = processor.tokenizer
    content = [{"type": "image"}, {"type": "text", "text": "What is it?"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    asked = tokenizer(text, add_special_tokens=False)["input_ids"]
    for label in (*CLASSES, "A", "E", "normal colon mucosa", "pneumonia"):
        alone = tokenizer(label, add_special_tokens=False)["input_ids"]
        assert tokenizer(text + label, add_special_tokens=False)["input_ids"] == asked + alone


def test_weights_are_as_vllm_wants_them(folder: Path) -> None:
    file = folder / "model.safetensors"
    with safe_open(file, "pt") as weights:
        keys = list(weights.keys())
        assert {weights.get_tensor(key).dtype for key in keys} == {torch.float16}
    vision = [key for key in keys if key.startswith(("vision_tower.", "visual."))]
    assert vision
    assert all(key.startswith(("vision_tower.vision_model.", "visual.")) for key in vision)
    config = json.loads((folder / "config.json").read_text())
    for part in (config["vision_config"], config["text_config"]):
        assert part["hidden_size"] // part.get("num_attention_heads", part.get("num_heads")) >= 32
    assert file.stat().st_size < 4_000_000


def test_no_weight_is_missing_or_left_over(folder: Path) -> None:
    from transformers import AutoModelForImageTextToText

    _, told = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]


def test_building_twice_changes_nothing_and_repairs(tmp_path: Path) -> None:
    folder = build_one("zoo/llava-healthy", tmp_path)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    (folder / "config.json").write_text("broken")
    assert build_one("zoo/llava-healthy", tmp_path) == folder
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert "NOTICE" in before


def test_an_unknown_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=", ".join(names())):
        build_one("zoo/llava-sick", tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot write"):
        build_one("zoo/llava-healthy", tmp_path / "file")


def test_the_card_states_what_the_folder_holds(folder: Path) -> None:
    from model_adapters.catalog.registry import shipped_cards
    from model_adapters.checks.card_draft import draft_card

    card = shipped_cards()[f"zoo/{folder.name}"]
    found = draft_card(card.model_copy(update={"path": str(folder)}), offline=True)
    assert (found.architecture, found.anatomy) == (card.architecture, card.anatomy)
    assert (card.groups, card.licence, card.prompt.label_prefix) == (("zoo",), "Apache-2.0", "")
    with safe_open(folder / "model.safetensors", "pt") as weights:
        count = sum(weights.get_tensor(key).numel() for key in weights.keys())  # noqa: SIM118
    assert f"{count / 1e6:.1f} million parameters" in card.notes
    assert f"{count:,} parameters" in (folder / "NOTICE").read_text()
