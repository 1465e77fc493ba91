"""Open a stored built-in model again, as training and the planting of faults need it."""

from __future__ import annotations

import json
from pathlib import Path

from model_adapters.interface import ModelError
from model_adapters.zoo.architecture import TinyModel
from model_adapters.zoo.families import OPENERS

_FAMILY_OF_TYPE = {"llava": "llava", "qwen2_5_vl": "qwen2.5-vl", "gemma3": "gemma3"}


def open_model(folder: Path) -> TinyModel:
    """Load a folder that `save_model` wrote, in float32, ready for `see`, `connect` and `decode`.

    Raises:
        ModelError: the folder holds no model, or one of a family that the built-in models do not have.
    """
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    from model_adapters.engines.transformers.load import quiet
    from model_adapters.engines.transformers.processors import load_processor

    family = family_of(folder)
    with quiet():
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        model = AutoModelForImageTextToText.from_pretrained(
            folder, config=config, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
        processor = load_processor(str(folder), config, folder.name, local_files_only=True)
    return OPENERS[family](model.eval(), processor)


def family_of(folder: Path) -> str:
    """Return the family of a stored model from its configuration.

    Raises:
        ModelError: there is no configuration, or it is of no family of the built-in models.
    """
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{folder}: holds no model with a readable config.json") from error
    if kind not in _FAMILY_OF_TYPE:
        known = ", ".join(_FAMILY_OF_TYPE)
        raise ModelError(f"{folder}: faults are planted into built-in models ({known}), not into {kind!r}")
    return _FAMILY_OF_TYPE[kind]


def copy_of(tiny: TinyModel) -> TinyModel:
    """Return the model with weights and configuration of its own, so that a change leaves the first alone."""
    import copy

    return OPENERS[tiny.family](copy.deepcopy(tiny.model), tiny.processor)
