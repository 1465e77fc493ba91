"""Ways to change a parsed JSON value, each seeded: numbers, words, keys, types, order and depth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

Container = dict[str, Any] | list[Any]

LONG = "A" * 10_000_000
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "../../../../etc/passwd",
    "/etc/passwd",
    "C:\\Windows\\nul",
    "..",
    ".",
    "",
    "a\nb",
    "a\x00b",
    "\x1b[31mred\x1b[0m",
    "\u202etxt.exe",
    "con",
    "a--b",
    "a" * 300,
    "\U0001f600" * 50,
    "{{ 7 * 7 }}",
    "%s%n{0}",
    "-rf",
    "A/../B",
    "a//b",
    "a/",
)
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    0.5,
    -0.5,
    1.5,
    1e-300,
    1e308,
    2**31,
    2**63,
    10**30,
    "",
    "0.5",
    "complete",
    [],
    {},
    [[]],
    [1, 2, 3],
    {"a": 1},
    *HOSTILE[:12],
)
TOKENS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "01",
    "0x10",
    "1" * 5000,
    '"\\ud800"',
    "nul",
    "{",
    "'a'",
)


def leaves(content: Any) -> Iterator[tuple[Container, Any]]:
    """Yield where every value stands that holds no other: its container, and its key there."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in items:
        if isinstance(value, dict | list) and value:
            yield from leaves(value)
        else:
            yield content, key


def containers(content: Any) -> Iterator[Container]:
    if isinstance(content, dict | list):
        yield content
        for value in content.values() if isinstance(content, dict) else content:
            yield from containers(value)


def _leaf(rng: Random, content: Any, kind: type | tuple[type, ...] = object) -> tuple[Any, Any]:
    """Choose a value of a kind, every branch of the top level as likely as any other."""
    tops = list(content) if isinstance(content, dict) else list(range(len(content)))
    rng.shuffle(tops)
    for top in tops:
        below = content[top]
        found = list(leaves(below)) if isinstance(below, dict | list) and below else [(content, top)]
        found = [(container, key) for container, key in found if isinstance(container[key], kind)]
        if found:
            return rng.choice(found)
    return content, tops[0]


def edit_value(rng: Random, content: Any) -> None:
    container, key = _leaf(rng, content)
    container[key] = rng.choice(ODD)


def nudge(rng: Random, content: Any) -> None:
    container, key = _leaf(rng, content, (int, float))
    value = container[key]
    if isinstance(value, bool | int):
        container[key] = rng.choice(
            [value + 1, value - 1, -value - 1, 1 - value, float(value), value + 10**6]
        )
    elif isinstance(value, float):
        container[key] = rng.choice(
            [value + 0.01, value - 0.01, -value - 0.001, 1.1 * value + 0.001, value + 1e-3]
        )


def retype(rng: Random, content: Any) -> None:
    container, key = _leaf(rng, content, (int, float, bool))
    value = container[key]
    container[key] = rng.choice(
        [str(value), bool(value) if not isinstance(value, bool) else int(value), [value]]
    )


def hostile_string(rng: Random, content: Any) -> None:
    container, key = _leaf(rng, content, str)
    container[key] = rng.choice(HOSTILE)


def long_string(rng: Random, content: Any) -> None:
    container, key = _leaf(rng, content, str)
    container[key] = LONG


def huge_number(rng: Random, content: Any) -> None:
    container, key = _leaf(rng, content, (int, float))
    container[key] = rng.choice([2**63, -(2**63), 10**25, 10**400, 1.7e308, -1.7e308, 5e-324])


def delete_key(rng: Random, content: Any) -> None:
    chosen = rng.choice([c for c in containers(content) if c])
    if isinstance(chosen, dict):
        del chosen[rng.choice(list(chosen))]
    else:
        del chosen[rng.randrange(len(chosen))]


def add_key(rng: Random, content: Any) -> None:
    chosen = rng.choice(list(containers(content)))
    if isinstance(chosen, dict):
        chosen[rng.choice([*HOSTILE, "extra", "schema_version", "__proto__", "p"])] = rng.choice(ODD)
    else:
        chosen.insert(rng.randrange(len(chosen) + 1), rng.choice([*chosen, *ODD]))


def rename_key(rng: Random, content: Any) -> None:
    chosen = rng.choice([c for c in containers(content) if isinstance(c, dict) and c])
    chosen[rng.choice([*HOSTILE, "renamed"])] = chosen.pop(rng.choice(list(chosen)))


def swap(rng: Random, content: Any) -> None:
    lists = [c for c in containers(content) if isinstance(c, list) and len(c) > 1]
    if lists:
        chosen = rng.choice(lists)
        one, other = rng.sample(range(len(chosen)), 2)
        chosen[one], chosen[other] = chosen[other], chosen[one]


def deepen(rng: Random, content: Any) -> None:
    container, key = _leaf(rng, content)
    deep: Any = 1
    for _ in range(rng.choice([30, 60, 150])):
        deep = [deep] if rng.random() < 0.5 else {"a": deep}
    container[key] = deep


EDITS: tuple[Callable[[Random, Any], None], ...] = (
    edit_value,
    nudge,
    retype,
    hostile_string,
    long_string,
    huge_number,
    delete_key,
    add_key,
    rename_key,
    swap,
    deepen,
)
