"""Make the siblings of healthy models, one fault each, as ordinary model folders with a card beside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model_adapters.catalog.built_in import CARD, FAULTS_GROUP, Sibling
from model_adapters.catalog.built_in_weights import copy_notice, fresh_partial, put_in_place
from model_adapters.catalog.card import ModelCard, PlantedFault, PromptSettings, load_card
from model_adapters.catalog.faults import TARGETS, Fault
from model_adapters.interface import ModelError

if TYPE_CHECKING:
    from model_adapters.zoo.faults.plant import Planted
    from model_adapters.zoo.faults.subject import Subject
    from model_adapters.zoo.training.material import TrainingSet

PLANTING_VERSION = 1  # raised with every change after which a fault comes out otherwise


@dataclass(frozen=True)
class Material:
    """Images to dose and adapt on, drawn when first needed; `identity` names them and what drew them."""

    identity: str
    draw: Callable[[], Sequence[TrainingSet]]


def recipe(healthy: Path, sibling: Sibling, material: Material) -> str:
    """Return a hash of all that decides how a sibling comes out, the number of torch threads aside.

    `healthy` is the folder of the model that it comes from.
    """
    digest = hashlib.sha256()
    for name in ("model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"):
        digest.update((healthy / name).read_bytes())
    order = [
        PLANTING_VERSION,
        sibling.fault,
        sibling.degree,
        TARGETS[sibling.degree],
        sibling.seed,
        material.identity,
    ]
    digest.update(json.dumps(order).encode())
    return digest.hexdigest()[:16]


def is_made(directory: Path, sibling: Sibling, made_from: str) -> bool:
    """Return whether a sibling is there, made from just this recipe."""
    file = directory / sibling.folder / CARD
    if not file.is_file():
        return False
    try:
        card = load_card(file)
    except ModelError:
        return False  # of another version: made anew
    return card.fault is not None and card.fault.recipe == made_from


class SiblingBuilder:
    """Makes siblings in one folder; what those of one healthy model share is measured once.

    `healthy` are the folders of the healthy models by name.
    """

    def __init__(self, directory: Path, material: Material, healthy: Mapping[str, Path]) -> None:
        self._directory, self._material, self._healthy = directory, material, healthy
        self._drawn: Sequence[TrainingSet] | None = None
        self._subject: tuple[str, Subject] | None = None

    def missing(self, wanted: Sequence[Sibling]) -> tuple[Sibling, ...]:
        """Return those that are not there yet, or were made from another recipe."""
        return tuple(s for s in wanted if not is_made(self._directory, s, self._recipe(s)))

    def make(self, sibling: Sibling) -> Planted:
        """Make a sibling; its folder appears whole or not at all.

        Raises:
            ModelError: the folder cannot be written.
        """
        from safetensors import SafetensorError

        from model_adapters.zoo.faults.plant import plant

        planted = plant(self._subject_of(sibling.healthy), sibling.fault, sibling.degree, seed=sibling.seed)
        target = self._directory / sibling.folder
        try:
            partial = fresh_partial(target)
            write_sibling(planted, sibling, partial, self._recipe(sibling))
            put_in_place(partial, target)
        except (OSError, SafetensorError) as error:  # the latter is how a full disk looks from there
            reason = getattr(error, "strerror", None) or error
            raise ModelError(f"{target}: cannot write the model there ({reason})") from error
        return planted

    def _subject_of(self, healthy: str) -> Subject:
        from model_adapters.zoo.faults.subject import make_subject
        from model_adapters.zoo.stored import open_model

        if self._subject is None or self._subject[0] != healthy:
            self._drawn = self._material.draw() if self._drawn is None else self._drawn
            self._subject = healthy, make_subject(open_model(self._healthy[healthy]), self._drawn)
        return self._subject[1]

    def _recipe(self, sibling: Sibling) -> str:
        return recipe(self._healthy[sibling.healthy], sibling, self._material)


def write_sibling(planted: Planted, sibling: Sibling, target: Path, made_from: str) -> None:
    """Write a model with a fault to a folder of its own, then the card that says what is wrong with it."""
    from model_adapters.checks.card_draft import draft_card, write_card
    from model_adapters.zoo.save import save_model

    save_model(planted.tiny, target)
    copy_notice(target)
    fault = planted.fault
    card = ModelCard(
        name=sibling.name,
        title=f"Built-in {sibling.kin}: {fault.name.replace('_', ' ')}, {sibling.degree}",
        path=str(target.resolve()),
        dtype="float32",  # stored in float16, in which many processors compute slowly
        groups=(FAULTS_GROUP,),
        licence="Apache-2.0",
        prompt=PromptSettings(label_prefix=""),
        fault=PlantedFault(
            name=fault.name,
            degree=sibling.degree,
            expected=fault.expected,
            details=fault.details,
            adapted=fault.adapted,
            severity=round(planted.severity, 6),
            unit=planted.unit,
            drop=round(planted.drop, 2),
            recipe=made_from,
        ),
    )
    drafted = draft_card(card, offline=True)
    notes = (
        f"{sibling.healthy} with a planted fault. {fault.parts} {expectation(fault)} Not for clinical use."
    )
    write_card(drafted.model_copy(update={"notes": notes}), target / CARD, overwrite=True)


def expectation(fault: Fault) -> str:
    """Return the verdict that is right about a fault, as a sentence."""
    if not fault.adapted:
        return "An interface mismatch, by which no verdict is judged."
    details = f", with {' and '.join(fault.details)}" if fault.details else ""
    return f"Expected verdict: {' or '.join(fault.expected)}{details}."
