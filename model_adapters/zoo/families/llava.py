"""Tiny LLaVA: SigLIP tower, two-layer projector, Llama decoder, one decoder token a patch."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from model_adapters.zoo.architecture import IMAGE_SIZE, PATCH_SIZE, Scale, TinyModel
from model_adapters.zoo.families import siglip
from model_adapters.zoo.training.tokenizer import MARKS, PAD

_MARKS = MARKS["llava"]


def build(tokenizer: Any, scale: Scale) -> TinyModel:
    """Make an untrained model with its processor."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    config = LlavaConfig(
        vision_config=siglip.vision_config(scale),
        text_config=_decoder_config(tokenizer, scale),
        image_token_index=tokenizer.convert_tokens_to_ids(_MARKS.image),
        image_seq_length=(IMAGE_SIZE // PATCH_SIZE) ** 2,
        vision_feature_select_strategy="full",  # SigLIP has no class token to drop
        vision_feature_layer=-1,
        tie_word_embeddings=False,
    )
    model = LlavaForConditionalGeneration(config)
    siglip.start_positions(model.model.vision_tower)
    processor = LlavaProcessor(
        image_processor=_image_processor(),
        tokenizer=tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="full",
        chat_template=tokenizer.chat_template,
        image_token=_MARKS.image,
        num_additional_image_tokens=0,
    )
    return open_up(model, processor)


def open_up(model: Any, processor: Any) -> TinyModel:
    """Wrap a model of this family, fresh or loaded."""
    inner = model.model

    def see(pixels: Tensor) -> Tensor:
        states = inner.vision_tower(pixels, output_hidden_states=True).hidden_states
        consumed: Tensor = states[model.config.vision_feature_layer]
        return consumed

    def decode(embeddings: Tensor, image: slice) -> Tensor:
        states: Tensor = inner.language_model(inputs_embeds=embeddings, use_cache=False)[0]
        return states

    return TinyModel(
        family="llava",
        model=model,
        processor=processor,
        see=see,
        connect=inner.multi_modal_projector,
        decode=decode,
        expand=lambda text: text,
        image_token=_MARKS.image,
        vision=inner.vision_tower,
        connector=inner.multi_modal_projector,
        decoder=inner.language_model,
        renamed_keys={"vision_tower.": "vision_tower.vision_model."},
    )


def _decoder_config(tokenizer: Any, scale: Scale) -> Any:
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
