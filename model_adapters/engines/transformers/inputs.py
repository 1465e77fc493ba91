"""From queries to the tensors of one forward pass, and the layout that says which token is whose."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from model_adapters.anatomy.find import Anatomy
from model_adapters.engines.transformers.chat import ChatFormat
from model_adapters.interface import ModelError, Query, one_line
from model_adapters.support.batching import UnreadableItemError
from probes.capture import ImageLayout, TokenLayout


@dataclass(frozen=True)
class PreparedBatch:
    """Everything a forward pass over some queries needs, on the model's device.

    `lengths` counts each prompt's tokens without padding; `positions` are the decoder's position ids,
    None where the architecture computes its own (rotary positions in several dimensions).
    """

    inputs: dict[str, Any] = field(repr=False)
    images: ImageLayout
    tokens: TokenLayout
    lengths: Tensor = field(repr=False)
    positions: Tensor | None = field(repr=False)

    @property
    def attention_mask(self) -> Tensor:
        """Ones where a prompt has tokens, zeros on its left padding; shape (batch, length)."""
        mask: Tensor = self.inputs["attention_mask"]
        return mask


# What turns the queries of one forward pass into its inputs.
Preparer = Callable[[Sequence[Query]], PreparedBatch]


class InputPreparer:
    """Turns queries into model inputs with the model's own processor."""

    def __init__(
        self, model: Any, processor: Any, chat: ChatFormat, anatomy: Anatomy, device: torch.device
    ) -> None:
        self._model, self._processor, self._chat = model, processor, chat
        self._anatomy, self._device = anatomy, device
        self._accepted = frozenset(inspect.signature(model.forward).parameters)
        self._own_positions = computes_own_positions(model)

    def __call__(self, queries: Sequence[Query]) -> PreparedBatch:
        """Render, tokenise and pad on the left; resize and normalise the images.

        Raises:
            UnreadableItemError: the processor refuses an image.
            ModelError: image tokens and image features do not fit together.
        """
        inputs = self._process(queries)
        inputs = {key: value for key, value in inputs.items() if key in self._accepted}
        mask = inputs["attention_mask"]
        image_tokens = (inputs["input_ids"] == self._anatomy.image_token_id) & mask.bool()
        counts = image_tokens.sum(1)
        if bool((counts == 0).any()):
            raise ModelError(
                f"the prompt of query {queries[int((counts == 0).nonzero()[0])].id!r} has no image tokens "
                f"(id {self._anatomy.image_token_id}); processor and configuration disagree"
            )
        layout = ImageLayout(image_units(inputs, counts.tolist()), drop_first=self._anatomy.drops_class_token)
        positions = None if self._own_positions else position_ids(mask)
        return PreparedBatch(
            inputs={key: self._place(value) for key, value in inputs.items()},
            images=layout,
            tokens=TokenLayout(image_tokens),
            lengths=mask.sum(1).to(self._device),
            positions=None if positions is None else positions.to(self._device),
        )

    def _process(self, queries: Sequence[Query]) -> Any:
        rendered = [self._chat.render(query.prompt) for query in queries]
        try:
            return self._processor(
                text=rendered,
                images=[[query.image.convert("RGB")] for query in queries],
                return_tensors="pt",
                padding=True,
                padding_side="left",
                return_attention_mask=True,
                add_special_tokens=self._chat.adds_special_tokens(rendered[0]),
            )
        except (ValueError, OSError, ZeroDivisionError) as error:
            reason = one_line(error)
            raise UnreadableItemError(
                f"the model's processor refuses the image or prompt: {reason}"
            ) from error

    def _place(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if value.is_floating_point():
            return value.to(self._device, self._model.dtype)
        return value.to(self._device)


def computes_own_positions(model: Any) -> bool:
    """Tell whether a model derives its position ids from the image grid (the Qwen-VL families)."""
    return hasattr(getattr(model, "model", model), "get_rope_index")


def position_ids(attention_mask: Tensor) -> Tensor:
    """Return positions that count from 0 at each prompt's first token, whatever stands on its left."""
    return (attention_mask.long().cumsum(-1) - 1).clamp_min(0)


def image_units(inputs: Any, image_tokens: Sequence[int]) -> tuple[int, ...]:
    """Return how many of the vision encoder's units each image of a batch has: tiles, or packed patches.

    `image_tokens` counts each prompt's image tokens. The grid decides where the processor gives one,
    then the tiles that are not padding, then one tile an image, else the share of image tokens.

    Raises:
        ModelError: the units cannot be told apart.
    """
    batch = len(image_tokens)
    for key in ("image_grid_thw", "grid_sizes"):  # frames, rows and columns of patches; by its family
        if inputs.get(key) is not None:
            return tuple(inputs[key].prod(-1).tolist())
    pixels = inputs["pixel_values"]
    if pixels.ndim == 5 and pixels.shape[0] == batch:
        real = (pixels != 0).flatten(2).any(-1)  # processors pad with tiles of zeros
        return tuple(real.sum(1).tolist())
    if pixels.ndim == 4 and inputs.get("image_sizes") is not None:
        return tuple(image_tokens)  # padded pictures whose patches the encoder packs (Pixtral)
    if pixels.ndim == 4 and pixels.shape[0] == batch:
        return (1,) * batch
    tiles, total = pixels.shape[0], sum(image_tokens)
    if pixels.ndim == 4 and all(tiles * count % total == 0 for count in image_tokens):
        return tuple(tiles * count // total for count in image_tokens)
    raise ModelError(f"pixel values of shape {tuple(pixels.shape)} cannot be assigned to {batch} images")
