"""A record with every part, small and consistent: its waterfall's levels follow from the losses given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leaderboard.record.record import Record
from tests.harness.run.test_record import record_of

PATH = ("reference", "vision", "connector", "image_mean", "last_token", "logistic", "answers")
ENDS = {
    "vision": ("reference", "vision"),
    "connector": ("vision", "connector"),
    "comprehension": ("connector", "logistic"),
    "mapping": ("logistic", "answers"),
}
PARTS = {
    "total": ("reference", "answers"),
    "erased": ("connector", "image_mean"),
    "not_routed": ("image_mean", "last_token"),
    "not_used": ("last_token", "logistic"),
    "paper_mapping": ("last_token", "answers"),
}
STEPS = (0.03, 0.01, 0.02, 0.0, -0.01, 0.27)  # A lost between neighbouring places of the path


def full_content(
    *,
    classes: Sequence[str] = ("normal", "benign", "malignant"),
    layers: tuple[int, int] = (4, 6),
    reference: bool = True,
    readouts: Sequence[str] = ("linear", "paper"),
    **changes: Any,
) -> dict[str, Any]:
    """Return the record as it stands in the file; `layers` are those of the encoder and the decoder."""
    content = record_of(name="clinic/model", **changes)
    content["task"] |= {"classes": list(classes), "n_test": 150}
    levels = dict(zip(PATH, [0.9 - sum(STEPS[:i]) for i in range(len(PATH))], strict=True))
    content["diagnosis"] = diagnosis(levels, len(classes), reference=reference)
    content["probes"] = [one for readout in readouts for one in probes(readout, *layers)]
    content["permutation"] = {
        "draws": 200,
        "highest": 0.47,
        "vision_p": 0.005,
        "bands": {f"{p['site']}.{p['pool']}": [0.21, 0.33, 0.44] for p in content["probes"]},
    }
    content["health"] = health()
    content["floors"] = floors(len(classes), layers[0])
    content["answers"] |= answers(len(classes))
    content["answer_target"] = [
        {
            "site": f"llm.{k:02d}",
            "layer": k,
            "prompt": "letters",
            "accuracy": within(0.3 + 0.05 * k),
            "majority": 0.34,
        }
        for k in range(layers[1])
    ]
    content["similarity"] = {
        "sites": ["vision.03.mean", "connector.00.mean"],
        "images": 150,
        "cka": 0.8125,
        "cka_debiased": 0.7925,
        "knn_overlap": 0.61,
        "knn_chance": 0.07,
        "neighbours": 10,
        "connector_inert": None,
        "inert_margin": 0.03,
    }
    content["projection"] = {
        "dimension": 512,
        "seed": 0,
        "balanced_accuracies": {"vision.00.mean": 0.611},
        "largest_difference": -0.023,
        "largest_at": "vision.00.mean",
    }
    content["cost"]["seconds"] = {"load": 2.0, "answer": 5.5, "probe": 2.5, "total": 10.0}
    return content


def full_record(**options: Any) -> Record:
    """Return `full_content` checked."""
    return Record.model_validate(full_content(**options))


def within(value: float, half: float = 0.04, n: int = 150) -> dict[str, Any]:
    return {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half), "n": n}


def gap(levels: Mapping[str, float], ends: tuple[str, str], classes: int) -> dict[str, float]:
    value = levels[ends[0]] - levels[ends[1]]
    points = 100 * value * (1 - 1 / classes)
    return {"value": value, "low": value - 0.025, "high": value + 0.035, "p": 0.0321, "points": points + 0.4}


def diagnosis(levels: dict[str, float], classes: int, *, reference: bool) -> dict[str, Any]:
    if not reference:
        levels = {name: value for name, value in levels.items() if name != "reference"}
    drops = [
        gap(levels, ends, classes)
        | {
            "mode": mode,
            "p": 0.0004 if mode == "mapping" else 0.62,
            "probability_largest": 0.97 if mode == "mapping" else 0.01,
            "significant": mode == "mapping",
            "visible_gap": 0.071,
        }
        for mode, ends in ENDS.items()
        if set(ends) <= set(levels)
    ]
    return {
        "verdict": "mapping",
        "stages": ["mapping"],
        "details": ["label_permutation"],
        "drops": drops,
        "reference": "two small networks" if reference else None,
        "smallest_visible_gap": 0.071,
        "reason": "most draws agree",
        "sentences": ["It is lost at the answer.", "Relabel the answers."],
        "parts": {n: gap(levels, e, classes) for n, e in PARTS.items() if set(e) <= set(levels)},
        "levels": levels,
        "accuracies": {name: 100 * value for name, value in levels.items()},
        "probabilities": {"mapping": 0.96, "vision": 0.04},
        "healthy_probability": 0.002,
        "rule": "isotonic",
        "delta": 0.05,
    }


def probes(readout: str, encoder: int, decoder: int) -> list[dict[str, Any]]:
    sites = [("vision", k, "mean") for k in range(encoder)] + [("vision", encoder - 1, "regrouped")]
    sites += [("connector", 0, "mean")]
    sites += [("llm", k, pool) for k in range(decoder) for pool in ("mean", "last")]
    return [
        {
            "site": f"{module}.{layer:02d}",
            "module": module,
            "layer": layer,
            "pool": pool,
            "readout": readout,
            "seeds": [0],
            "consumed": module == "vision" and layer == encoder - 1,
            "accuracy": within(0.6 + 0.3 * place / len(sites)),
            "balanced_accuracy": within(0.58 + 0.3 * place / len(sites)),
            "auroc": within(0.8, 0.02),
            "permutation_p": 0.005 if readout == "linear" else None,
        }
        for place, (module, layer, pool) in enumerate(sites)
    ]


def health() -> dict[str, Any]:
    def part(fhs: float, pool: str) -> dict[str, Any]:
        interval = {"fhs": fhs, "low": fhs - 0.1, "high": fhs + 0.1, "fhs_noise": fhs - 0.05}
        shape = {"start": 0.6, "end": 0.9, "min": 0.55, "growth_factor": 0.3, "volatility_penalty": 0.9}
        return shape | interval | {"noise_limited": pool == "last", "pool": pool}

    profile = {
        "vision": part(1.234, "mean"),
        "connector": part(0.876, "mean"),
        "llm": part(-0.321, "last"),
        "llm_mean": part(0.765, "mean"),
        "final": 0.5,
        "profile": [1.234, 0.876, -0.321, 0.5],
    }
    return profile | {"readout": "linear", "by_readout": {"linear": profile}}


def floors(classes: int, encoder: int) -> dict[str, Any]:
    def floor(name: str, value: float, p: float | None) -> dict[str, Any]:
        accuracy = {"accuracy": within(value + 0.01), "balanced_accuracy": within(value)}
        return {"name": name, "detail": f"a {name}", "permutation_p": p} | accuracy

    return {
        "key": "k",
        "reference": floor("reference", 0.93, 0.001),
        "pixels": floor("pixels", 0.52, 0.004),
        "majority": floor("majority", 1 / classes, None),
        "blank": {
            "predicted": 1,
            "probabilities": [0.125 / (classes - 1)] * 1 + [0.875] + [0.125 / (classes - 1)] * (classes - 2),
            "accuracy": within(0.31),
        },
        "blank_detail": "a grey picture",
        "random_vision": [
            {"site": f"vision.{k:02d}", "balanced_accuracy": within(0.41)} for k in range(encoder)
        ],
        "random_vision_detail": "weights drawn anew",
    }


def answers(classes: int) -> dict[str, Any]:
    return {
        "prompt_accuracies": {"free": within(0.7), "paraphrase": within(0.66), "letters": within(0.55)},
        "prompt_spread": 0.15,
        "prompt_spread_interval": within(0.15),
        "order_accuracies": {
            "letters/0-1-2": within(0.61),
            "letters/2-1-0": within(0.49),
            "letters/right at A": within(0.72),
        },
        "order_consistency": within(0.63),
        "confusion": [
            [31 + row if row == column else row + 2 * column for column in range(classes + 1)]
            for row in range(classes)
        ],
        "label_prior": [1 / classes] * classes,
        "mapped": {"plain": within(0.7), "logistic": within(0.88)},
        "relabelling": [1, 0, *range(2, classes)],
        "relabelling_p": 0.0001,
        "reliability": [
            {"confidence": 0.55, "accuracy": 0.4, "count": 30},
            {"confidence": 0.9, "accuracy": 0.8, "count": 120},
        ],
        "auroc": within(0.9, 0.02),
        "ece": within(0.12, 0.02),
    }
