"""Every card of the paper's models, their bases and the further medical ones says all that a user must know."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from harness.cli import cli
from model_adapters.catalog.card import ModelCard
from model_adapters.catalog.registry import resolve, shipped_cards
from tasks.catalog import shipped_names
from tests.model_adapters.cards.tiny_cards import cards_of_users, tiny_model

PAPER = {
    "medvlm-r1-2b",
    "huatuogpt-vision-7b",
    "huatuogpt-vision-34b",
    "lingshu-7b",
    "lingshu-32b",
    "shizhengpt-7b-vl",
    "shizhengpt-32b-vl",
    "hulu-med-4b",
    "hulu-med-7b",
    "hulu-med-14b",
    "hulu-med-32b",
    "medgemma-4b",
    "medgemma-27b",
    "medgemma-1.5-4b",
}
FILES = Path(__file__).parents[3] / "model_adapters" / "cards"
CARDS = pytest.mark.parametrize("card", cards_of_users(), ids=lambda card: card.name)


def test_the_groups_are_whole() -> None:
    assert {selected.card.name for selected in resolve(["paper"])} == PAPER
    medical = {selected.card.name for selected in resolve(["medical"])}
    assert medical > PAPER
    assert {c.base for c in cards_of_users() if c.name in medical and c.base} == {
        selected.card.name for selected in resolve(["bases"])
    }
    assert {c.name for c in cards_of_users()} <= {selected.card.name for selected in resolve(["all"])}


def test_no_two_cards_are_of_one_model() -> None:
    assert max(Counter(card.hub_id for card in cards_of_users()).values()) == 1
    for card in cards_of_users():
        assert resolve([str(card.hub_id)])[0].card == card


@CARDS
def test_a_card_is_complete(card: ModelCard) -> None:
    for key in ("title", "hub_id", "licence", "memory_gb", "citation", "notes"):
        assert getattr(card, key), key
    assert card.dtype == "bfloat16"
    assert card.engine == "transformers"
    assert card.revision is None
    if card.architecture is None:
        assert "The architecture is not known" in card.notes
        return
    anatomy = card.anatomy
    for key in ("vision_blocks", "vision_width", "llm_blocks", "llm_width", "consumed_layer", "image_token"):
        assert getattr(anatomy, key) is not None, key
    counted = [anatomy.image_tokens, anatomy.pixels_per_image_token]
    tiles = card.architecture.startswith("InternVL")  # as many as a picture's shape asks for
    assert sum(value is not None for value in counted) == (0 if tiles else 1)


@CARDS
def test_what_a_card_says_is_possible(card: ModelCard) -> None:
    if card.base is not None:
        base = shipped_cards()[card.base]
        assert "bases" in base.groups
        assert (base.architecture, base.memory_gb) == (card.architecture, card.memory_gb)
        assert base.anatomy == card.anatomy
    if "medical" in card.groups and not card.trained_on:
        assert "known" in card.notes or "no task here" in card.notes
    if card.headline == "generated":
        assert card.max_new_tokens == 1024
    if card.gated:
        assert str(card.hub_id).startswith("google/")
    if card.requires:
        assert card.trust_remote_code


@CARDS
def test_trained_on_names_tasks(card: ModelCard) -> None:
    assert set(card.trained_on) <= set(shipped_names())


@CARDS
def test_a_file_is_named_and_ordered_like_its_card(card: ModelCard) -> None:
    keys = list(yaml.safe_load((FILES / f"{card.name}.yaml").read_text(encoding="utf-8")))
    assert keys == [key for key in ModelCard.model_fields if key in keys]
    shown = CliRunner().invoke(cli, ["models", "show", card.name])
    assert shown.exit_code == 0
    assert f"hub_id: {card.hub_id}" in shown.output


def test_all_fourteen_are_measured_and_the_list_shows_every_card() -> None:
    assert {card.name for card in cards_of_users() if tiny_model(card)} >= PAPER
    listed = CliRunner().invoke(cli, ["models", "list", "--json"])
    assert listed.exit_code == 0
    assert {card.name for card in cards_of_users()} <= {
        card["name"] for card in yaml.safe_load(listed.output)
    }
