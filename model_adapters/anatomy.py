"""Find vision blocks, connector and decoder layers in any image-and-text model, without a table of classes.

The library's own accessors give the vision encoder and the decoder; in each, the longest list of equal
blocks is its layers. The connector has no accessor: it is found by the few names that the library uses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from model_adapters.card import ModelCard
from model_adapters.interface import ModelError

CONNECTOR_NAMES = (
    "multi_modal_projector",
    "connector",
    "visual.merger",
    "merger",
    "mm_projector",
    "embed_vision",
    "aligner",
    "vision_projection",
    "projector",
)


@dataclass(frozen=True)
class Anatomy:
    """Where a loaded model's parts are. Layers are in the order in which the model runs them."""

    vision_blocks: tuple[nn.Module, ...] = field(repr=False)
    connector: nn.Module = field(repr=False)
    decoder_layers: tuple[nn.Module, ...] = field(repr=False)
    final_norm: nn.Module | None = field(repr=False)
    head: nn.Module = field(repr=False)
    vision_path: str
    connector_path: str
    decoder_path: str
    consumed_layer: int  # the vision block that the connector reads, from 0
    image_token_id: int
    drops_class_token: bool  # the connector never sees the vision encoder's first token


def find_anatomy(model: Any, card: ModelCard) -> Anatomy:
    """Find the parts of a loaded model.

    Raises:
        ModelError: a part cannot be found, or the card declares something else than is found.
    """
    title = f"{card.name}: {type(model).__name__}"
    names = {id(module): name for name, module in model.named_modules()}
    encoder, decoder = model.get_encoder(modality="image"), model.get_decoder()
    if id(encoder) not in names or encoder in (model, model.base_model):
        raise ModelError(f"{title} shows no vision encoder of its own (get_encoder gave the whole model)")
    if id(decoder) not in names or decoder in (model, model.base_model):
        raise ModelError(f"{title} shows no decoder of its own (get_decoder gave the whole model)")
    vision_path, vision_blocks = _longest_blocks(encoder, names, f"{title}: the vision encoder")
    decoder_path, decoder_layers = _longest_blocks(decoder, names, f"{title}: the decoder")
    connector_path, connector = _find_connector(model, title)
    head = model.get_output_embeddings()
    if head is None:
        raise ModelError(f"{title} shows no language-model head (get_output_embeddings gave None)")
    found = Anatomy(
        vision_blocks=vision_blocks,
        connector=connector,
        decoder_layers=decoder_layers,
        final_norm=getattr(decoder, "norm", None),
        head=head,
        vision_path=vision_path,
        connector_path=connector_path,
        decoder_path=decoder_path,
        consumed_layer=consumed_layer(model.config, len(vision_blocks), title),
        image_token_id=_image_token_id(model.config, title),
        drops_class_token=getattr(model.config, "vision_feature_select_strategy", None) == "default",
    )
    _compare(found, card)
    return found


def consumed_layer(config: Any, blocks: int, title: str) -> int:
    """Return the vision block whose output the connector reads, from 0.

    `vision_feature_layer` counts hidden states, whose entry 0 is the input of block 0; where it names
    several layers the deepest counts, and where the configuration has none it is the last block.

    Raises:
        ModelError: the configuration names a layer that the encoder does not have.
    """
    stated = getattr(config, "vision_feature_layer", None)
    if stated is None:
        return blocks - 1
    listed = [stated] if isinstance(stated, int) else list(stated)
    states = [layer if layer >= 0 else blocks + 1 + layer for layer in listed]
    if not states or min(states) < 0 or not 0 < max(states) <= blocks:
        raise ModelError(f"{title}: vision_feature_layer {stated} is no output of its {blocks} vision blocks")
    return int(max(states)) - 1


def _longest_blocks(part: nn.Module, names: dict[int, str], where: str) -> tuple[str, tuple[nn.Module, ...]]:
    """Return path and members of the longest list of modules of one class, lists inside lists left out.

    A decoder of few layers with many experts in each has its longest list inside a layer.
    """
    lists = [(name, m) for name, m in part.named_modules() if isinstance(m, nn.ModuleList) and len(m)]
    outer = [(name, m) for name, m in lists if not any(name.startswith(f"{other}.") for other, _ in lists)]
    equal = [(name, m) for name, m in outer if len({type(block) for block in m}) == 1]
    if not equal:
        raise ModelError(f"{where} ({type(part).__name__}) holds no list of equal blocks to watch")
    _, blocks = max(equal, key=lambda item: len(item[1]))
    return names[id(blocks)], tuple(blocks)


def _find_connector(model: nn.Module, title: str) -> tuple[str, nn.Module]:
    modules = dict(model.named_modules())
    for candidate in CONNECTOR_NAMES:
        found = [name for name in modules if name == candidate or name.endswith(f".{candidate}")]
        if found:
            name = min(found, key=lambda path: path.count("."))
            return name, modules[name]
    raise ModelError(f"{title} has no connector under any of the names {', '.join(CONNECTOR_NAMES)}")


def _image_token_id(config: Any, title: str) -> int:
    for key in ("image_token_id", "image_token_index"):
        value = getattr(config, key, None)
        if isinstance(value, int):
            return value
    raise ModelError(f"{title}: its configuration names no image token (image_token_id)")


def _compare(found: Anatomy, card: ModelCard) -> None:
    """Refuse a model that is not the one its card describes."""
    declared = card.anatomy
    for key, stated, measured in (
        ("vision_blocks", declared.vision_blocks, len(found.vision_blocks)),
        ("llm_blocks", declared.llm_blocks, len(found.decoder_layers)),
        ("consumed_layer", declared.consumed_layer, found.consumed_layer),
    ):
        if stated is not None and stated != measured:
            raise ModelError(
                f"{card.name}: the card says anatomy.{key} {stated}, the loaded model has {measured}"
            )
