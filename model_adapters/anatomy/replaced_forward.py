"""Let a module do something else for a while, also in models that collect their layers' outputs themselves.

Such a model takes what a layer gives before any hook of ours could change it; what the layer's own `forward`
gives it takes as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

Forward = Callable[..., Any]


@contextmanager
def replaced_forward(module: nn.Module, replacement: Callable[[Forward], Forward]) -> Iterator[None]:
    """Run what `replacement` makes of the module's `forward` in its place; afterwards it has its own again."""
    own, before = module.__dict__.get("forward"), module.forward
    module.forward = replacement(before)
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own
