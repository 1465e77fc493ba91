"""A short name for everything that a task states, so that a result says which wording it was measured with."""

from __future__ import annotations

import hashlib
import json

from tasks.spec import TaskSpec


def task_hash(task: TaskSpec) -> str:
    """Return 16 hexadecimal digits over all that a task states.

    Values that are their keys' defaults do not enter: a key that tasks learn later changes no hash of before.
    """
    stated = task.model_dump(mode="json", exclude_defaults=True)
    text = json.dumps(stated, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
