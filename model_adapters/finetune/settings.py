"""How a model is fine-tuned: every number that changes what comes out, in one frozen value."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from model_adapters.interface import ModelError
from tasks.files import json_hash

Part = Literal["language", "vision"]
Method = Literal["lora", "full"]


@dataclass(frozen=True)
class TuningSettings:
    """The settings of one fine-tuning; the defaults are the paper's probable ones (arXiv 2604.08333).

    `part` says what is tuned: the language model on the words of the answer, or the vision encoder on the class
    by a linear head. `method` "full" trains a vision encoder's own weights instead of low-rank updates of them.
    `targets` are the last names of linear layers ("q_proj"); without any, all linear layers of the part.
    `connector` trains the connector in full, `vision` puts low-rank updates on the vision encoder too; both are
    about the language part alone. `batch` images make a step, of which `micro_batch` are in memory at once.
    `epochs` bounds the steps; of `evaluations` evenly spread looks at the validation images training ends after
    `patience` in a row without a better one. The learning rate rises for the share `warm_up` of the steps and
    falls along a cosine. `recompute` saves memory: activations are computed again in the backward pass.
    """

    part: Part = "language"
    method: Method = "lora"
    rank: int = 64
    alpha: int = 128
    dropout: float = 0.05
    targets: tuple[str, ...] = ()
    connector: bool = True
    vision: bool = False
    learning_rate: float = 2e-4
    warm_up: float = 0.03
    weight_decay: float = 0.0
    gradient_norm: float = 1.0
    batch: int = 8
    micro_batch: int = 4
    epochs: int = 3
    evaluations: int = 10
    patience: int = 3
    recompute: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what means nothing.

        Raises:
            ModelError: naming the first setting that is wrong.
        """
        for name in ("rank", "alpha", "batch", "micro_batch", "epochs", "evaluations", "patience"):
            if getattr(self, name) < 1:
                raise ModelError(f"fine-tuning: {name} is {getattr(self, name)}; it must be 1 or more")
        for name in ("dropout", "warm_up"):
            if not 0 <= getattr(self, name) < 1:
                raise ModelError(
                    f"fine-tuning: {name} is {getattr(self, name)}; it must be from 0 to below 1"
                )
        for name in ("learning_rate", "gradient_norm"):
            if not getattr(self, name) > 0:
                raise ModelError(f"fine-tuning: {name} is {getattr(self, name)}; it must be above 0")
        if self.weight_decay < 0:
            raise ModelError(f"fine-tuning: weight_decay is {self.weight_decay}; it must be 0 or more")
        if self.method == "full" and self.part == "language":
            raise ModelError("fine-tuning: the language part is tuned by lora; full is for the vision part")

    @property
    def id(self) -> str:
        """A hash of all settings."""
        return json_hash(asdict(self))[:16]

    def steps(self, images: int) -> int:
        """Return how many steps training takes at most; an epoch's last one may have fewer images."""
        return self.epochs * -(-images // self.batch)

    def looks(self, steps: int) -> tuple[int, ...]:
        """Return after which steps the validation images are looked at: before the first, then evenly spread."""
        count = self.evaluations
        return (0, *sorted({round(steps * part / count) for part in range(1, count + 1)} - {0}))
