"""Tables of what was simulated: verdicts and stages by today's rule and by what the loci carry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tools.worlds.judging import cases, judge

SIZES: dict[int, dict[str, int]] = {
    546: {"train": 546, "val": 100, "test": 600},
    2000: {"train": 2000, "val": 250, "test": 600},
}
_BEHIND = "nuisance in the decoder"  # a connector that only turns, and a decoder that adds nuisance
_RIGHT = {"connector": "connector", "decoder": "comprehension"}


def tables(rows: Mapping[str, Any]) -> str:
    """Return every table for which there are rows."""
    parts = [_feature_tables(judged(rows)), _reference_table(rows), _level_table(rows)]
    return "\n\n".join(part for part in parts if part)


def judged(rows: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Judge every case of every feature world whose fits are there."""
    found = []
    for key, whole in rows.items():
        world, *rest = key.split("/")
        if world != "features" or rest[2] != "whole":
            continue
        train, name, _, number = rest
        lossy = rows.get(f"features/{train}/{name}/lossy/{number}")
        if lossy is None:
            continue
        found += _cases(name, whole, lossy, whole, SIZES[int(train)])
        turned = [rows.get(f"features/{train}/rotation/{kind}/{number}") for kind in ("whole", "lossy")]
        if name == "nuisance 1" and None not in turned:
            found += _cases(_BEHIND, turned[0], turned[1], whole, SIZES[int(train)])
    return found


def _cases(name: str, whole: Any, lossy: Any, behind: Any, sizes: dict[str, int]) -> Iterable[dict[str, Any]]:
    for case in cases():
        yield {"map": name, "kind": whole["connector"]["kind"], **judge(case, whole, lossy, behind, sizes)}


def _feature_tables(found: Sequence[dict[str, Any]]) -> str:
    if not found:
        return ""
    return "\n\n".join([_nothing_lost(found), _losses(found), _read_and_carried(found)])


def _nothing_lost(found: Sequence[dict[str, Any]]) -> str:
    """One line a world: blamed is connector, comprehension or mapping, named and in stages."""
    lines = [
        "| nothing lost: map | train | test | answers | worlds | blamed before | blamed | in stages before | "
        "in stages | comprehension | healthy |",
        "|" + " --- |" * 11,
    ]
    rows = [row for row in found if row["truth"] == "nothing lost"]
    keys = ("map", "train", "images", "weak")
    for key, part in _grouped(rows, keys, totals=("images", "weak")):
        behind = {"connector"} if key[3] else {"connector", "comprehension", "mapping"}
        named = [_share(row[rule]["verdict"] in behind for row in part) for rule in ("before", "after")]
        staged = [_share(behind & set(row[rule]["stages"]) for row in part) for rule in ("before", "after")]
        kinds = [
            _share(row["after"]["verdict"] == kind for row in part) for kind in ("comprehension", "healthy")
        ]
        answers = "weak" if key[3] else "good"
        lines.append(_line(*key[:3], answers, len(part), *named, *staged, *kinds))
    return "\n".join(lines)


def _losses(found: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| lost .20: where | map | train | test | worlds | right before | right | wrong before | wrong |",
        "|" + " --- |" * 9,
    ]
    rows = [row for row in found if row["truth"] != "nothing lost"]
    for key, part in _grouped(rows, ("truth", "map", "train", "images"), totals=("truth", "images")):
        right = _RIGHT.get(key[0], "")
        hits = [_share(row[rule]["verdict"] == right for row in part) for rule in ("before", "after")]
        wrong = [
            _share(row[rule]["verdict"] not in (right, "undetermined") for row in part)
            for rule in ("before", "after")
        ]
        lines.append(_line(*key, len(part), *hits, *wrong))
    return "\n".join(lines)


def _read_and_carried(found: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| map | train | A(v) | A_read(c) | A_carried(c) | the same with .20 lost | hard to read |",
        "|" + " --- |" * 7,
    ]
    good = [row for row in found if row["images"] == 600 and not row["weak"] and row["map"] != _BEHIND]
    for key, part in _grouped(good, ("map", "train"), totals=()):
        kept = [row for row in part if row["truth"] == "nothing lost"]
        lost = [row for row in part if row["truth"] == "connector"]
        values = [
            np.mean([row["carried"]["vision"] for row in kept]),
            np.mean([row["read"]["connector"] for row in kept]),
            np.mean([row["carried"]["connector"] for row in kept]),
            np.mean([row["carried"]["connector"] for row in lost]),
        ]
        hard = _share("connector" in row["hard_to_read"] for row in kept)
        lines.append(_line(*key, *(f"{value:.3f}" for value in values), hard))
    return "\n".join(lines)


def _reference_table(rows: Mapping[str, Any]) -> str:
    found = _by_condition(rows, "reference")
    if not found:
        return ""
    lines = [
        "| test images, connector loss, R | draws | connector before | connector | wrong before | wrong | "
        "healthy before | healthy |",
        "|" + " --- |" * 8,
    ]
    for name, part in found.items():
        right = "connector" if "loses .20" in name else "healthy"
        cells = (
            [_share(row[rule] == "connector" for row in part) for rule in ("before", "after")]
            + [
                _share(row[rule] not in (right, "undetermined") for row in part)
                for rule in ("before", "after")
            ]
            + [_share(row[rule] == "healthy" for row in part) for rule in ("before", "after")]
        )
        lines.append(_line(name, len(part), *cells))
    return "\n".join(lines)


def _level_table(rows: Mapping[str, Any]) -> str:
    found = _by_condition(rows, "level")
    if not found:
        return ""
    lines = [
        "| groups | draws | false stage before | false stage | covered before | covered |",
        "|" + " --- |" * 6,
    ]
    for name, part in found.items():
        cells = [_share(row[field] for row in part) for field in ("false_before", "false")]
        covered = [
            f"{np.mean([np.mean(row[field]) for row in part]):.1%}" for field in ("covered_before", "covered")
        ]
        lines.append(_line(name, len(part), *cells, *covered))
    return "\n".join(lines)


def _by_condition(rows: Mapping[str, Any], world: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for key, row in rows.items():
        kind, name, *_ = key.split("/")
        if kind == world:
            found[name].append(row)
    return dict(found)


def _grouped(
    rows: Sequence[dict[str, Any]], keys: tuple[str, ...], *, totals: tuple[str, ...]
) -> Iterable[tuple[tuple[Any, ...], list[dict[str, Any]]]]:
    """Yield the rows by their values of `keys`, then all together by those of `totals`."""
    parts: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        parts[tuple(row[key] for key in keys)].append(row)
        if totals:
            parts[tuple(row[key] if key in totals else "all" for key in keys)].append(row)
    yield from sorted(parts.items(), key=lambda item: ("all" in item[0], tuple(map(str, item[0]))))


def _share(hits: Iterable[Any]) -> str:
    return f"{np.mean([bool(hit) for hit in hits]):.1%}"


def _line(*cells: Any) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"
