# ruff: noqa: RUF012 (the library looks for lists and dictionaries)
"""Vision encoder: packed patches of all images, attention inside each image, rotary positions in two axes.

The names of modules and arguments are those of Hulu-Med's own code, and so are two of its properties: the
plain ("eager") attention only prefers patches of the same image where "sdpa" sees no others, and the rotary
frequencies are a buffer that no checkpoint holds.
"""

import torch
from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention
from transformers import PreTrainedModel

from .configuration_hulumed_encoder import HulumedVisionEncoderConfig


class VisionRotaryEmbedding(nn.Module):
    def __init__(self, dim):
        super().__init__()
        exponents = torch.arange(0, dim, 2, dtype=torch.float) / dim
        self.register_buffer("inv_freq", 10000.0**-exponents, persistent=False)

    def forward(self, positions):
        return (positions[..., None] * self.inv_freq).flatten(-2)


def _rotated(states, angles):
    """Turn pairs of channels, half a head apart, by their patch's angles. `states`: (patches, heads, head)."""
    angles = angles.repeat(1, 2)[:, None]
    first, second = states.float().chunk(2, -1)
    turned = torch.cat([-second, first], -1)
    return (states * angles.cos() + turned * angles.sin()).to(states.dtype)


class VisionAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_heads = config.num_attention_heads
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            setattr(self, name, nn.Linear(config.hidden_size, config.hidden_size))

    def forward(self, hidden_states, cu_seqlens, rotary_pos_emb):
        count = len(hidden_states)
        heads = [
            project(hidden_states).view(count, self.num_heads, -1)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        ]
        query, key = (_rotated(part, rotary_pos_emb) for part in heads[:2])
        image = torch.bucketize(torch.arange(count, device=cu_seqlens.device), cu_seqlens[1:], right=True)
        same = image[:, None] == image[None]
        mixed = self.attend(query.transpose(0, 1), key.transpose(0, 1), heads[2].transpose(0, 1), same)
        return self.out_proj(mixed.transpose(0, 1).reshape(count, -1))

    def attend(self, query, key, value, same_image):
        weights = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5 + same_image
        return weights.float().softmax(-1).to(value.dtype) @ value


class VisionSdpaAttention(VisionAttention):
    def attend(self, query, key, value, same_image):
        return scaled_dot_product_attention(query[None], key[None], value[None], same_image[None])[0]


VISION_ATTENTION_CLASSES = {"eager": VisionAttention, "sdpa": VisionSdpaAttention}


class HulumedVisionMLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states):
        return self.fc2(gelu(self.fc1(hidden_states), approximate="tanh"))


class HulumedVisionEncoderLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.self_attn = VISION_ATTENTION_CLASSES[config._attn_implementation](config)
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = HulumedVisionMLP(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states, cu_seqlens, rotary_pos_emb):
        hidden_states = hidden_states + self.self_attn(
            self.layer_norm1(hidden_states), cu_seqlens=cu_seqlens, rotary_pos_emb=rotary_pos_emb
        )
        return hidden_states + self.mlp(self.layer_norm2(hidden_states))


class HulumedVisionTransformerEncoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.rotary_pos_emb = VisionRotaryEmbedding(config.hidden_size // config.num_attention_heads // 2)
        self.layers = nn.ModuleList(
            HulumedVisionEncoderLayer(config) for _ in range(config.num_hidden_layers)
        )

    def forward(self, hidden_states, grid_sizes, merge_sizes):
        places = torch.cat([_places(*grid, merge) for grid, merge in _listed(grid_sizes, merge_sizes)])
        angles = self.rotary_pos_emb(places.to(hidden_states.device, torch.float))
        frames = torch.repeat_interleave(grid_sizes[:, 1] * grid_sizes[:, 2], grid_sizes[:, 0])
        ends = frames.cumsum(0)
        for block in self.layers:
            hidden_states = block(
                hidden_states, cu_seqlens=torch.cat([ends.new_zeros(1), ends]), rotary_pos_emb=angles
            )
        return hidden_states


def _listed(grid_sizes, merge_sizes):
    return zip(grid_sizes.tolist(), merge_sizes.tolist(), strict=True)


def _places(frames, height, width, merge):
    """Return row and column of each patch, (patches, 2): square after square, each row by row."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    grid = torch.stack([rows, columns], -1).view(height // merge, merge, width // merge, merge, 2)
    return grid.transpose(1, 2).reshape(-1, 2).repeat(frames, 1)


class HulumedVisionEmbeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.shape = (-1, config.num_channels, config.patch_size, config.patch_size)
        self.patch_embedding = nn.Conv2d(
            config.num_channels, config.hidden_size, config.patch_size, stride=config.patch_size
        )

    def forward(self, hidden_states):
        return self.patch_embedding(hidden_states.view(self.shape)).flatten(1)


class HulumedVisionEncoderModel(PreTrainedModel):
    config_class = HulumedVisionEncoderConfig
    base_model_prefix = "hulumed"
    main_input_name = "pixel_values"
    _no_split_modules = ["HulumedVisionEncoderLayer", "HulumedVisionEmbeddings"]
    _supports_sdpa = True

    def __init__(self, config):
        super().__init__(config)
        self.embeddings = HulumedVisionEmbeddings(config)
        self.encoder = HulumedVisionTransformerEncoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    def forward(self, pixel_values, grid_sizes, merge_sizes=None):
        hidden_states = self.encoder(self.embeddings(pixel_values), grid_sizes, merge_sizes)
        hidden_states = self.post_layernorm(hidden_states)
        parts = hidden_states.split(grid_sizes.prod(1).tolist())
        # Squares of merge x merge patches are averaged into one token.
        return torch.cat(
            [
                part.view(-1, merge**2, part.shape[-1]).mean(1)
                for part, merge in zip(parts, merge_sizes.tolist(), strict=True)
            ]
        )

    def _init_weights(self, module):
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=0.2)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
