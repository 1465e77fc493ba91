"""Configuration of the vision encoder of a tiny model that is built as Hulu-Med's are."""

from transformers import PretrainedConfig


class HulumedVisionEncoderConfig(PretrainedConfig):
    model_type = "hulumed_vision_encoder"

    def __init__(
        self,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        num_channels=3,
        patch_size=16,
        layer_norm_eps=1e-6,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.hidden_size, self.intermediate_size = hidden_size, intermediate_size
        self.num_hidden_layers, self.num_attention_heads = num_hidden_layers, num_attention_heads
        self.num_channels, self.patch_size = num_channels, patch_size
        self.layer_norm_eps = layer_norm_eps
