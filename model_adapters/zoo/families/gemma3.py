"""Tiny Gemma 3: SigLIP tower, average-pooling projector, decoder whose image tokens see each other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model_adapters.zoo.architecture import IMAGE_SIZE, Scale, TinyModel
from model_adapters.zoo.families import siglip
from model_adapters.zoo.training.tokenizer import MARKS, PAD

IMAGE_TOKENS = 16
_MARKS = MARKS["gemma3"]


def build(tokenizer: Any, scale: Scale) -> TinyModel:
    """Make an untrained model with its processor."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3Processor
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    ids = {word: tokenizer.convert_tokens_to_ids(word) for word in (_MARKS.begin, _MARKS.end, _MARKS.image)}
    config = Gemma3Config(
        vision_config=siglip.vision_config(scale),
        text_config=_decoder_config(tokenizer, scale),
        mm_tokens_per_image=IMAGE_TOKENS,
        boi_token_index=ids[_MARKS.begin],
        eoi_token_index=ids[_MARKS.end],
        image_token_index=ids[_MARKS.image],
        tie_word_embeddings=False,
    )
    model = Gemma3ForConditionalGeneration(config)
    siglip.start_positions(model.model.vision_tower)
    projection = model.model.multi_modal_projector.mm_input_projection_weight
    torch.nn.init.normal_(projection, std=projection.shape[0] ** -0.5)  # the library starts it at zero
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessorPil(
            size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
            image_mean=[0.5, 0.5, 0.5],
            image_std=[0.5, 0.5, 0.5],
        ),
        tokenizer=tokenizer,
        image_seq_length=IMAGE_TOKENS,
        chat_template=tokenizer.chat_template,
    )
    return open_up(model, processor)


def open_up(model: Any, processor: Any) -> TinyModel:
    """Wrap a model of this family, fresh or loaded."""
    inner = model.model

    def see(pixels: Tensor) -> Tensor:
        tokens: Tensor = inner.vision_tower(pixels).last_hidden_state
        return tokens

    def decode(embeddings: Tensor, image: slice) -> Tensor:
        kinds = torch.zeros(embeddings.shape[:2], dtype=torch.long, device=embeddings.device)
        kinds[:, image] = 1  # image tokens see each other, also forwards
        states: Tensor = inner(inputs_embeds=embeddings, token_type_ids=kinds, use_cache=False)[0]
        return states

    return TinyModel(
        family="gemma3",
        model=model,
        processor=processor,
        see=see,
        connect=inner.multi_modal_projector,
        decode=decode,
        expand=_expand,
        image_token=_MARKS.image,
        vision=inner.vision_tower,
        connector=inner.multi_modal_projector,
        decoder=inner.language_model,
        renamed_keys={"vision_tower.": "vision_tower.vision_model."},
    )


def _expand(text: str) -> str:
    return text.replace(_MARKS.begin, f"\n\n{_MARKS.begin}{_MARKS.image}{_MARKS.end}\n\n")


def _decoder_config(tokenizer: Any, scale: Scale) -> Any:
    from transformers import Gemma3TextConfig

    return Gemma3TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=scale.width,
        intermediate_size=scale.decoder_mlp,
        num_hidden_layers=scale.decoder_layers,
        num_attention_heads=scale.heads,
        num_key_value_heads=scale.heads,
        head_dim=scale.width // scale.heads,
        query_pre_attn_scalar=scale.width // scale.heads,
        sliding_window=512,  # longer than any prompt here
        max_position_embeddings=1024,
        initializer_range=scale.initial_deviation,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
