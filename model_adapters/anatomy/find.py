"""Find vision blocks, connector and decoder layers in any image-and-text model, without a table of classes.

The library's own accessors give the vision encoder and the decoder; in each, the longest list of equal
blocks is its layers. The connector has no accessor: it is found by the few names that the library uses.
A card's `anatomy.paths` goes before all of that, and where the card is silent what is known of a family of
models that bring code of their own (`remote_code`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from model_adapters.catalog.card import ModelCard, ModulePaths
from model_adapters.interface import ModelError
from model_adapters.support.remote_code import remote_family
from tasks.problems import did_you_mean

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

    encoder: nn.Module = field(repr=False)  # the vision encoder: its blocks and what is around them
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
        ModelError: a part cannot be found.
    """
    title = f"{card.name}: {type(model).__name__}"
    places = _Places(model, card, title)
    decoder_path, decoder_layers, final_norm = places.decoder()
    vision_path, vision_blocks, encoder = places.vision(decoder_path)
    connector_path, connector = places.connector()
    head = model.get_output_embeddings()
    if head is None:
        raise ModelError(f"{title} shows no language-model head (get_output_embeddings gave None)")
    return Anatomy(
        encoder=encoder,
        vision_blocks=vision_blocks,
        connector=connector,
        decoder_layers=decoder_layers,
        final_norm=final_norm,
        head=head,
        vision_path=vision_path,
        connector_path=connector_path,
        decoder_path=decoder_path,
        consumed_layer=consumed_layer(model.config, len(vision_blocks), title),
        image_token_id=_image_token_id(model.config, title),
        drops_class_token=getattr(model.config, "vision_feature_select_strategy", None) == "default",
    )


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


class _Places:
    """Looks for the parts of one model: where its card says, where its family has them, or by accessor."""

    def __init__(self, model: Any, card: ModelCard, title: str) -> None:
        family = remote_family(type(model).__name__)
        self._model, self._title = model, title
        self._modules: dict[str, nn.Module] = dict(model.named_modules())
        self._names = {id(module): name for name, module in self._modules.items()}
        self._card, self._family = card.anatomy.paths, ModulePaths() if family is None else family.paths

    def decoder(self) -> tuple[str, tuple[nn.Module, ...], nn.Module | None]:
        """Return path and members of the decoder's list of layers, and its final norm if it has one."""
        listed = self._stated("decoder")
        if listed is not None:
            path, layers = self._blocks("decoder", *listed)
            decoder = self._modules[path.rpartition(".")[0]]
        else:
            decoder = self._accessed(self._model.get_decoder(), "decoder", "get_decoder")
            path, layers = _longest_blocks(decoder, self._names, f"{self._title}: the decoder")
        norm = self._stated("final_norm")
        return path, layers, getattr(decoder, "norm", None) if norm is None else norm[1]

    def vision(self, decoder_path: str) -> tuple[str, tuple[nn.Module, ...], nn.Module]:
        """Return path and members of the encoder's list of blocks, and the encoder itself."""
        listed = self._stated("vision")
        if listed is not None:
            path, blocks = self._blocks("vision", *listed)
            return path, blocks, self._modules[_outermost_without(path, decoder_path)]
        encoder = self._accessed(self._model.get_encoder(modality="image"), "vision encoder", "get_encoder")
        path, blocks = _longest_blocks(encoder, self._names, f"{self._title}: the vision encoder")
        return path, blocks, encoder

    def connector(self) -> tuple[str, nn.Module]:
        """Return path and module of the connector."""
        stated = self._stated("connector")
        return _find_connector(self._modules, self._title) if stated is None else stated

    def _accessed(self, part: Any, what: str, accessor: str) -> nn.Module:
        if id(part) not in self._names or part in (self._model, self._model.base_model):
            raise ModelError(
                f"{self._title} shows no {what} of its own ({accessor} gave the whole model); "
                f"say where it is under anatomy.paths.{what.split()[0]} on its card"
            )
        found: nn.Module = part
        return found

    def _stated(self, part: str) -> tuple[str, nn.Module] | None:
        """Return path and module of a part that card or family names, None where neither does."""
        own: str | None = getattr(self._card, part)
        path: str | None = own or getattr(self._family, part)
        if path is None:
            return None
        if path not in self._modules:
            said = f"the card says anatomy.paths.{part}" if own else "its family's adapter expects"
            way = "" if own else f"; say where it is under anatomy.paths.{part} on its card"
            hint = did_you_mean(path, self._modules, 3)
            raise ModelError(f"{self._title}: {said} {path!r}, which is no module of it{hint}{way}")
        return path, self._modules[path]

    def _blocks(self, part: str, path: str, blocks: nn.Module) -> tuple[str, tuple[nn.Module, ...]]:
        if not isinstance(blocks, nn.ModuleList) or not len(blocks):
            raise ModelError(
                f"{self._title}: anatomy.paths.{part} {path!r} is a {type(blocks).__name__}; "
                "it must name the list that holds the blocks"
            )
        return path, tuple(blocks)


def _outermost_without(path: str, other: str) -> str:
    """Return the shortest beginning of a module's path below which another module does not lie."""
    names = path.split(".")
    beginnings = [".".join(names[:count]) for count in range(1, len(names) + 1)]
    return next(start for start in beginnings if not f"{other}.".startswith(f"{start}."))


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


def _find_connector(modules: dict[str, nn.Module], title: str) -> tuple[str, nn.Module]:
    for candidate in CONNECTOR_NAMES:
        found = [name for name in modules if name == candidate or name.endswith(f".{candidate}")]
        if found:
            name = min(found, key=lambda path: path.count("."))
            return name, modules[name]
    raise ModelError(
        f"{title} has no connector under any of the names {', '.join(CONNECTOR_NAMES)}; "
        "say where it is under anatomy.paths.connector on its card"
    )


def _image_token_id(config: Any, title: str) -> int:
    for key in ("image_token_id", "image_token_index"):
        value = getattr(config, key, None)
        if isinstance(value, int):
            return value
    raise ModelError(f"{title}: its configuration names no image token (image_token_id)")
