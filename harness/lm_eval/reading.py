"""The reading of free answers for exported tasks: lm-eval calls it with a document and what the model wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leaderboard.scoring.reading import read_class, wordings_of
from tasks.spec import ClassSpec, TaskSpec


def read_answer(document: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Return `acc`, 1 where the text names the right class and no other, and `no_answer`, 1 where it names none.

    The reader is that of `harness eval`. The document's `wordings` hold a name, a wording and any aliases of
    each class, its `label` the index of the right one.
    """
    classes = tuple(
        ClassSpec(name=words[0], wording=words[1], aliases=tuple(words[2:])) for words in document["wordings"]
    )
    asked: dict[str, Any] = {"classes": classes}  # of a task the reader looks at nothing else
    read = read_class(results[0], wordings_of(TaskSpec.model_construct(**asked)))
    return {"acc": float(read == document["label"]), "no_answer": float(read is None)}
