"""The names of the built-in models with faults, and where those that were made are kept. Without torch."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_adapters.catalog.built_in_weights import GROUP, names
from model_adapters.catalog.faults import FAULTS, Degree
from model_adapters.interface import ModelError
from tasks.files import cache_folder
from tasks.problems import did_you_mean

FAULTS_GROUP = "zoo-faults"
CARD = "card.yaml"
_HEALTHY = "-healthy"


@dataclass(frozen=True)
class Sibling:
    """A model to be made: the healthy one it comes from (`zoo/llava-healthy`), the fault and its degree.

    Noise, subspaces and chosen labels are drawn from `seed`.
    """

    healthy: str
    fault: str
    degree: Degree
    seed: int = 0

    @property
    def kin(self) -> str:
        """What it shares with the healthy model's name, for example `llava`."""
        return self.healthy.removeprefix(f"{GROUP}/").removesuffix(_HEALTHY)

    @property
    def folder(self) -> str:
        """Name of its folder, for example `llava-blind-strong`, for another seed `llava-blind-strong-seed1`."""
        plain = f"{self.kin}-{self.fault.replace('_', '-')}-{self.degree}"
        return plain if self.seed == 0 else f"{plain}-seed{self.seed}"

    @property
    def name(self) -> str:
        """Its name, for example `zoo-faults/llava-blind-strong`."""
        return f"{FAULTS_GROUP}/{self.folder}"


def siblings(seed: int = 0) -> tuple[Sibling, ...]:
    """Return every sibling of the healthy models, those of one model together."""
    return tuple(
        Sibling(healthy, fault.name, degree, seed)
        for healthy in names()
        for fault in FAULTS.values()
        for degree in fault.degrees
    )


@dataclass(frozen=True)
class Selection:
    """What is to be written: healthy models by name, and siblings to be made."""

    healthy: tuple[str, ...]
    siblings: tuple[Sibling, ...]


def select(wanted: Sequence[str], *, seed: int = 0) -> Selection:
    """Return what the groups `zoo` and `zoo-faults`, names with or without their group, and globs stand for.

    Siblings are named without their seed.

    Raises:
        ModelError: a name stands for nothing; the message proposes names that are close.
    """
    known: dict[str, str | Sibling] = {name: name for name in names()}
    for plain, sibling in zip(siblings(), siblings(seed), strict=True):
        known[plain.name] = sibling
    chosen: dict[str, str | Sibling] = {}
    for word in wanted:
        found = [name for name in known if _means(word, name)]
        if not found:
            raise ModelError(f"unknown built-in model {word!r}{_hint(word, list(known))}")
        chosen |= {name: known[name] for name in found}
    return Selection(
        tuple(item for item in chosen.values() if isinstance(item, str)),
        tuple(item for item in chosen.values() if isinstance(item, Sibling)),
    )


def _means(word: str, name: str) -> bool:
    group, _, short = name.partition("/")
    return word == group or fnmatch.fnmatchcase(name, word) or fnmatch.fnmatchcase(short, word)


def _hint(word: str, known: Sequence[str]) -> str:
    short = [name.split("/")[1] for name in known]
    example = f"{short[0]} or {siblings()[0].folder}"
    known_ones = f"; there are the groups {GROUP} and {FAULTS_GROUP}, and names such as {example}"
    return did_you_mean(word.split("/")[-1], short, 3) or known_ones


def default_folder() -> Path:
    """Return where built-in models are made and looked for: `HARNESS_ZOO_DIR`, else a folder of the cache."""
    stated = os.environ.get("HARNESS_ZOO_DIR")
    if stated:
        return Path(stated).expanduser()
    return cache_folder() / "zoo"


def built_cards() -> Mapping[str, Path]:
    """Return the cards of the models with faults that were made in the default folder, by model name, sorted."""
    found = sorted(default_folder().glob(f"[!.]*/{CARD}"))  # a folder that begins with a dot is not finished
    return {f"{FAULTS_GROUP}/{file.parent.name}": file for file in found}
