"""A card that says something wrong, twice or by reference is refused in one line that names the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_adapters.catalog.card import load_card
from model_adapters.interface import ModelError

SOUND = "name: me/x\npath: model\n"
SERVER = "name: me/x\nengine: openai\nendpoint: {base_url: 'http://localhost/v1', model: %s}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SOUND + "name: me/y\n", "the key 'name' stands twice .* line 3"),
        (SOUND + "anatomy: {llm_blocks: 3, llm_blocks: 4}\n", "'llm_blocks' stands twice .* line 3"),
        (SOUND + "processor: &a {x: *a}\n", "an alias; write it out"),
        (SOUND + "notes: &a b\ntitle: *a\n", "an alias; write it out"),
        (SOUND + "anatomy: {vison_blocks: 3}\n", "'anatomy.vison_blocks'; anatomy has .*vision_blocks"),
        (
            SOUND + "anatomy: {paths: {visoin: a}}\n",
            "anatomy.paths has connector, decoder, final_norm, vision",
        ),
        (SOUND + "engnie: vllm\n", "'engnie'; a card has .*engine"),
        (SOUND + "anatomy: {paths: {vision: ''}}\n", "'anatomy.paths.vision'"),
        (SOUND + "memory_gb: .nan\n", "'memory_gb': .*finite"),
        (SOUND + "memory_gb: -5\n", "'memory_gb': .*greater than 0"),
        (SOUND + "generation: {repetition_penalty: .inf}\n", "'generation.repetition_penalty': .*finite"),
        (SOUND + "requires: transformers<5\n", r"'requires': must be a list, such as \[a, b\]"),
        ("path: model\n", "'name': must be given"),
        ("name: Müller/模型\npath: model\n", "'Müller/模型'; it may have letters"),
        (f"name: {'a' * 300}\npath: model\n", "'name': .*at most 200"),
        ("name: me/x\nhub_id: ''\n", "'hub_id': ''; it may have letters"),
        ("name: me/x\nhub_id: ../../etc\n", "'hub_id'"),
        (SOUND + "processor: {trust_remote_code: true}\n", "'processor': 'trust_remote_code' is no setting"),
        (SERVER % "''", "'endpoint.model'"),
        ("", "a model card is a mapping"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "card.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=message) as caught:
        load_card(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [SOUND, SERVER % "tiny", SOUND + "title: same\nnotes: same\n"])
def test_what_is_right_is_read(text: str, tmp_path: Path) -> None:
    file = tmp_path / "card.yaml"
    file.write_text(text, encoding="utf-8")
    assert load_card(file).name == "me/x"


def test_pretrained_weights_beside_a_card_are_found_from_anywhere(tmp_path):
    file = tmp_path / "card.yaml"
    hub_id = "microsoft/resnet-50"
    for stated, meant in (("./weights", str(tmp_path / "weights")), (hub_id, hub_id)):
        settings = f"{{kind: resnet, family: cnn, pretrained: {stated}}}"
        file.write_text(f"name: x\nengine: image_classifier\nclassifier: {settings}\n")
        assert load_card(file).classifier.pretrained == meant
