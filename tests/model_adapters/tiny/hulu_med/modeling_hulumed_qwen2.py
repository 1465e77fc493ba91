"""A Qwen2 decoder whose image tokens are replaced by what encoder and projector make of the patches."""

from torch import nn
from transformers import Qwen2ForCausalLM, Qwen2Model

from .configuration_hulumed_qwen2 import HulumedQwen2Config
from .modeling_hulumed_arch import HulumedMetaForCausalLM, MlpGeluProjector
from .modeling_hulumed_encoder import HulumedVisionEncoderModel


class HulumedQwen2Model(Qwen2Model):
    config_class = HulumedQwen2Config

    def __init__(self, config):
        super().__init__(config)
        self.vision_encoder = HulumedVisionEncoderModel._from_config(
            config.vision_encoder_config, attn_implementation=config._attn_implementation
        )
        self.mm_projector = MlpGeluProjector(config)


class HulumedQwen2ForCausalLM(HulumedMetaForCausalLM, Qwen2ForCausalLM):
    config_class = HulumedQwen2Config

    def __init__(self, config, **kwargs):
        super(Qwen2ForCausalLM, self).__init__(config)
        self.model = HulumedQwen2Model(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()
