"""Draft a model card by looking at a model's configuration: its parts are found, its weights not loaded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from model_adapters.catalog.card import ExpectedAnatomy, ModelCard
from model_adapters.interface import ModelError

if TYPE_CHECKING:
    from model_adapters.anatomy.find import Anatomy

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
# Pictures of different shapes, in pixels: where they take as many tokens each, the number is fixed.
_SHAPES = ((448, 448), (1344, 448), (300, 900))


def draft_card(card: ModelCard, *, offline: bool = False, trust_remote_code: bool = False) -> ModelCard:
    """Return `card`, which says where a model is, with everything filled in that its files tell.

    The model is built without memory for its weights, so that blocks are found in what the library makes
    of the configuration, as an evaluation will find them. Facts that files do not tell, such as the licence
    of a local folder, stay empty.

    Raises:
        ModelError: the card names no files to look at, the hub cannot be reached, the model is of no known
            kind, or a part of it cannot be found.
    """
    if card.hub_id is None and card.path is None:
        raise ModelError(f"{card.name}: has no files of its own; name a model folder or a hub id")
    import torch

    from model_adapters.anatomy.find import find_anatomy
    from model_adapters.catalog.revision import card_revision, model_folder
    from model_adapters.engines.transformers.load import auto_class, load_config
    from model_adapters.engines.transformers.processors import load_processor

    folder = model_folder(card)
    location = str(folder) if folder is not None else str(card.hub_id)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code, "local_files_only": offline}
    if folder is None:
        # Asked first: the library would try an unreachable hub for minutes, and print each time.
        options["revision"] = card_revision(card, offline=offline)
    config = load_config(location, card.name, options)
    with torch.device("meta"):
        model = auto_class(config, card.name, trust_remote_code).from_config(
            config, **({"trust_remote_code": True} if trust_remote_code else {})
        )
    anatomy = find_anatomy(model, card)
    processor = load_processor(location, config, card.name, **options, **card.processor)
    tokenizer = processor.tokenizer
    fixed, pixels = _image_tokens(card, model, processor, anatomy)
    stored = str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")
    size = sum(weight.numel() for weight in model.parameters()) * _BYTES.get(stored, 4)
    return card.model_copy(
        update={
            "architecture": type(model).__name__,
            "trust_remote_code": bool(getattr(config, "auto_map", None)) and trust_remote_code,
            "memory_gb": math.ceil(size * 1.2 / 1e8) / 10,  # a fifth more than the weights, upwards
            "anatomy": ExpectedAnatomy(
                vision_blocks=len(anatomy.vision_blocks),
                vision_width=_width(anatomy.vision_blocks[anatomy.consumed_layer]),
                llm_blocks=len(anatomy.decoder_layers),
                llm_width=_width(anatomy.decoder_layers[-1]),
                consumed_layer=anatomy.consumed_layer,
                image_token=tokenizer.convert_ids_to_tokens(anatomy.image_token_id),
                image_tokens=fixed,
                pixels_per_image_token=pixels,
                paths=card.anatomy.paths,
            ),
            "notes": _notes(_template(card, processor)),
        }
    )


def _width(block: Any) -> int | None:
    """Return how many numbers a block gives for a token: as many as a normalisation of its own scales.

    Those inside its attention may be of one head each.
    """
    for name, part in block.named_children():
        weight = getattr(part, "weight", None)
        if "norm" in name.lower() and weight is not None and weight.ndim == 1:
            return int(weight.shape[0])
    return None


def _image_tokens(
    card: ModelCard, model: Any, processor: Any, anatomy: Anatomy
) -> tuple[int | None, int | None]:
    """Return how many tokens every picture takes, or else the pixels that one token stands for.

    Both are None where pictures are cut into tiles, as many as their shape asks for, and where there is no
    chat template to put a picture into.
    """
    import torch
    from PIL import Image

    from model_adapters.engines.transformers.chat import ChatFormat
    from model_adapters.engines.transformers.inputs import InputPreparer
    from model_adapters.interface import Query

    if _template(card, processor) is None:
        return None, None
    prepare = InputPreparer(
        model, processor, ChatFormat(processor, card.prompt, card.name), anatomy, torch.device("cpu")
    )
    batches = [
        prepare([Query(f"{size}", Image.new("RGB", size, (127, 127, 127)), "?", ())]) for size in _SHAPES
    ]
    counts = [int(batch.tokens.image_tokens.sum()) for batch in batches]
    if len(set(counts)) == 1:
        return counts[0], None
    side = getattr(processor.image_processor, "patch_size", None)
    packed = all(batch.inputs["pixel_values"].ndim == 2 for batch in batches)  # a row for each patch
    if not packed or not isinstance(side, int):
        return None, None
    pixels = {sum(b.images.units) * side**2 / count for b, count in zip(batches, counts, strict=True)}
    only = pixels.pop()
    return None, int(only) if not pixels and only.is_integer() else None


def _template(card: ModelCard, processor: Any) -> str | None:
    own = card.prompt.chat_template or getattr(processor, "chat_template", None)
    return own or getattr(processor.tokenizer, "chat_template", None)


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


def _notes(template: str | None) -> str:
    if template:
        return ""
    return "Ships no chat template; write one under prompt.chat_template before it can be asked."
