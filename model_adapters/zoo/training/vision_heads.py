"""What the vision tower is trained to say: an image's class, and the class of what each patch holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model_adapters.zoo.training.material import ImageBatch, TrainingSet

_HEALTHY_PATCH_WEIGHT = 0.1  # most patches hold no lesion; without a weight they would drown the others


class VisionHeads(nn.Module):
    """Linear heads over the tokens that the connector reads; thrown away after training."""

    def __init__(self, width: int, sets: Sequence[TrainingSet]) -> None:
        super().__init__()
        sizes = [len(s.wordings) for s in sets]
        self._offsets = np.cumsum([0, *sizes])
        columns = np.arange(sum(sizes))
        self._own = torch.from_numpy(
            np.stack(
                [
                    (columns >= start) & (columns < start + n)
                    for start, n in zip(self._offsets, sizes, strict=False)
                ]
            )
        )
        self.image_norm, self.patch_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.image_class = nn.Linear(width, sum(sizes))
        self.patch_class = nn.Linear(width, 1 + sum(sizes))  # first: no lesion

    def class_loss(self, tokens: Tensor, batch: ImageBatch) -> Tensor:
        """Cross-entropy of the image's class among its own set's, from the mean of its tokens."""
        logits = self.image_class(self.image_norm(tokens.mean(1)))
        logits = logits.masked_fill(~self._own[batch.sets], -torch.inf)
        return functional.cross_entropy(logits, self._targets(batch))

    def lesion_loss(self, tokens: Tensor, batch: ImageBatch) -> Tensor:
        """Cross-entropy of each patch's parts (no lesion, lesion of the class), where masks are known."""
        known = ~batch.lesion.isnan().any(1)
        if not known.any():
            return tokens.new_zeros(())
        part = batch.lesion[known]
        log = self.patch_class(self.patch_norm(tokens[known])).log_softmax(-1)
        of_class = log.gather(
            2, (1 + self._targets(batch)[known])[:, None, None].expand(-1, part.shape[1], 1)
        )
        loss = -(part * of_class.squeeze(-1) + (1.0 - part) * log[..., 0])
        weight = part + _HEALTHY_PATCH_WEIGHT
        return (loss * weight).sum() / weight.sum()

    def _targets(self, batch: ImageBatch) -> Tensor:
        return torch.from_numpy(self._offsets[batch.sets] + batch.labels)
