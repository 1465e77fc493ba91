"""A comparison as JSON; `docs/gate.md` says what the keys mean. Keys are only ever added."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from harness.report.comparison.outcome import Outcome
from leaderboard.compare.comparison import Answered, TaskComparison
from leaderboard.compare.parts import Change

SCHEMA_VERSION = 1


def as_json(outcome: Outcome) -> str:
    """Return the outcome as JSON text, ending in a newline."""
    comparison = outcome.comparison
    content = {
        "schema_version": SCHEMA_VERSION,
        "baseline": outcome.baseline,
        "candidate": outcome.candidate,
        "status": "compared" if comparison else "refused",
        "reason": outcome.refusal,
        "verdict": comparison.verdict if comparison else None,
        "gate": {"exit_code": outcome.gate_code, "obstacles": list(outcome.obstacles)},
        "thresholds": outcome.thresholds.model_dump(mode="json"),
        "allow_missing": outcome.allow_missing,
        "missing": [{"title": one.title, "lacking": one.lacking} for one in outcome.missing],
        "notes": list(outcome.notes),
        "tasks": [_task(title, task) for title, task in outcome.tasks],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _task(title: str, task: TaskComparison) -> dict[str, Any]:
    drop = task.smallest_visible_drop
    return {
        "title": title,
        "task": task.task,
        "version": task.version,
        "images": task.images,
        "groups": task.groups,
        "baseline": _answered(task.baseline),
        "candidate": _answered(task.candidate),
        "only_baseline_right": task.only_baseline,
        "only_candidate_right": task.only_candidate,
        "verdict": task.decision.verdict,
        "stops": task.stops,
        "p_primary": task.decision.p_adjusted,
        "smallest_regression_points": task.smallest_regression,
        "smallest_visible_drop_points": None if drop is None else 100 * drop,
        "accuracy": _change(task.accuracy),
        "secondary": [_change(change) for change in task.secondary],
        "left_out": [asdict(one) for one in task.left_out],
        "obstacles": list(task.obstacles),
        "remarks": list(task.remarks),
    }


def _answered(side: Answered) -> dict[str, Any]:
    return {
        "model": side.model,
        "status": side.status,
        "accuracy": side.accuracy.model_dump(),
        "outcomes": side.outcomes.model_dump(),
    }


def _change(change: Change) -> dict[str, Any]:
    return asdict(change)
