"""The names of the built-in models with faults, and where those that were made are kept. Without torch."""

from __future__ import annotations

import difflib
import fnmatch
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_dir

from model_adapters.interface import ModelError
from model_adapters.zoo.build import GROUP, names
from model_adapters.zoo.faults.catalogue import FAULTS, Degree

FAULTS_GROUP = "zoo-faults"
CARD = "card.yaml"
_HEALTHY = "-healthy"


@dataclass(frozen=True)
class Sibling:
    """A model to be made: the healthy one it comes from (`zoo/llava-healthy`), the fault and its degree."""

    healthy: str
    fault: str
    degree: Degree

    @property
    def folder(self) -> str:
        """Name of its folder, for example `llava-blind-strong`."""
        kin = self.healthy.removeprefix(f"{GROUP}/").removesuffix(_HEALTHY)
        return f"{kin}-{self.fault.replace('_', '-')}-{self.degree}"

    @property
    def name(self) -> str:
        """Its name, for example `zoo-faults/llava-blind-strong`."""
        return f"{FAULTS_GROUP}/{self.folder}"


def siblings() -> tuple[Sibling, ...]:
    """Return every sibling of the stored healthy models, those of one model together."""
    return tuple(
        Sibling(healthy, fault.name, degree)
        for healthy in names()
        for fault in FAULTS.values()
        for degree in fault.degrees
    )


@dataclass(frozen=True)
class Selection:
    """What is to be written: stored models by name, and siblings to be made."""

    healthy: tuple[str, ...]
    siblings: tuple[Sibling, ...]


def select(wanted: Sequence[str]) -> Selection:
    """Return what the groups `zoo` and `zoo-faults`, names with or without their group, and globs stand for.

    Raises:
        ModelError: a name stands for nothing; the message proposes names that are close.
    """
    known: dict[str, str | Sibling] = {name: name for name in names()}
    known |= {sibling.name: sibling for sibling in siblings()}
    chosen: dict[str, str | Sibling] = {}
    for word in wanted:
        found = [
            name
            for name in known
            if word in (name.split("/")[0], name, name.split("/")[1])
            or fnmatch.fnmatchcase(name, word)
            or fnmatch.fnmatchcase(name.split("/")[1], word)
        ]
        if not found:
            short = [name.split("/")[1] for name in known]
            close = difflib.get_close_matches(word.split("/")[-1], short, n=3)
            hint = f"; did you mean {' or '.join(close)}?" if close else f"; there are {', '.join(short)}"
            raise ModelError(f"unknown built-in model {word!r}{hint}")
        chosen |= {name: known[name] for name in found}
    return Selection(
        tuple(item for item in chosen.values() if isinstance(item, str)),
        tuple(item for item in chosen.values() if isinstance(item, Sibling)),
    )


def default_folder() -> Path:
    """Return where models with faults are made and looked for: `HARNESS_ZOO_DIR`, else a folder of the cache."""
    stated = os.environ.get("HARNESS_ZOO_DIR")
    if stated:
        return Path(stated).expanduser()
    cache = os.environ.get("HARNESS_CACHE_DIR")
    return (Path(cache).expanduser() if cache else Path(user_cache_dir("mllm-harness"))) / "zoo"


def built_cards() -> tuple[Path, ...]:
    """Return the cards of the models with faults that were made in the default folder, sorted."""
    return tuple(sorted(default_folder().glob(f"*/{CARD}")))
