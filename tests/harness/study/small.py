"""A small study over generated images, as YAML, and how it is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.model_adapters.finetune.small_phantom import phantom_yaml

MODEL = "zoo/llava-healthy"


def study_yaml(folder: Path, **keys: Any) -> Path:
    """Write a study of one built-in model on one small task, released and tuned; `keys` replace what it says."""
    phantom_yaml(folder, "small", train=60, val=20, test=30)
    content = {
        "name": "trial",
        "title": "A trial",
        "tasks": ["small.yaml"],
        "models": [MODEL],
        "conditions": ["released", "lora"],
        "evaluation": {"floors": "task", "answer_target": False},
        "finetuning": {
            "settings": {"rank": 4, "alpha": 8, "epochs": 1, "evaluations": 2, "learning_rate": 0.001},
            "limit_train": 16,
            "limit_validation": 10,
        },
        **keys,
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path
