"""What an image classifier is before it is trained: its recipe, its settings, and what it starts from.

Nothing here imports torch, so that a plan can name revisions quickly.
"""

from __future__ import annotations

import re
from pathlib import Path

from model_adapters.catalog.card import ClassifierSettings, ModelCard
from model_adapters.interface import ModelError
from tasks.files import json_hash

RECIPE_VERSION = 1  # raised with every change that can change a prediction
_DIGITS = 12
_COMMIT = re.compile(r"^[0-9a-f]{40}$")


def classifier_revision(card: ModelCard, *, offline: bool = False) -> str:
    """Return `recipe:`, the recipe's version, and 12 hexadecimal digits over the card's settings.

    It is the same before and after training and on every machine: the trained weights, whose last bits depend
    on the processor, are stated in the fingerprint of the engine's description. Pretrained weights enter by
    their own revision, so that it does not matter where their folder lies.

    Raises:
        ModelError: the card is no classifier, or its pretrained weights are not there.
    """
    settings = classifier_settings(card)
    content = settings.model_dump(mode="json")
    content["pretrained"] = pretrained_revision(card, offline=offline)
    return f"recipe:{RECIPE_VERSION}-{json_hash(content)[:_DIGITS]}"


def classifier_settings(card: ModelCard) -> ClassifierSettings:
    """Return the card's classifier settings.

    Raises:
        ModelError: it has none.
    """
    if card.classifier is None:
        raise ModelError(
            f"{card.name}: the engine image_classifier needs the card's key 'classifier', which it has not"
        )
    return card.classifier


def pretrained_folder(place: str) -> Path | None:
    """Return the folder that `pretrained` names, None where it is a hub id."""
    folder = Path(place).expanduser()
    return folder if folder.is_dir() else None


def pretrained_revision(card: ModelCard, *, offline: bool = False) -> str | None:
    """Return the revision of the weights that training starts from, None where it starts from scratch.

    Raises:
        ModelError: a path leads nowhere, or a hub id's commit cannot be found out.
    """
    from model_adapters.catalog.hub import hub_commit
    from model_adapters.catalog.revision import folder_revision

    place = classifier_settings(card).pretrained
    if place is None:
        return None
    folder = pretrained_folder(place)
    if folder is None:
        if place.startswith((".", "/", "~")):
            raise ModelError(f"{card.name}: classifier.pretrained: there is no folder {place}")
        wanted = card.revision or "main"
        return wanted if _COMMIT.match(wanted) else hub_commit(place, wanted, offline=offline)
    if not (folder / "config.json").is_file():
        raise ModelError(f"{card.name}: classifier.pretrained: {place} has no config.json")
    return folder_revision(folder)
