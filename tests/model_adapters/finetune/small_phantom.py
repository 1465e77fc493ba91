"""Phantom tasks of a few images, as YAML files."""

from __future__ import annotations

from pathlib import Path

import yaml

from tasks.catalog import load
from tasks.spec import TaskSpec

CLASSES = ("normal", "cyst", "benign", "malignant", "calcified")


def phantom_yaml(
    folder: Path, name: str, *, train: int, val: int = 20, test: int = 10, shift: int = 0
) -> Path:
    """Write a phantom task; `shift` gives every class another one's word, so that a model must learn it anew."""
    words = CLASSES[shift:] + CLASSES[:shift]
    splits = {
        "train": {"first": 0, "count": train},
        "val": {"first": 1500, "count": val},
        "test": {"first": 2000, "count": test},
    }
    content = {
        "extends": "phantom",
        "id": name,
        "title": name,
        "description": "For a test.",
        "classes": [{"name": word, "wording": word} for word in words],
        "source": {"fingerprint": None, "splits": {k: v for k, v in splits.items() if v["count"]}},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def phantom_task(folder: Path, name: str = "small", **sizes: int) -> TaskSpec:
    """The same, loaded."""
    return load(str(phantom_yaml(folder, name, **sizes)))
