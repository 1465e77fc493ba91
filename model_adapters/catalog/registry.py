"""Find models by name, glob, group, card, folder or hub id, and start the engine that runs them.

Nothing here imports an engine or its libraries until a model is loaded.
"""

from __future__ import annotations

import fnmatch
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

from model_adapters.catalog.built_in import CARD, FAULTS_GROUP, built_cards, default_folder, siblings
from model_adapters.catalog.card import GROUPS, ModelCard, load_card
from model_adapters.catalog.packaged import PackagedEngine, packaged_engines
from model_adapters.interface import Engine, LoadOptions, ModelError
from tasks.problems import did_you_mean

# Engine name -> "module:function" of a loader: a card and `interface.LoadOptions` in, an engine out.
ENGINES: Mapping[str, str] = {
    "transformers": "model_adapters.engines.transformers.engine:load",
    "vllm": "model_adapters.engines.vllm.engine:load",
    "openai": "model_adapters.engines.openai.engine:load",
    "image_classifier": "model_adapters.engines.classifier.engine:load",
    "vision_head": "model_adapters.finetune.vision_head_engine:load",
}

_NOT_IN_ALL = {FAULTS_GROUP}
_GLOB = re.compile(r"[*?\[]")
_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*$")
_UNUSUAL = re.compile(r"[^\w.\-]+", re.ASCII)


@dataclass(frozen=True)
class Selected:
    """A model that was asked for; `named` is False where only a group or a glob brought it in."""

    card: ModelCard
    named: bool


@cache
def shipped_cards() -> Mapping[str, ModelCard]:
    """Return every card that comes with the package, by name, sorted.

    Raises:
        ModelError: a card is wrong, or two have one name.
    """
    found: dict[str, ModelCard] = {}
    folder = files("model_adapters") / "cards"
    if not folder.is_dir():
        return found
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.name.endswith(".yaml"):
            with as_file(entry) as path:
                card = load_card(path)
            if card.name in found:
                raise ModelError(f"{entry.name}: a second card named {card.name!r}")
            found[card.name] = card
    return dict(sorted(found.items()))


def built_models(pattern: str = "*") -> tuple[ModelCard, ...]:
    """Return the cards of the models with faults that `harness zoo build` made, by a glob of their names.

    Raises:
        ModelError: a card that was made cannot be read, as one of another version may be.
    """
    found = [file for name, file in built_cards().items() if fnmatch.fnmatchcase(name, pattern)]
    try:
        return tuple(load_card(file) for file in found)
    except ModelError as error:
        raise ModelError(f"{error}; `harness zoo build` makes it anew") from error


def resolve(names: Sequence[str | ModelCard]) -> tuple[Selected, ...]:
    """Return the models that names, globs, groups, `all`, card files, folders or hub ids stand for.

    Each model comes once, in the order in which it was first asked for.

    Raises:
        ModelError: something stands for nothing; the message proposes names that are close.
    """
    chosen: dict[tuple[str, str], Selected] = {}
    for name in names:
        cards, named = ([name], True) if isinstance(name, ModelCard) else _expand(name.strip())
        for card in cards:
            known = chosen.get((card.name, card.condition))
            if known is not None and known.card != card:
                raise ModelError(
                    f"{card.name}: two different models are named {card.name!r}; rename one card"
                )
            chosen[card.name, card.condition] = Selected(card, named or (known is not None and known.named))
    return tuple(chosen.values())


def _expand(name: str) -> tuple[list[ModelCard], bool]:
    cards = shipped_cards()
    if name in cards:
        return [cards[name]], True
    if name == "all":
        return [c for c in cards.values() if not _NOT_IN_ALL.intersection(c.groups)], False
    if name in GROUPS:
        return _group(name), False
    by_hub_id = [card for card in cards.values() if card.hub_id == name]
    if by_hub_id:
        return by_hub_id, True
    if name.startswith(f"{FAULTS_GROUP}/") and not _GLOB.search(name):
        return [_built_model(name)], True
    path = Path(name).expanduser()
    if path.exists():
        return [_card_at(path)], True
    if _GLOB.search(name):
        matches = [card for key, card in cards.items() if fnmatch.fnmatchcase(key, name)]
        matches += built_models(name)
        if not matches:
            raise ModelError(f"no model matches {name!r}; `harness models list` shows all")
        return matches, False
    return [_hub_card(name)], True


def _group(name: str) -> list[ModelCard]:
    members = [card for card in shipped_cards().values() if name in card.groups]
    if name == FAULTS_GROUP:
        members += built_models()
    if members:
        return members
    if name == FAULTS_GROUP:
        raise ModelError(
            f"the group {name!r} has no models in {default_folder()} yet; make them with `harness zoo build`"
        )
    raise ModelError(f"the group {name!r} has no models in this version")


def _built_model(name: str) -> ModelCard:
    found = built_models(name)
    if found:
        return found[0]
    to_make = {sibling.name: sibling.folder for sibling in siblings()}
    if name in to_make:
        raise ModelError(
            f"{name}: not in {default_folder()} yet; make it with `harness zoo build --only {to_make[name]}`"
        )
    raise ModelError(f"unknown model {name!r}{_hint(name, list(to_make))}")


def _card_at(path: Path) -> ModelCard:
    if path.is_file():
        if path.suffix not in (".yaml", ".yml"):
            raise ModelError(f"{path}: neither a model card (.yaml) nor a folder that holds a model")
        return load_card(path)
    if (path / CARD).is_file():  # as a model with a fault has, and a tuned one
        return load_card(path / CARD)
    if not (path / "config.json").is_file():
        raise ModelError(f"{path}: the folder has no config.json, so it holds no model")
    name = _UNUSUAL.sub("-", path.resolve().name).strip("-._") or "model"
    return ModelCard(name=name, title=path.resolve().name, path=str(path.resolve()))


def _hub_card(name: str) -> ModelCard:
    if name.startswith((".", "/", "~")) or name.endswith((".yaml", ".yml", "/")):
        raise ModelError(f"{name}: no such file or folder")
    # A slip in a shipped name that has a slash must not be taken for a model on the hub.
    if not _HUB_ID.match(name) or name.split("/")[0] in GROUPS:
        raise ModelError(f"unknown model {name!r}{_hint(name, [*shipped_cards(), *GROUPS])}")
    return ModelCard(name=name, title=name, hub_id=name)


def _hint(name: str, known: Sequence[str]) -> str:
    return did_you_mean(name, known, 3) or "; `harness models list` shows all"


def engine_names() -> tuple[str, ...]:
    """Return the names of all engines: those that come with the harness, then those of installed packages."""
    return tuple(dict.fromkeys((*ENGINES, *packaged_engines())))


def packaged_engine(name: str) -> PackagedEngine | None:
    """Return an installed package's engine by name; None for one of the harness, or none at all."""
    return None if name in ENGINES else packaged_engines().get(name)


def engine_problems() -> tuple[str, ...]:
    """Say of every packaged engine in one line why it is not used: it has the name of one of the harness."""
    return tuple(
        f"{packaged.title} has the name of an engine that comes with the harness; it is not used"
        for name, packaged in packaged_engines().items()
        if name in ENGINES
    )


def load_engine(
    card: ModelCard,
    *,
    engine: str = "auto",
    device: str = "auto",
    dtype: str | None = None,
    batch_size: int | str | None = None,
    trust_remote_code: bool = False,
    offline: bool = False,
    model_args: Mapping[str, str] | None = None,
) -> Engine:
    """Load a model with the engine that the card names, or with another one.

    The other arguments are those of `interface.LoadOptions`.

    Raises:
        ModelError: no such engine, or the model cannot be loaded.
    """
    chosen = card.engine if engine == "auto" else engine
    options = LoadOptions(device, dtype, batch_size, trust_remote_code, offline, dict(model_args or {}))
    packaged = packaged_engine(chosen)
    if packaged is None and chosen not in ENGINES:
        raise ModelError(f"{card.name}: unknown engine {chosen!r}; there are {', '.join(engine_names())}")
    if card.adapter is not None and chosen not in ("transformers", "vision_head"):
        raise ModelError(f"{card.name}: the engine {chosen} merges no adapter; leave --engine out")
    if packaged is not None:
        return packaged.load(card, options)
    module, _, attribute = ENGINES[chosen].partition(":")
    load: Callable[[ModelCard, LoadOptions], Engine] = getattr(importlib.import_module(module), attribute)
    return load(card, options)
