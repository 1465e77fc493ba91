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
        (SOUND + "name: me/y\n", "3: name: stands twice; first in line 1"),
        (
            SOUND + "anatomy: {llm_blocks: 3, llm_blocks: 4}\n",
            "3: anatomy.llm_blocks: stands twice; first in line 3",
        ),
        (SOUND + "processor: &a {x: *a}\n", "3: processor.x: anchors and aliases are not allowed"),
        (SOUND + "notes: &a b\ntitle: *a\n", "4: title: anchors and aliases are not allowed"),
        (
            SOUND + "anatomy: {vison_blocks: 3}\n",
            "3: anatomy.vison_blocks: unknown key; did you mean `vision_blocks`?",
        ),
        (
            SOUND + "anatomy: {paths: {x: a}}\n",
            "3: anatomy.paths.x: unknown key; known are vision, connector, decoder, final_norm",
        ),
        (SOUND + "engnie: vllm\n", "3: engnie: unknown key; did you mean `engine`?"),
        (SOUND + "anatomy: {paths: {vision: ''}}\n", "3: anatomy.paths.vision: must not be empty"),
        (SOUND + "memory_gb: .nan\n", "3: memory_gb: must be a finite number"),
        (SOUND + "memory_gb: -5\n", "3: memory_gb: must be greater than 0"),
        (
            SOUND + "generation: {repetition_penalty: .inf}\n",
            "3: generation.repetition_penalty: must be a finite number",
        ),
        (SOUND + "requires: transformers<5\n", "3: requires: must be a list"),
        (SOUND + "requires: [transformers=5]\n", "3: requires: 'transformers=5' is no requirement such as"),
        (SOUND + "unverified: [anatomy.lm]\n", "3: unverified: 'anatomy.lm' is no key of a card"),
        (SOUND + "groups: [papers]\n", "3: groups[0]: `papers`: must be"),
        (SOUND + "hub_id: a/b\n", "1: exactly one of hub_id, path, endpoint and classifier"),
        ("path: model\n", "1: name: is required"),
        ("name: Müller/模型\npath: model\n", "1: name: 'Müller/模型'; it may have letters"),
        (f"name: {'a' * 300}\npath: model\n", "1: name: must have at most 200 characters"),
        ("name: me/x\nhub_id: ''\n", "2: hub_id: ''; it may have letters"),
        ("name: me/x\nhub_id: ../../etc\n", "2: hub_id: '../../etc'; it may have letters"),
        (
            SOUND + "processor: {trust_remote_code: true}\n",
            "3: processor: 'trust_remote_code' is no setting of a processor",
        ),
        (SERVER % "''", "3: endpoint.model: must not be empty"),
        (SOUND + "engnie: vllm\nmemory_gb: -5\n", "`engine`?; "),
        ("name: x\n", "1: exactly one of hub_id, path, endpoint and classifier"),
        ("name: [x\n", "not valid YAML"),
        (
            "name: !!python/object/apply:os.getcwd []\nhub_id: a/b\n",
            "1: name: the tag tag:yaml.org,2002:python",
        ),
        ("- x\n", "1: must be a mapping"),
        ("", "1: must be a mapping"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "card.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        load_card(file)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{file}:")
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
