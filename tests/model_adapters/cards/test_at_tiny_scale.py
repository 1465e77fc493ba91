"""Every card loads a tiny model of its architecture and depth by its own settings; docs/models.md says so.

Measuring and comparing share a file, so that they run in one process: the table is of what was just measured.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from model_adapters.catalog.card import GenerationSettings, ModelCard
from tests.model_adapters.cards import measure as measuring
from tests.model_adapters.cards import table
from tests.model_adapters.cards.measure import Measured, asked_alike, measure
from tests.model_adapters.cards.tiny_cards import TinyModel, cards_of_users, tiny_model

FolderOf = Callable[[TinyModel], Path]
SMALL = TinyModel("qwen2_vl", 3, 3)


MeasureOnce = Callable[[ModelCard, TinyModel], Measured]


@pytest.fixture(scope="module")
def measure_once(folder_of: FolderOf) -> MeasureOnce:
    """Measure a card, or return what a card with the same tiny model and equal settings gave."""
    seen: dict[tuple[TinyModel, str], Measured] = {}

    def once(card: ModelCard, tiny: TinyModel) -> Measured:
        key = asked_alike(card, tiny)
        if key not in seen:
            seen[key] = measure(card, tiny, folder_of(tiny))
        return seen[key]

    return once


@pytest.fixture(scope="module")
def measured() -> dict[str, Measured]:
    """What the tests of single cards found, by name; the comparison with the document comes last."""
    return {}


@pytest.mark.parametrize("card", [c for c in cards_of_users() if tiny_model(c)], ids=lambda card: card.name)
def test_a_card_fits_a_tiny_model_of_its_kind(
    card: ModelCard, measure_once: MeasureOnce, measured: dict[str, Measured]
) -> None:
    tiny = tiny_model(card)
    assert tiny is not None
    measured[card.name] = measure_once(card, tiny)
    assert measured[card.name].problems == ()


def test_the_table_in_the_documentation_is_what_was_measured(
    measure_once: MeasureOnce, measured: dict[str, Measured]
) -> None:
    rows = []
    for card in cards_of_users():
        tiny = tiny_model(card)
        if tiny is not None and card.name not in measured:  # run by itself
            measured[card.name] = measure_once(card, tiny)
        rows.append(table.row(card, tiny, measured.get(card.name)))
    text, made = table.DOCUMENT.read_text(encoding="utf-8"), table.render(rows)
    if os.environ.get("HARNESS_WRITE_DOCS") == "1":
        table.DOCUMENT.write_text(table.rewritten(text, made), encoding="utf-8")
        return
    assert table.written(text) == made, "rewrite it with: HARNESS_WRITE_DOCS=1 pytest tests/model_adapters/cards"


def lie(card: ModelCard, **anatomy: object) -> ModelCard:
    return card.model_copy(update={"anatomy": card.anatomy.model_copy(update=anatomy)})


@pytest.fixture(scope="module")
def honest() -> ModelCard:
    """The card of a Qwen2-VL of three blocks."""
    card = next(card for card in cards_of_users() if card.name == "qwen2-vl-2b")
    return lie(card, vision_blocks=3, llm_blocks=3, consumed_layer=2)


def test_what_a_card_has_wrong_is_seen(honest: ModelCard, folder_of: FolderOf) -> None:
    def found(card: ModelCard) -> Measured:
        return measure(card, SMALL, folder_of(SMALL))

    assert found(honest).problems == ()
    for key, value in (
        ("vision_blocks", 4),
        ("llm_blocks", 2),
        ("consumed_layer", 1),
        ("image_token", "</s>"),
    ):
        loads = found(lie(honest, **{key: value}).model_copy(update={"unverified": ()})).loads
        assert loads is not None
        assert f"anatomy.{key}" in loads
        unsure = lie(honest, **{key: value}).model_copy(update={"unverified": (f"anatomy.{key}",)})
        assert f"anatomy.{key}" in str(found(unsure).loads)  # loads with a remark, which is a problem here
    assert "loads as" in str(found(honest.model_copy(update={"architecture": "Another"})).loads)


def test_what_a_model_does_otherwise_is_seen(
    honest: ModelCard, folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(SMALL)
    truths = measuring.truths_of(folder, SMALL.builder, tuple(sorted(honest.processor.items())))
    for other, part in (
        (replace(truths[0], image_tokens=truths[0].image_tokens + 1), "image_tokens"),
        (replace(truths[0], score=truths[0].score + 0.01), "scores"),
        (replace(truths[0], logits=-truths[0].logits), "scores"),
    ):
        monkeypatch.setattr(measuring, "truths_of", lambda *_, other=other: (other, *truths[1:]))
        assert [
            bool(getattr(measure(honest, SMALL, folder), name)) for name in ("image_tokens", "scores")
        ] == [
            part == "image_tokens",
            part == "scores",
        ]


def test_a_penalty_on_repetition_changes_what_is_written_first(
    honest: ModelCard, folder_of: FolderOf
) -> None:
    weak = 0.02  # below 1 it favours what the prompt has, which shows in a model that seldom repeats
    fond = honest.model_copy(update={"generation": GenerationSettings(repetition_penalty=weak)})
    truths = measuring.truths_of(folder_of(SMALL), SMALL.builder, tuple(sorted(honest.processor.items())))
    changed = [
        measuring.likeliest_token(truth, weak) != measuring.likeliest_token(truth, 1.0) for truth in truths
    ]
    assert any(changed)  # else the penalty would not show
    assert measure(fond, SMALL, folder_of(SMALL)).problems == ()
