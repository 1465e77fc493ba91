"""A record whose every string can be shown on a page; see `leaderboard.page.plain`."""

from __future__ import annotations

from typing import Any

from leaderboard.page.plain import plain as plain
from leaderboard.record.record import Record

NAME, TEXT = 120, 2_000  # letters that are shown of a name, and of anything else

_NAMES = frozenset(
    {
        "name",
        "hub_id",
        "revision",
        "architecture",
        "engine",
        "dtype",
        "classes",
        "site",
        "sites",
        "prompt",
        "base",
    }
    | {"readout", "details", "rule", "harness_version", "python", "git", "device", "family", "watched_by"}
)


def plain_record(record: Record) -> Record:
    """Return the record with every string made plain, keys of dictionaries included."""
    return Record.model_validate(
        _plain(record.model_dump(exclude={"configuration"}), TEXT) | {"configuration": {}}
    )


def _plain(value: Any, most: int) -> Any:
    if isinstance(value, str):
        return plain(value, most)
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for key, held in value.items():
            found[_free(plain(key, NAME), found)] = _plain(held, NAME if key in _NAMES else TEXT)
        return found
    if isinstance(value, list | tuple):
        return tuple(_plain(one, most) for one in value)
    return value


def _free(key: str, taken: dict[str, Any]) -> str:
    """Return a key that is not taken, since two long ones may look alike when cut."""
    number, free = 1, key
    while free in taken:
        number += 1
        free = f"{key} [{number}]"
    return free
