"""Run the vision encoder once for queries that are asked many times over with changes further on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from model_adapters.anatomy.replaced_forward import replaced_forward
from model_adapters.engines.transformers.engine import TransformersEngine
from model_adapters.engines.transformers.inputs import PreparedBatch
from model_adapters.interface import Engine, Query


@contextmanager
def shared_encoding(engine: Engine) -> Iterator[None]:
    """Prepare the same `Query` objects once inside the block, and run the vision blocks once for them.

    Scores are to the last bit those of separate passes: a block that has seen a batch gives the very output
    it gave then. Meant for many passes over some dozens of queries: what is kept grows with the queries,
    one output of every vision block for each, until the block ends. Engines without hidden states are
    left as they are.
    """
    if not isinstance(engine, TransformersEngine):
        yield
        return
    memory = _EncodingCache(engine._prepare)
    with ExitStack() as stack:
        stack.callback(setattr, engine, "_prepare", engine._prepare)
        engine._prepare = memory.prepare
        for block in engine.anatomy.vision_blocks:
            stack.enter_context(replaced_forward(block, memory.remembering))
        yield


class _EncodingCache:
    """Prepared batches, and what each vision block gave for them. A batch goes by its query objects."""

    def __init__(self, prepare: Callable[[Sequence[Query]], PreparedBatch]) -> None:
        self._prepare = prepare
        # The queries are kept with their batch, so that no other object can take their identity.
        self._batches: dict[tuple[int, ...], tuple[tuple[Query, ...], PreparedBatch]] = {}
        self._now: tuple[int, ...] = ()

    def prepare(self, queries: Sequence[Query]) -> PreparedBatch:
        self._now = tuple(map(id, queries))
        if self._now not in self._batches:
            self._batches[self._now] = tuple(queries), self._prepare(queries)
        return self._batches[self._now][1]

    def remembering(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        outputs: dict[tuple[int, ...], Any] = {}

        def remembered(*arguments: Any, **keywords: Any) -> Any:
            if self._now not in outputs:
                outputs[self._now] = forward(*arguments, **keywords)
            return outputs[self._now]

        return remembered
