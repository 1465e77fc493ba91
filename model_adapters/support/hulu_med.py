"""Hulu-Med: a SigLIP encoder over packed patches, an MLP, and a Qwen2 or Qwen3 decoder, by code of its own.

Where that code (written for transformers 4.51) differs from what the engine expects, and what is done:

- Its processor takes one prompt a call and does not pad: prompts are processed one by one and put together
  here. So no picture's resolution depends on its neighbours either, for pictures of one call share a limit.
- Its resize helper reads a PIL image's size as (height, width), which is (width, height): a wide picture is
  squeezed into a high one. Pictures are handed over as arrays, of which it reads the shape correctly.
- A list of images inside a list is a video to it: the one image of a prompt is handed over as such.
- Token compression drops tokens of video frames only, and takes one prompt at a time: it is switched off.
- `generate` returns the new tokens alone: the prompt is put before them.
- Its plain ("eager") vision attention lets the images of a batch see each other; whether a loaded model's
  does is tried out, and one that does gets one prompt a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model_adapters.catalog.card import ModulePaths
from model_adapters.support.remote_code import RemoteFamily

_VISION = "model.vision_encoder"


class PaddingProcessor:
    """Hulu-Med's processor, taking lists of texts and of lists of one image as the library's processors do."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self.tokenizer, self.image_processor = processor.tokenizer, processor.image_processor
        self.image_token: str = self.tokenizer.convert_ids_to_tokens(processor.image_token_id)

    @property
    def chat_template(self) -> Any:
        """The Jinja template of a conversation."""
        return self._processor.chat_template

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """Render a conversation, as the model's own processor does."""
        return self._processor.apply_chat_template(conversation, **options)

    def __call__(
        self,
        text: Sequence[str],
        images: Sequence[Sequence[Image.Image]],
        *,
        add_special_tokens: bool = True,
        **_layout: Any,
    ) -> dict[str, Any]:
        """Return the inputs of a batch, prompts padded on the left; patches of all images in one sequence.

        Tensors: input_ids and attention_mask (batch, length), pixel_values (patches, values of a patch),
        grid_sizes (batch, 3) with frames, rows and columns of patches, merge_sizes (batch,); modals is a list.
        The layout that the library's processors are asked for (padding, side, tensors) is the only one.

        Raises:
            ValueError: an image cannot be cut into patches, or a prompt has not one image.
        """
        one_by_one = [
            self._processor(
                text=prompt,
                images=[np.asarray(picture) for picture in pictures],
                return_tensors="pt",
                add_special_tokens=add_special_tokens,
            )
            for prompt, pictures in zip(text, images, strict=True)
        ]
        rows = [made["input_ids"].reshape(-1) for made in one_by_one]
        joined = {
            key: torch.cat([torch.as_tensor(made[key]) for made in one_by_one])
            for key in ("pixel_values", "grid_sizes", "merge_sizes")
        }
        modals = [modal for made in one_by_one for modal in made["modals"]]
        if modals != ["image"] * len(rows) or len(set(joined["merge_sizes"].tolist())) != 1:
            raise ValueError("a prompt must have exactly one image, and all must be merged alike")
        return {
            "input_ids": _padded(rows, int(self.tokenizer.pad_token_id)),
            "attention_mask": _padded([torch.ones_like(row) for row in rows], 0),
            **joined,
            "modals": modals,
        }


def _padded(rows: Sequence[Tensor], filler: int) -> Tensor:
    longest = max(map(len, rows))
    return torch.stack([torch.cat([row.new_full((longest - len(row),), filler), row]) for row in rows])


def _prepare(model: Any) -> None:
    model.config.use_token_compression = False
    model.generate = _with_prompt(model.generate)


def _with_prompt(generate: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @wraps(generate)
    def whole(**inputs: Any) -> Tensor:
        return torch.cat([inputs["input_ids"], generate(**inputs)], dim=1)

    return whole


@torch.inference_mode()
def _largest_batch(model: Any) -> int | None:
    """Return 1 where one image's features change with the other image of a batch."""
    encoder = model.get_submodule(_VISION)
    weight = encoder.embeddings.patch_embedding.weight
    shown = torch.linspace(-1, 1, 8 * weight[0].numel(), device=weight.device).reshape(8, -1)
    first = []
    for scale in (1.0, -0.5):  # two images of 2 x 2 patches; the second one is changed
        patches = torch.cat([shown[:4], scale * shown[4:]]).to(weight.dtype)
        grids = torch.tensor([[1, 2, 2]] * 2, device=weight.device)
        merges = torch.ones(2, dtype=torch.long, device=weight.device)
        first.append(encoder(pixel_values=patches, grid_sizes=grids, merge_sizes=merges)[:4].float())
    apart = float((first[0] - first[1]).abs().max())
    return 1 if apart > 1e-4 * float(first[0].abs().max()) else None


HULU_MED = RemoteFamily(
    paths=ModulePaths(
        vision=f"{_VISION}.encoder.layers",
        connector="model.mm_projector",
        decoder="model.layers",
        final_norm="model.norm",
    ),
    processor=PaddingProcessor,
    prepare=_prepare,
    largest_batch=_largest_batch,
)
