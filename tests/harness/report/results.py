"""Result folders whose answers are known, to be shown by a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from leaderboard.record.samples import SampleLine, dump_lines
from tests.harness.full_records import full_content
from tests.leaderboard.lines import sample

IMAGES = 150  # of `full_content`
CLASSES = 3


def answers(seed: int, *, orders: int = 2, **changes: Any) -> list[SampleLine]:
    """Return test lines whose labels are the same for every seed, and whose label scores are not."""
    labels = np.random.default_rng(99).integers(CLASSES, size=IMAGES)
    rng = np.random.default_rng(seed)
    scores = rng.normal(scale=1.5, size=(IMAGES, CLASSES)) + 2.0 * np.eye(CLASSES)[labels]
    return [
        sample(
            "test",
            i,
            int(labels[i]),
            scores[i].tolist(),
            group=str(i),
            **{
                "text": f"It is {i}.",
                "read": int(labels[i]),
                "generated_outcome": "correct",
                "orders": [asked(rng.permutation(CLASSES).tolist(), int(labels[i])) for _ in range(orders)],
                **changes,
            },
        )
        for i in range(IMAGES)
    ]


def asked(order: Sequence[int], predicted: int | None) -> dict[str, Any]:
    return {"prompt": "letters", "order": tuple(order), "scores": None, "predicted": predicted}


def few_figures(**options: Any) -> dict[str, Any]:
    """Return a record with answers alone, as it stands in the file: its page is drawn quickly."""
    content = full_content(readouts=(), layers=(1, 1), **options)
    for part in ("diagnosis", "health", "permutation", "answer_target", "similarity", "projection", "floors"):
        content[part] = None
    content["answers"] |= {"reliability": None, "order_accuracies": {}}
    return content


def filed(
    folder: Path,
    lines: Sequence[SampleLine] | None,
    content: dict[str, Any] | None = None,
    name: str = "clinic/model",
) -> Path:
    """Write a result folder; without `samples.jsonl` where `lines` is None."""
    folder.mkdir(parents=True, exist_ok=True)
    content = content or few_figures()
    content["model"]["name"] = name
    (folder / "record.json").write_text(json.dumps(content), encoding="utf-8")
    if lines is not None:
        (folder / "samples.jsonl").write_text(dump_lines(lines), encoding="utf-8")
    return folder
