"""What exactly a model is: a hub commit, or a hash over all in a folder that can change an answer."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from model_adapters.catalog.card import ClassifierSettings, ModelCard
from model_adapters.catalog.hub import hub_commit
from model_adapters.interface import ModelError
from tasks.files import cache_folder, json_hash, read_kept, write_atomically

RECIPE_VERSION = 1  # of image classifiers; raised with every change that can change a prediction
_RECIPE_DIGITS = 12
_COMMIT = re.compile(r"^[0-9a-f]{40}$")
_SUFFIXES = (".safetensors", ".json", ".jinja", ".model", ".txt", ".py", ".tiktoken")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LARGE = 1 << 20  # bytes from which on a file's hash is remembered


def model_folder(card: ModelCard) -> Path | None:
    """Return the folder that holds a card's model, None for one on the hub.

    Raises:
        ModelError: the folder is missing or holds no model.
    """
    if card.path is None:
        return None
    if card.path.startswith("package:"):
        folder = Path(str(files("model_adapters"))) / card.path.removeprefix("package:").strip("/")
    else:
        folder = Path(card.path).expanduser()
    if not folder.is_dir():
        base = "" if card.adapter is None else ", which holds the base model of the adapter"
        raise ModelError(f"{card.name}: there is no folder {folder}{base}")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{card.name}: {folder} has no config.json, so it holds no model")
    return folder


def card_revision(card: ModelCard, *, offline: bool = False) -> str:
    """Return the revision of a card's model, before anything is loaded: of its base, and of its adapter if any.

    Raises:
        ModelError: a folder is missing, or the commit cannot be found out.
    """
    base = base_revision(card, offline=offline)
    if card.adapter is None:
        return base
    from model_adapters.catalog.tuned import adapter_revision

    return f"{base}+adapter:{adapter_revision(card)}"


def base_revision(card: ModelCard, *, offline: bool = False) -> str:
    """Return the revision of the weights that a card names, any adapter left aside.

    For a hub model that is the commit its revision (or `main`) stands for: as the hub says, or without
    network as the local cache remembers. For a folder it is `sha256:` and a hash, for a server `server:` and
    the name of the model there, for a classifier that is trained here `recipe:` and a hash of its settings.

    Raises:
        ModelError: the folder is missing, or the commit cannot be found out.
    """
    if card.classifier is not None:
        return classifier_revision(card, offline=offline)
    if card.endpoint is not None:
        return f"server:{card.endpoint.model}"
    folder = model_folder(card)
    if folder is not None:
        return folder_revision(folder)
    assert card.hub_id is not None
    wanted = card.revision or "main"
    if _COMMIT.match(wanted):
        return wanted
    return hub_commit(card.hub_id, wanted, offline=offline)


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
    return f"recipe:{RECIPE_VERSION}-{json_hash(content)[:_RECIPE_DIGITS]}"


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


def folder_revision(folder: Path) -> str:
    """Return `sha256:` and 16 hexadecimal digits over weights, configuration, tokenizer and templates.

    Names and contents of the files count, their place and dates do not. A file's own hash is remembered
    in the cache folder by path, size and time of change.
    """
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in _SUFFIXES):
        relative = file.relative_to(folder).as_posix()
        if any(part.startswith(".") for part in Path(relative).parts):
            continue
        digest.update(f"{relative}\0{_file_hash(file)}\n".encode())
    return f"sha256:{digest.hexdigest()[:16]}"


def _file_hash(file: Path) -> str:
    status = file.stat()
    if status.st_size < _LARGE:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    signature = [str(file.resolve()), status.st_size, status.st_mtime_ns, status.st_ino]
    remembered = cache_folder() / "file-hashes" / json_hash(signature)
    known = read_kept(remembered, lambda kept: kept.read_text(encoding="ascii").strip()) or ""
    if _SHA256.fullmatch(known):
        return known
    with file.open("rb") as stream:
        fresh = hashlib.file_digest(stream, "sha256").hexdigest()
    with suppress(OSError):  # a cache that cannot be written costs time only
        write_atomically(remembered, fresh)
    return fresh
