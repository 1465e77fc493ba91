"""Cut work into forward batches, and into smaller ones when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from model_adapters.interface import ModelError

Item = TypeVar("Item")
Result = TypeVar("Result")

AUTO_CPU = 16
AUTO_GPU = 64

_MEMORY_MESSAGES = (
    "out of memory",
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough",
)


class UnreadableItemError(Exception):
    """One item of a batch cannot be prepared; the message says why. Its neighbours are tried without it."""


@dataclass(frozen=True)
class Failure:
    """Why one item has no result."""

    reason: str


def parse_batch_size(value: int | str | None) -> int | None:
    """Return a batch size, None for "auto".

    Raises:
        ModelError: neither "auto" nor a whole number of at least 1.
    """
    if value is None or value == "auto":
        return None
    try:
        size = int(value)
    except ValueError:
        size = 0
    if size < 1:
        raise ModelError(f"batch size {value!r} is neither 'auto' nor a whole number of at least 1")
    return size


class Batcher(Generic[Item, Result]):
    """Runs items in batches; a size that did not fit is halved, and stays halved for later batches."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._fitted = 1  # the largest batch that went through

    def run(
        self, items: Sequence[Item], forward: Callable[[Sequence[Item]], Sequence[Result]]
    ) -> list[Result | Failure]:
        """Return one result an item, in order.

        `forward` gets a batch and returns as many results. Where it runs out of memory the batch is cut
        in half, down to single items; an item that does not fit alone gets a `Failure`, the others go
        on, and the size goes back to what had fitted before. The same for an `UnreadableItemError`,
        which changes no batch size.
        """
        results: list[Result | Failure] = []
        start = 0
        while start < len(items):
            batch = items[start : start + self.size]
            results += self._halving(batch, forward)
            start += len(batch)
        return results

    def _halving(
        self, batch: Sequence[Item], forward: Callable[[Sequence[Item]], Sequence[Result]]
    ) -> list[Result | Failure]:
        try:
            results = list(forward(batch))
        except UnreadableItemError as error:
            failure = Failure(str(error))
        except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            failure = Failure(f"out of memory with one image in the batch: {_first_line(error)}")
            self.size = self._fitted if len(batch) == 1 else min(self.size, len(batch) // 2)
        else:
            self._fitted = max(self._fitted, len(batch))
            return list(results)
        # Only here, with the exception and the tensors that its traceback holds gone, is memory free again.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(batch) == 1:
            return [failure]
        middle = len(batch) // 2
        return self.run(batch[:middle], forward) + self.run(batch[middle:], forward)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that the batch did not fit: CUDA's own, or an allocator's message."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error) for message in _MEMORY_MESSAGES)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
