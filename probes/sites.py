"""Where a model is watched: one `Site` is one layer's output, pooled in one way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Module = Literal["vision", "connector", "llm"]
Pool = Literal["mean", "last", "regrouped"]

MODULES: tuple[Module, ...] = ("vision", "connector", "llm")


@dataclass(frozen=True, order=True)
class Site:
    """One layer's output after pooling over tokens.

    `layer` counts from 0 in the order in which the model runs its layers. `pool` is "mean" for the
    mean over one image's tokens, "last" for the state at the last prompt token (decoder only), and
    "regrouped" for the mean over the groups of tokens that the connector merges into one, the group's
    tokens side by side (the consumed vision layer only, and only where the connector concatenates).
    `width` is the length of the pooled vector. `consumed` marks the one vision layer that the
    connector reads; it is False everywhere outside the vision encoder.
    """

    module: Module
    layer: int
    pool: Pool
    width: int
    consumed: bool = False

    @property
    def name(self) -> str:
        """The layer's name in records, for example `vision.03`."""
        return f"{self.module}.{self.layer:02d}"

    @property
    def key(self) -> str:
        """The name with its pooling, unique within a model, for example `llm.07.last`."""
        return f"{self.name}.{self.pool}"


def curve(sites: Sequence[Site], module: Module, pool: Pool) -> tuple[Site, ...]:
    """Return the sites of one module and pooling, in layer order.

    The vision curve ends at the layer that the connector reads: later blocks feed nothing.
    """
    found = sorted((s for s in sites if s.module == module and s.pool == pool), key=lambda s: s.layer)
    if module != "vision":
        return tuple(found)
    consumed = [s.layer for s in found if s.consumed]
    return tuple(s for s in found if not consumed or s.layer <= consumed[0])
