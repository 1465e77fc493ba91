"""What the two decoders have in common: how image tokens are put into the sequence, and how text is written.

As in Hulu-Med's own code, a batch is one long sequence while image tokens are replaced, token compression
takes one prompt at a time, `forward` knows its limit of logits by an old name, and `generate` returns the
new tokens alone.
"""

import torch
from torch import nn


class MlpGeluProjector(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config.hidden_size
        self.readout = nn.Sequential(
            nn.Linear(config.vision_encoder_config.hidden_size, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, x):
        return self.readout(x)


class HulumedMetaForCausalLM:
    def get_model(self):
        return self.model

    def get_vision_encoder(self):
        return self.model.vision_encoder

    def encode_images(self, pixel_values, grid_sizes, merge_sizes):
        seen = self.get_vision_encoder()(
            pixel_values=pixel_values, grid_sizes=grid_sizes, merge_sizes=merge_sizes
        )
        return self.get_model().mm_projector(seen)

    def prepare_inputs_labels_for_multimodal(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        labels=None,
        pixel_values=None,
        grid_sizes=None,
        merge_sizes=None,
        modals=None,
    ):
        if pixel_values is None or input_ids.shape[1] == 1:
            return input_ids, attention_mask, position_ids, past_key_values, None, labels
        if self.config.use_token_compression:
            assert len(input_ids) == 1, "token compression takes one prompt at a time"
        counts = (grid_sizes.prod(1) // merge_sizes**2).tolist()
        shown = torch.cat(
            [torch.full((n,), kind != "text") for n, kind in zip(counts, modals, strict=True)]
        ).to(pixel_values.device)
        features = self.encode_images(pixel_values, grid_sizes, merge_sizes)[shown]
        flat = input_ids.flatten()
        embedded = self.get_model().embed_tokens(flat).clone()
        selected = flat == self.config.image_token_index
        embedded[selected] = embedded[selected] * 0.0 + features
        embedded = embedded.view(*input_ids.shape, -1)
        return None, attention_mask, position_ids, past_key_values, embedded, labels

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        inputs_embeds=None,
        labels=None,
        use_cache=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
        cache_position=None,
        num_logits_to_keep=0,
        pixel_values=None,
        grid_sizes=None,
        merge_sizes=None,
        modals=None,
        **loss_kwargs,
    ):
        if inputs_embeds is None:
            input_ids, attention_mask, position_ids, past_key_values, inputs_embeds, labels = (
                self.prepare_inputs_labels_for_multimodal(
                    input_ids,
                    attention_mask,
                    position_ids,
                    past_key_values,
                    labels,
                    pixel_values,
                    grid_sizes,
                    merge_sizes,
                    modals,
                )
            )
        given = {
            "output_attentions": output_attentions,
            "output_hidden_states": output_hidden_states,
            "return_dict": return_dict,
            "cache_position": cache_position,
        }
        return super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            labels=labels,
            use_cache=use_cache,
            logits_to_keep=num_logits_to_keep,
            **{name: value for name, value in given.items() if value is not None},
            **loss_kwargs,
        )

    @torch.no_grad()
    def generate(self, pixel_values=None, grid_sizes=None, merge_sizes=None, modals=None, **kwargs):
        input_ids = kwargs.pop("input_ids", None)
        _, attention_mask, position_ids, _, inputs_embeds, _ = self.prepare_inputs_labels_for_multimodal(
            input_ids=input_ids,
            attention_mask=kwargs.pop("attention_mask", None),
            position_ids=kwargs.pop("position_ids", None),
            pixel_values=pixel_values,
            grid_sizes=grid_sizes,
            merge_sizes=merge_sizes,
            modals=modals,
        )
        if inputs_embeds is None:
            inputs_embeds = self.get_model().embed_tokens(input_ids)
        return super().generate(
            position_ids=position_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
