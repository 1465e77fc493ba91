"""The table of docs/models.md: one row a card, from the card and from what was just measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_adapters.catalog.card import ModelCard
from tests.model_adapters.cards.measure import Measured
from tests.model_adapters.cards.tiny_cards import TinyModel

DOCUMENT = Path(__file__).parents[3] / "docs" / "models.md"
PARITY = Path(__file__).with_name("vllm_parity.json")  # `make test-vllm` writes it
BEGIN = "<!-- Written by HARNESS_WRITE_DOCS=1 pytest tests/model_adapters/cards; do not edit by hand. -->"
END = "<!-- The end of what is written. -->"
HEADER = (
    "model",
    "hub id",
    "class",
    "licence",
    "memory",
    "own code",
    "loads",
    "sites = layers",
    "image tokens",
    "scores = generation",
    "vLLM parity",
)
UNMEASURED = "not measured"

Row = tuple[str, ...]


def row(card: ModelCard, tiny: TinyModel | None, measured: Measured | None) -> Row:
    """Return a card's row; without a tiny model nothing was measured."""
    facts = (
        f"`{card.name}`",
        f"`{card.hub_id}`",
        f"`{card.architecture}`" if card.architecture else "not known",
        f"{card.licence}{', gated' if card.gated else ''}",
        f"{card.memory_gb:.1f} GB",
        "yes" if card.trust_remote_code else "no",
    )
    if measured is None or tiny is None:
        return (*facts, *[UNMEASURED] * 5)
    anatomy = card.anatomy
    return (
        *facts,
        _cell(measured.loads),
        _cell(measured.sites, f"{anatomy.vision_blocks} + 1 + {anatomy.llm_blocks}"),
        _cell(measured.image_tokens),
        _cell(measured.scores),
        parity(tiny, read_parity()),
    )


def _cell(problem: str | None, detail: str = "") -> str:
    if problem is not None:
        return f"**no**: {problem.replace('|', chr(92) + '|')}"
    return f"yes ({detail})" if detail else "yes"


def read_parity() -> Mapping[str, Mapping[str, Any]]:
    """Return what `make test-vllm` measured, by builder; the fields are those of `interface.EngineParity`."""
    if not PARITY.exists():
        return {}
    found: Mapping[str, Mapping[str, Any]] = json.loads(PARITY.read_text(encoding="utf-8"))
    return found


def parity(tiny: TinyModel, found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the cell of a card's tiny architecture."""
    one = found.get(tiny.builder)
    if one is None or one.get("top1_agreement") is None:
        return UNMEASURED
    largest = one["largest_difference"]
    apart = f"{largest:.3f} nats at most" if largest >= 0.001 else "under 0.001 nats"
    return f"{100 * one['top1_agreement']:.0f}% same label, {apart}, {one['images']} images"


def render(rows: list[Row]) -> str:
    """Return the table in Markdown, between its two marks."""
    lines = [HEADER, ("---",) * len(HEADER), *rows]
    return "\n".join([BEGIN, "", *(f"| {' | '.join(cells)} |" for cells in lines), "", END])


def written(text: str) -> str:
    """Return the part of a document between the marks, both included.

    Raises:
        ValueError: a mark is missing, or stands twice.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{DOCUMENT.name} must hold each of the two marks of the table once")
    return text[text.index(BEGIN) : text.index(END) + len(END)]


def rewritten(text: str, table: str) -> str:
    """Return a document with another table between its marks."""
    return text.replace(written(text), table)
