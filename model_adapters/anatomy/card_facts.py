"""Hold a loaded model against the facts on its card."""

from __future__ import annotations

from collections.abc import Mapping

from model_adapters.catalog.card import ModelCard
from model_adapters.interface import ModelError


def compare_with_card(card: ModelCard, measured: Mapping[str, int | str | None]) -> tuple[str, ...]:
    """Compare what a loaded model has with the card's `anatomy`, by its keys.

    Returns a remark for each fact that the card marks as unverified and that turned out otherwise. What the
    card does not state, or could not be measured (None), is not compared.

    Raises:
        ModelError: a fact that the card is sure of is wrong, so this may be another model.
    """
    remarks = []
    for key, found in measured.items():
        stated = getattr(card.anatomy, key)
        if stated is None or found is None or stated == found:
            continue
        message = f"the card says anatomy.{key} {stated}, the loaded model has {found}"
        if f"anatomy.{key}" not in card.unverified:
            raise ModelError(f"{card.name}: {message}")
        remarks.append(
            f"{message}: unverified on the card, so the model is believed; please correct the card"
        )
    return tuple(remarks)
