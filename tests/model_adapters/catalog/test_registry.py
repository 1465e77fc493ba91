"""Models are found by name, glob, group, card, folder or hub id; what stands for nothing is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from model_adapters.catalog import registry
from model_adapters.catalog.card import make_card
from model_adapters.catalog.registry import load_engine, resolve, shipped_cards
from model_adapters.interface import ModelError


def card(name, *groups, **more):
    return make_card(
        {"name": name, "hub_id": f"org/{name.replace('/', '-')}", "groups": groups, **more}, name
    )


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    monkeypatch.setenv("HARNESS_ZOO_DIR", str(tmp_path / "nothing-built"))
    cards = {
        c.name: c
        for c in (
            card("zoo/llava-healthy", "zoo"),
            card("zoo/llava-noise", "zoo-faults"),
            card("medgemma-4b", "paper", "medical"),
            card("gemma-3-4b", "bases"),
        )
    }
    monkeypatch.setattr(registry, "shipped_cards", lambda: cards)


def chosen(*names):
    return [(s.card.name, s.named) for s in resolve(names)]


def test_names_globs_and_groups(shipped):
    assert chosen("zoo/llava-healthy") == [("zoo/llava-healthy", True)]
    assert chosen("zoo/*") == [("zoo/llava-healthy", False), ("zoo/llava-noise", False)]
    assert chosen("paper", "gemma-3-4b") == [("medgemma-4b", False), ("gemma-3-4b", True)]
    assert "zoo/llava-noise" not in [name for name, _ in chosen("all")]
    assert len(chosen("all", "zoo-faults")) == 4


def test_a_name_given_beside_its_group_counts_as_named(shipped):
    assert chosen("paper", "medgemma-4b") == chosen("medgemma-4b", "paper") == [("medgemma-4b", True)]


def test_hub_ids(shipped):
    assert chosen("org/medgemma-4b") == [("medgemma-4b", True)]  # the card's own settings are used
    (found,) = resolve(["llava-hf/llava-1.5-7b-hf"])
    assert (found.card.hub_id, found.card.name, found.named) == ("llava-hf/llava-1.5-7b-hf",) * 2 + (True,)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("medgemma-4", "unknown model 'medgemma-4'; did you mean `medgemma-4b"),
        ("zoo/llava-helthy", "did you mean `zoo/llava-healthy"),
        ("bass", "did you mean `bases"),
        ("nothing-*", "no model matches"),
        ("reference", "group 'reference' has no models"),
        ("./not-there", "no such file or folder"),
        ("cards/mine.yaml", "no such file or folder"),
    ],
)
def test_what_stands_for_nothing_is_refused(shipped, name, message):
    with pytest.raises(ModelError, match=message.replace("*", r"\*")):
        resolve([name])


def test_folders_and_cards(shipped, tmp_path, monkeypatch):
    folder = tmp_path / "my model"
    folder.mkdir()
    with pytest.raises(ModelError, match=r"no config\.json"):
        resolve([str(folder)])
    (folder / "config.json").write_text("{}")
    (found,) = resolve([str(folder)])
    assert (found.card.name, found.card.path, found.named) == ("my-model", str(folder), True)

    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\npath: my model\nprompt: {label_prefix: ''}\n")
    monkeypatch.chdir("/")
    (found,) = resolve([str(file)])
    assert found.card.path == str(folder)  # relative to the card, not to where the command runs
    namesake = tmp_path / "other" / "my model"
    namesake.mkdir(parents=True)
    (namesake / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="two different models are named 'my-model'"):
        resolve([str(folder), str(namesake)])


def test_shipped_cards_are_sound():
    cards = shipped_cards()
    assert "zoo/llava-healthy" in cards
    assert all(c.licence and c.groups for c in cards.values())


def test_unknown_engines_and_arguments_are_refused(tiny_folder):
    found = resolve([str(tiny_folder("llava_siglip"))])[0].card
    with pytest.raises(ModelError, match="unknown engine 'vlm'; there are transformers"):
        load_engine(found, engine="vlm")
    with pytest.raises(ModelError, match="unknown model argument 'temperature'"):
        load_engine(found, model_args={"temperature": "1"})


def test_choosing_models_imports_no_heavy_library():
    program = (
        "import sys, model_adapters.catalog.revision; from model_adapters.catalog.registry import resolve;"
        "resolve(['all']); assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("place", "engine"),
    [
        ({"endpoint": {"base_url": "http://127.0.0.1:9/v1", "model": "m"}}, "openai"),
        ({"classifier": {"kind": "resnet", "family": "cnn"}}, "image_classifier"),
    ],
)
def test_a_card_names_the_engine_that_its_place_needs(place, engine):
    assert make_card({"name": "m", "engine": engine, **place}, "card").engine == engine
    with pytest.raises(ModelError, match=f"needs engine: {engine}, not transformers"):
        make_card({"name": "m", **place}, "card")
