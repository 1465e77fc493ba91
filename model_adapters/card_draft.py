"""Draft a model card by looking at a model's configuration: its parts are found, its weights not loaded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from model_adapters.card import ExpectedAnatomy, ModelCard
from model_adapters.interface import ModelError

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


def draft_card(card: ModelCard, *, offline: bool = False, trust_remote_code: bool = False) -> ModelCard:
    """Return `card`, which says where a model is, with everything filled in that its files tell.

    The model is built without memory for its weights, so that blocks are found in what the library makes
    of the configuration, as an evaluation will find them. Facts that files do not tell, such as the licence
    of a local folder, stay empty.

    Raises:
        ModelError: the model is of no known kind, or a part of it cannot be found.
    """
    import torch

    from model_adapters.anatomy import find_anatomy
    from model_adapters.processors import load_processor
    from model_adapters.revision import model_folder
    from model_adapters.transformers_load import auto_class, load_config

    folder = model_folder(card)
    location = str(folder) if folder is not None else str(card.hub_id)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code, "local_files_only": offline}
    if folder is None:
        options["revision"] = card.revision
    config = load_config(location, card.name, options)
    with torch.device("meta"):
        model = auto_class(config, card.name, trust_remote_code).from_config(
            config, **({"trust_remote_code": True} if trust_remote_code else {})
        )
    anatomy = find_anatomy(model, card)
    tokenizer = load_processor(location, config, card.name, **options, **card.processor).tokenizer
    stored = str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")
    size = sum(weight.numel() for weight in model.parameters()) * _BYTES.get(stored, 4)
    return card.model_copy(
        update={
            "architecture": type(model).__name__,
            "trust_remote_code": bool(getattr(config, "auto_map", None)) and trust_remote_code,
            "memory_gb": math.ceil(size * 1.2 / 1e8) / 10,  # a fifth more than the weights, upwards
            "anatomy": ExpectedAnatomy(
                vision_blocks=len(anatomy.vision_blocks),
                llm_blocks=len(anatomy.decoder_layers),
                consumed_layer=anatomy.consumed_layer,
                image_token=tokenizer.convert_ids_to_tokens(anatomy.image_token_id),
            ),
            "notes": _notes(tokenizer),
        }
    )


def write_card(card: ModelCard, file: Path, *, overwrite: bool = False) -> None:
    """Write a card as YAML; a local model's path becomes relative to the card where it lies below it.

    Raises:
        ModelError: the file exists already and `overwrite` is not given, or it cannot be written.
    """
    if file.exists() and not overwrite:
        raise ModelError(f"{file}: exists already; give --overwrite, or another place with --output")
    content = card.model_dump(mode="json", exclude_defaults=True)
    if card.path is not None and Path(card.path).is_relative_to(file.resolve().parent):
        content["path"] = str(Path(card.path).relative_to(file.resolve().parent))
    try:
        file.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    except OSError as error:
        raise ModelError(f"{file}: cannot be written ({error.strerror})") from error


def _notes(tokenizer: Any) -> str:
    if getattr(tokenizer, "chat_template", None):
        return ""
    return "Ships no chat template; write one under prompt.chat_template before it can be asked."
