"""A short name for everything that a task states, so that a result says which wording it was measured with."""

from __future__ import annotations

from tasks.files import json_hash
from tasks.spec import TaskSpec


def task_hash(task: TaskSpec) -> str:
    """Return 16 hexadecimal digits over all that a task states.

    Values that are their keys' defaults do not enter: a key that tasks learn later changes no hash of before.
    """
    stated = task.model_dump(mode="json", exclude_defaults=True)
    return json_hash(stated, ascii_only=False)[:16]
