"""A Qwen3 decoder whose image tokens are replaced by what encoder and projector make of the patches."""

from torch import nn
from transformers import Qwen3ForCausalLM, Qwen3Model

from .configuration_hulumed_qwen3 import HulumedQwen3Config
from .modeling_hulumed_arch import HulumedMetaForCausalLM, MlpGeluProjector
from .modeling_hulumed_encoder import HulumedVisionEncoderModel


class HulumedQwen3Model(Qwen3Model):
    config_class = HulumedQwen3Config

    def __init__(self, config):
        super().__init__(config)
        self.vision_encoder = HulumedVisionEncoderModel._from_config(
            config.vision_encoder_config, attn_implementation=config._attn_implementation
        )
        self.mm_projector = MlpGeluProjector(config)


class HulumedQwen3ForCausalLM(HulumedMetaForCausalLM, Qwen3ForCausalLM):
    config_class = HulumedQwen3Config

    def __init__(self, config, **kwargs):
        super(Qwen3ForCausalLM, self).__init__(config)
        self.model = HulumedQwen3Model(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()
