"""What a forger would change in a record or in a line, each seeded."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from tests.leaderboard.verify.json_edits import HOSTILE, LONG


def other_task(rng: Random, content: Any) -> None:
    """Of a record: another task, version or data set."""
    if "task" in content:
        key = rng.choice(["name", "version", "dataset_fingerprint", "classes", "official_data", "n_train"])
        values = {
            "name": ["phantom", "busi", "../lumps", "Lumps"],
            "version": [0, 2, 10**9],
            "n_train": [35, 0],
        }
        values |= {"dataset_fingerprint": ["0" * 64], "classes": [["a"], []], "official_data": [False]}
        content["task"][key] = rng.choice(values[key])


def other_name(rng: Random, content: Any) -> None:
    if "model" in content:
        content["model"]["name"] = rng.choice([*HOSTILE, LONG, "x/y", "reference/resnet", "NUL", "é/ü"])


def other_claim(rng: Random, content: Any) -> None:
    """Of a record: what would help a forger."""
    if "answers" not in content:
        return
    answers, permutation = content["answers"], content["permutation"]
    claims: list[Callable[[], Any]] = [
        lambda: answers.update(headline_source="generated"),
        lambda: answers["accuracy"].update(value=0.99),
        lambda: answers["outcomes"].update(correct=answers["outcomes"]["correct"] + 1),
        lambda: content["model"].update(role="reference"),
        lambda: content["provenance"].update(seed=7),
        lambda: content["configuration"]["options"].update(seed=7, probing_half=True),
        lambda: content.update(permutation=None),
        lambda: permutation.update(vision_p=None),
        lambda: content.update(floors=None),
        lambda: content.update(probes=[]),
        lambda: content.update(health=None),
        lambda: content["diagnosis"].update(verdict="healthy"),
        lambda: content["similarity"].update(inert_margin=1.0, connector_inert=True),
        lambda: content["floors"]["blank"].update(probabilities=[]),
        lambda: content["floors"]["reference"].update(name="pixels"),
        lambda: content["provenance"].update(finished="tomorrow"),
        lambda: content.update(status="partial"),
        lambda: [p.update(permutation_p=-1.0) for p in content["probes"]],
    ]
    rng.choice(claims)()


def other_line(rng: Random, content: Any) -> None:
    """Of a line: what would help a forger."""
    if "label" in content:
        content.update(
            rng.choice(
                [
                    {"label": (content["label"] + 1) % 4},
                    {"label": 99},
                    {"id": "test/99999"},
                    {"split": "train"},
                    {"pixel_hash": "0" * 64},
                    {"group": "mine"},
                    {"predicted": content["label"], "outcome": "correct"},
                    {"read": content["label"]},
                    {"orders": []},
                    {"text": None},
                    {"error": "broken"},
                    {"scores": None},
                    {"scores": [0.1, 0.2, 0.3, 0.4]},
                    {"scores": [-1.0] * 3},
                    {"scores": [5.0, -1.0, -2.0, -3.0]},
                ]
            )
        )
    elif "readout" in content:
        count = len(content["predictions"])
        content.update(
            rng.choice(
                [
                    {"consumed": not content["consumed"]},
                    {"layer": content["layer"] - 1},
                    {"layer": 10**20},
                    {"seed": 1},
                    {"site": "vision.09", "layer": 9},
                    {"site": "llm.-1", "module": "llm", "layer": -1},
                    {"pool": "last"},
                    {"split": "train"},
                    {"readout": "paper"},
                    {"readout": "floor"},
                    {"readout": "mine"},
                    {"module": "image"},
                    {"predictions": [0] * count},
                    {"predictions": [10**20] * count},
                    {"predictions": [-1] * count},
                    {"scores": [[0.0] * 4] * count},
                    {"scores": [[1.0, 0.0, 0.0, 0.0]] * count},
                    {"scores": []},
                    {"targets": [0] * count},
                    {"targets": None},
                    {"width": -1},
                ]
            )
        )
