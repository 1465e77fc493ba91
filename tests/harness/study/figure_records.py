"""Studies in small for figures: copies of one full record under other names, and comparisons between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leaderboard.compare.contrasts import FINE_TUNING, LAYER, MEDICAL, PROBE, REFERENCE, Contrast
from leaderboard.record.parts import Interval
from leaderboard.record.record import Condition, Record
from tests.harness.full_records import full_record

FAMILIES = (FINE_TUNING, MEDICAL, REFERENCE, LAYER, PROBE)
LONG = "organisation/medical-vision-language-00{}"


def named(
    base: Record, model: str, task: str, condition: Condition = "released", **model_changes: Any
) -> Record:
    """Return a copy of a record under another model and task."""
    return base.model_copy(
        update={
            "model": base.model.model_copy(update={"name": model, **model_changes}),
            "task": base.task.model_copy(update={"name": task}),
            "condition": condition,
        }
    )


def reference_of(base: Record, model: str, task: str) -> Record:
    """Return the record of a classifier: without layers."""
    bare = base.model_copy(update={"probes": (), "health": None, "permutation": None, "diagnosis": None})
    return named(bare, model, task, role="reference")


def grid(models: Sequence[str], tasks: Sequence[str], *, tuned: bool = True) -> list[Record]:
    """Return every model on every task, as released and tuned, and one reference; the last cell is a hole."""
    base = full_record(readouts=("linear",))
    found = [reference_of(base, "reference/small", task) for task in tasks]
    found += [named(base, model, task) for task in tasks for model in models]
    if tuned:
        found += [named(base, model, task, "lora") for task in tasks for model in models][:-1]
    return found


def contrast(family: str, model: str = "m", task: str = "t", **changes: Any) -> Contrast:
    """Return a comparison of 0.8 with 0.6."""
    sides = {
        FINE_TUNING: (f"{model}@lora", model),
        LAYER: ("vision.01", "vision.03"),
        PROBE: ("llm.05", "answer"),
    }
    first, second = sides.get(family, (model, "other/model-of-a-name"))
    content: dict[str, Any] = {
        "family": family,
        "task": task,
        "first": first,
        "second": second,
        "model": model,
        "metric": "accuracy",
        "first_value": Interval(value=0.8, low=0.7, high=0.88, n=100),
        "second_value": Interval(value=0.6, low=0.5, high=0.69, n=100),
        "value": 0.2,
        "low": 0.1,
        "high": 0.31,
        "p": 0.004,
        "p_adjusted": 0.012,
        "test": "exact McNemar",
        "n": 100,
        "conclusion": "higher",
    }
    return Contrast(**{**content, **changes})
