"""A batch that does not fit is halved, the size is remembered, and one failure stays one failure."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_adapters.interface import ModelError
from model_adapters.support.batching import (
    Batcher,
    Failure,
    UnreadableItemError,
    is_out_of_memory,
    parse_batch_size,
)

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
    MemoryError(),
]


def limited(limit, sizes, error=ERRORS[0]):
    def forward(batch):
        sizes.append(len(batch))
        if len(batch) > limit:
            raise error
        return [item * item for item in batch]

    return forward


@pytest.mark.parametrize("error", ERRORS, ids=["cuda", "cpu", "python"])
@given(st.integers(0, 60), st.integers(1, 32), st.integers(1, 40))
def test_every_item_is_answered_in_order_whatever_fits(error, items, size, limit):
    batcher = Batcher(size)
    assert batcher.run(range(items), limited(limit, [], error)) == [i * i for i in range(items)]
    assert batcher.size <= size


def test_the_size_that_fits_is_remembered():
    batcher, sizes = Batcher(16), []
    batcher.run(range(16), limited(5, sizes))
    assert sizes == [16, 8, 4, 4, 4, 4]
    assert batcher.size == 4
    sizes.clear()
    batcher.run(range(16), limited(5, sizes))
    assert sizes == [4, 4, 4, 4]


def test_an_item_that_never_fits_fails_alone():
    def forward(batch):
        if 3 in batch:
            raise ERRORS[0]
        return [str(item) for item in batch]

    batcher = Batcher(8)
    batcher.run(range(10, 18), forward)
    results = batcher.run(range(8), forward)
    assert isinstance(results[3], Failure)
    assert "out of memory" in results[3].reason
    assert [r for i, r in enumerate(results) if i != 3] == [str(i) for i in range(8) if i != 3]
    assert batcher.size == 8  # one picture's failure does not slow down the rest


def test_an_item_that_cannot_be_read_fails_alone_and_keeps_the_batch_size():
    def forward(batch):
        if 5 in batch:
            raise UnreadableItemError("too thin")
        return list(batch)

    batcher = Batcher(8)
    assert batcher.run(range(8), forward) == [0, 1, 2, 3, 4, Failure("too thin"), 6, 7]
    assert batcher.size == 8


def test_other_errors_are_not_taken_for_memory():
    with pytest.raises(RuntimeError, match="shape mismatch"):
        Batcher(4).run(range(4), limited(1, [], RuntimeError("shape mismatch")))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))


def test_batch_sizes_are_read():
    assert [parse_batch_size(v) for v in (None, "auto", "4", 3)] == [None, None, 4, 3]
    for wrong in ("0", "many", -1):
        with pytest.raises(ModelError, match="batch size"):
            parse_batch_size(wrong)
