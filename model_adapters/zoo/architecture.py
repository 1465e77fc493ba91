"""A tiny multimodal model of a known family, and the few openings through which training reaches it.

Everything that differs between families is in `families`; training and faults know only `TinyModel`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

IMAGE_SIZE = 64
PATCH_SIZE = 8


@dataclass(frozen=True)
class TinyModel:
    """A model with its processor, opened where training has to reach in.

    `see` maps pixels (n, 3, 64, 64) in [-1, 1] to the tokens that the connector reads, (n, tokens,
    vision width), row by row over the image. `connect` maps those to (n, image tokens, decoder width).
    `decode` maps embeddings (n, length, width) and the places of the image tokens among them to final
    hidden states of the same shape, causally but for what the family itself lets see each other, so that
    padding on the right needs no mask. `expand` turns a rendered prompt into the text that the processor
    makes of it, with a single `image_token` for all of the image's tokens.
    """

    family: str
    model: Any
    processor: Any
    see: Callable[[Tensor], Tensor]
    connect: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor, slice], Tensor]
    expand: Callable[[str], str]
    image_token: str
    vision: nn.Module
    connector: nn.Module
    decoder: nn.Module
    renamed_keys: Mapping[str, str]  # prefixes of weight names: as transformers saves them, as stored

    @property
    def vision_width(self) -> int:
        """Width of the tokens that the connector reads."""
        width: int = self.model.config.vision_config.hidden_size
        return width

    @property
    def decoder_width(self) -> int:
        """Width of the decoder's embeddings and states."""
        width: int = self.model.get_input_embeddings().embedding_dim
        return width

    @property
    def embed(self) -> nn.Module:
        """The decoder's input embeddings."""
        module: nn.Module = self.model.get_input_embeddings()
        return module

    @property
    def head(self) -> nn.Module:
        """The map from hidden states to token logits."""
        module: nn.Module = self.model.get_output_embeddings()
        return module
