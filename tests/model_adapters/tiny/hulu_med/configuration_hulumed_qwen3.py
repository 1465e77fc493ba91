# ruff: noqa: RUF012 (the library looks for lists and dictionaries)
"""Configuration of a tiny model that is built as Hulu-Med's over Qwen3 are."""

from transformers import PretrainedConfig, Qwen3Config

from .configuration_hulumed_encoder import HulumedVisionEncoderConfig


class HulumedQwen3Config(Qwen3Config):
    model_type = "hulumed_qwen3"
    sub_configs = {"vision_encoder_config": HulumedVisionEncoderConfig}

    def __init__(
        self,
        vision_encoder=None,
        vision_encoder_config=None,
        mm_projector_type="mlp2x_gelu",
        use_token_compression=True,
        image_token_index=-1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(vision_encoder_config, PretrainedConfig):
            vision_encoder_config = HulumedVisionEncoderConfig(**(vision_encoder_config or {}))
        self.vision_encoder, self.vision_encoder_config = vision_encoder, vision_encoder_config
        self.mm_projector_type = mm_projector_type
        self.use_token_compression = use_token_compression
        self.image_token_index = image_token_index
