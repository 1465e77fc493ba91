"""Tiny multimodal models of known families, and the few openings through which training reaches them.

Everything that differs between families is here; `train` and the stages know only `TinyModel`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model_adapters.zoo.tokenizer import IMAGE, PAD

IMAGE_SIZE = 64
PATCH_SIZE = 8


@dataclass(frozen=True)
class Scale:
    """Sizes of a built-in model; four heads of 32 are the smallest that vLLM's kernels accept."""

    width: int = 128
    heads: int = 4
    vision_layers: int = 4
    vision_mlp: int = 384
    decoder_layers: int = 4
    decoder_mlp: int = 320
    initial_deviation: float = 0.04


@dataclass(frozen=True)
class TinyModel:
    """A model with its processor, opened where training has to reach in.

    `see` maps pixels (n, 3, 64, 64) in [-1, 1] to the tokens that the connector reads, (n, tokens,
    vision width). `connect` maps those to (n, image tokens, decoder width). `decode` maps embeddings
    (n, length, width) to final hidden states of the same shape, causally, so that padding on the
    right needs no mask.
    """

    family: str
    model: Any
    processor: Any
    see: Callable[[Tensor], Tensor]
    connect: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]
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


def build_model(family: str, tokenizer: Any, *, seed: int, scale: Scale | None = None) -> TinyModel:
    """Make an untrained model of a family with weights drawn from `seed`.

    Raises:
        ValueError: if the family is unknown.
    """
    if family not in FAMILIES:
        raise ValueError(f"zoo: unknown family {family!r}; known: {', '.join(sorted(FAMILIES))}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FAMILIES[family](tokenizer, scale or Scale())


def _build_llava(tokenizer: Any, scale: Scale) -> TinyModel:
    from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    config = LlavaConfig(
        vision_config=_siglip_config(scale),
        text_config=_llama_config(tokenizer, scale),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=(IMAGE_SIZE // PATCH_SIZE) ** 2,
        vision_feature_select_strategy="full",  # SigLIP has no class token to drop
        vision_feature_layer=-1,
        tie_word_embeddings=False,
    )
    model = LlavaForConditionalGeneration(config)
    processor = LlavaProcessor(
        image_processor=_image_processor(),
        tokenizer=tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="full",
        chat_template=tokenizer.chat_template,
        image_token=IMAGE,
        num_additional_image_tokens=0,
    )
    inner = model.model
    inner.vision_tower.embeddings.position_embedding.weight.data.copy_(grid_positions(scale.width))

    def see(pixels: Tensor) -> Tensor:
        states = inner.vision_tower(pixels, output_hidden_states=True).hidden_states
        consumed: Tensor = states[config.vision_feature_layer]
        return consumed

    return TinyModel(
        family="llava",
        model=model,
        processor=processor,
        see=see,
        connect=inner.multi_modal_projector,
        decode=lambda embeddings: inner.language_model(inputs_embeds=embeddings, use_cache=False)[0],
        vision=inner.vision_tower,
        connector=inner.multi_modal_projector,
        decoder=inner.language_model,
        renamed_keys={"vision_tower.": "vision_tower.vision_model."},
    )


def grid_positions(width: int) -> Tensor:
    """Return small sines and cosines of each patch's row and column, (64, width), to start from."""
    side = IMAGE_SIZE // PATCH_SIZE
    rate = 100.0 ** (-torch.arange(width // 4) / (width // 4))
    place = torch.arange(side).float()[:, None] * rate
    wave = torch.cat([place.sin(), place.cos()], dim=1)
    rows = wave[:, None].expand(side, side, -1)
    columns = wave[None].expand(side, side, -1)
    return 0.1 * torch.cat([rows, columns], dim=2).reshape(side * side, width)


def _siglip_config(scale: Scale) -> Any:
    from transformers import SiglipVisionConfig

    return SiglipVisionConfig(
        hidden_size=scale.width,
        intermediate_size=scale.vision_mlp,
        num_hidden_layers=scale.vision_layers,
        num_attention_heads=scale.heads,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        vision_use_head=False,
    )


def _llama_config(tokenizer: Any, scale: Scale) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=scale.width,
        intermediate_size=scale.decoder_mlp,
        num_hidden_layers=scale.decoder_layers,
        num_attention_heads=scale.heads,
        num_key_value_heads=scale.heads,
        head_dim=scale.width // scale.heads,
        max_position_embeddings=1024,
        initializer_range=scale.initial_deviation,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def _image_processor() -> Any:
    """SigLIP's image processor on Pillow, which needs no torchvision."""
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    return SiglipImageProcessorPil(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        do_resize=True,
        do_rescale=True,
        do_normalize=True,
        do_convert_rgb=True,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


FAMILIES: Mapping[str, Callable[[Any, Scale], TinyModel]] = {"llava": _build_llava}
