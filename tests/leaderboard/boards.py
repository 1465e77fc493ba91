"""A board made by hand: models on two tasks, a tuned one beside its base, references, and what can be missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leaderboard.board.entry import Rerun
from leaderboard.board.standing import Board, BoardEntry, BoardTask, JoinedRow
from leaderboard.record.parts import Interval
from leaderboard.record.record import Record
from tests.harness.full_records import full_content, within
from tests.harness.run.test_record import record_of

CLASSES = ("normal", "benign", "malignant")
TASKS = ("busi", "phantom")
RERUN = Rerun(
    harness_version="0.1.0",
    engine="transformers",
    device="cuda:0",
    agreement=0.987,
    accuracy=0.853,
    p=0.5,
    largest_probe_difference=0.01,
)
TUNING = {
    "task": "busi",
    "task_version": 1,
    "part": "language",
    "base_revision": "0",
    "settings": "s",
    "n_tuning": 40,
    "steps": 8,
    "kept": 6,
    "disjoint": True,
    "n_shared": 0,
    "n_test_shared": 0,
}
MODELS: Mapping[str, Mapping[str, Any]] = {  # family, parameters, accuracy on both tasks, and what is changed
    "clinic/large": {"family": "qwen", "parameters": 34_750_000_000, "accuracy": (0.91, 0.9)},
    "general/small": {"family": "llava", "parameters": 4_300_000_000, "accuracy": (0.7, 0.62)},
    "clinic/small": {
        "family": "llava",
        "parameters": 4_300_000_000,
        "accuracy": (0.74, 0.8),
        "base": "general/small",
    },
    "served/answers": {
        "family": "unknown",
        "parameters": 2_210_000_000,
        "accuracy": (0.55, None),
        "plain": True,
    },
}
REFERENCES = {"reference/resnet": ("cnn", 0.95), "reference/mixer": ("mlp", 0.88)}


def task(name: str, **changes: Any) -> BoardTask:
    content: dict[str, Any] = {
        "name": name,
        "title": f"The {name} images",
        "version": 1,
        "modality": "ultrasound",
        "classes": CLASSES,
        "n_test": 150,
        "official": name == "busi",
        "licence": "CC-BY-4.0",
        "citation": "@article{key,\n  title = {Images}\n}\n",
    }
    return BoardTask(**content | changes)


def content_of(
    name: str, task_name: str, accuracy: float, *, plain: bool = False, **model: Any
) -> dict[str, Any]:
    """Return a record as it stands in the file: with every part, or `plain` with answers alone."""
    made = record_of(name=name) if plain else full_content()
    made["model"] |= {"name": name, **model}
    made["task"] |= {
        "name": task_name,
        "classes": list(CLASSES),
        "n_test": 150,
        "official_data": task_name == "busi",
    }
    made["answers"] |= {"accuracy": within(accuracy), "balanced_accuracy": within(accuracy - 0.01)}
    right = round(150 * accuracy)
    made["answers"]["outcomes"] = {"correct": right, "wrong": 148 - right, "no_answer": 2, "error": 0}
    return made


def entry(content: dict[str, Any], family: str, rank: int | None = None, **changes: Any) -> BoardEntry:
    """Return an entry of this record, checked."""
    record = Record.model_validate(content)
    name = record.model.name + ("" if record.condition == "released" else f"@{record.condition}")
    value = record.answers.accuracy.value if record.answers else 0.0
    held: dict[str, Any] = {
        "name": name,
        "folder": f"entries/{name.replace('/', '--')}/{record.task.name}",
        "state": "recomputed",
        "declared": ("cost", "provenance"),
        "family": family,
        "rank": rank,
        "level": level(value),
    }
    return BoardEntry(**held | changes, record=record)


def level(value: float) -> Interval:
    return Interval(value=1.5 * value - 0.5, low=1.5 * value - 0.55, high=1.5 * value - 0.45, n=150)


def board(
    entries: Sequence[BoardEntry], tasks: Sequence[BoardTask], joined: Sequence[JoinedRow] = ()
) -> Board:
    return Board("A board", False, tuple(tasks), tuple(entries), tuple(joined), tuple(t.name for t in tasks))


def whole_board() -> Board:
    """Return the board with everything: 13 entries of 7 models, two of them references, on two tasks."""
    found = [one for place, name in enumerate(TASKS) for one in _of_task(name, place)]
    return board(found, [task(name) for name in TASKS], _joined())


def _of_task(task_name: str, place: int) -> list[BoardEntry]:
    found = []
    for name, model in MODELS.items():
        accuracy = model["accuracy"][place]
        if accuracy is None:
            continue
        given = {key: model[key] for key in ("parameters", "base", "plain") if key in model}
        rank = 1 if accuracy > 0.85 else 2
        found.append(entry(content_of(name, task_name, accuracy, **given), model["family"], rank))
    tuned = content_of("clinic/small", task_name, 0.86, parameters=4_300_000_000, base="general/small")
    tuned |= {"condition": "lora", "tuning": TUNING}
    found.append(entry(tuned, "llava", 1, state="rerun", rerun=RERUN))
    for name, (family, accuracy) in REFERENCES.items():
        made = content_of(name, task_name, accuracy, plain=True, role="reference", parameters=11_000_000)
        found.append(entry(made, family, declared=()))
    if task_name == "phantom":
        found = [one for one in found if one.name != "clinic/large"] + [_faulty(task_name)]
    return sorted(found, key=lambda one: -one.record.answers.accuracy.value if one.record.answers else 0.0)


def _faulty(task_name: str) -> BoardEntry:
    """Return what a model has that saw the images before, has nothing named, and too few of them for health."""
    made = content_of("clinic/large", task_name, 0.9, parameters=34_750_000_000, seen_in_training=True)
    made["diagnosis"] |= {"verdict": "no_signal", "stages": [], "details": [], "drops": []}
    for module in ("vision", "connector", "llm"):
        made["health"][module]["noise_limited"] = True
    return entry(made, "qwen", 1)


def _joined() -> list[JoinedRow]:
    return [
        JoinedRow("reference/resnet", "cnn", 11_000_000, True, level(0.95), None),
        JoinedRow("clinic/large", "qwen", 34_750_000_000, False, level(0.905), 1),
        JoinedRow("clinic/small@lora", "llava", 4_300_000_000, False, level(0.86), 1),
        JoinedRow("clinic/small", "llava", 4_300_000_000, False, level(0.3), 3),
        JoinedRow("general/small", "llava", 4_300_000_000, False, level(0.2), 4),
    ]
