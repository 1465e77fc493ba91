"""Whatever is done to a result, it is refused in one line that names the field, or gives the very same scores."""

from __future__ import annotations

import io
import json
import math
import shutil
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cli import main
from tests.leaderboard.made_submission import made_board, made_result
from tests.leaderboard.verify.mutations import FILES, MUTATIONS, Mutation

EACH = 6  # examples of each mutation, most of them with others on top
FIELDS = (*FILES, "entry.json")


@dataclass(frozen=True)
class Said:
    """What the command line said."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mutated")
    made_result(folder / "result")
    made_board(folder / "board")
    return folder


def said(*arguments: str) -> Said:
    """Run the command line in this process; a warning would be a line on stderr, and so is an error here."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
    return Said(int(left.value.code or 0), out.getvalue(), err.getvalue())


def content_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def values(content: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value with its place, as `declared` names places: without the numbers of a list."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from values(value, f"{place}.{key}" if place else key)
    elif isinstance(content, list):
        for value in content:
            yield from values(value, place)
    else:
        yield place, content


def is_declared(place: str, declared: list[str]) -> bool:
    """Tell whether a place is among the declared parts; those of the floors leave out which floor it is."""
    plain = place.replace("floors.reference.", "floors.").replace("floors.pixels.", "floors.")
    plain = plain.replace("floors.majority.", "floors.")
    return any(f"{plain}.".startswith(f"{name}.") for name in declared)


def scores_of(record: Path, declared: list[str]) -> list[tuple[str, Any]]:
    """Return every value of a record that is not declared."""
    found = values(json.loads(record.read_text(encoding="utf-8")))
    return [(place, value) for place, value in found if not is_declared(place, declared)]


def assert_same(found: list[tuple[str, Any]], right: list[tuple[str, Any]]) -> None:
    assert [place for place, _ in found] == [place for place, _ in right]
    for (place, one), (_, other) in zip(found, right, strict=True):
        if isinstance(one, float) and isinstance(other, float):
            assert math.isclose(one, other, rel_tol=5e-4, abs_tol=5e-4), place
        else:
            assert one == other, place


def assert_one_line(said: Said) -> None:
    """The refusal is one printable line of moderate length that names a file, and no bug."""
    assert said.code == 1, said
    assert said.out == ""
    assert said.err.endswith("\n")
    line = said.err[:-1]
    assert line.isprintable(), ascii(line)
    assert any(name in line for name in FIELDS), line
    assert "Traceback" not in line
    assert "this is a bug" not in line, line
    assert "--debug" not in line, line
    assert len(line.replace(str(Path(line.split(": ")[1]).parent), "")) < 500, line


def mutated(place: Path, folder: Path, chosen: list[tuple[Mutation, int]]) -> Path:
    result = folder / "result"
    shutil.copytree(place / "result", result)
    for mutate, seed in chosen:
        mutate(Random(seed), result)
    return result


NUMBERS = st.integers(0, 2**32 - 1)
MORE = st.lists(st.tuples(st.sampled_from(sorted(MUTATIONS)), NUMBERS), max_size=2)


@pytest.mark.parametrize("name", sorted(MUTATIONS))
@settings(max_examples=EACH, deadline=None)
@given(seed=NUMBERS, more=MORE)
def test_a_mutated_result_is_refused_in_one_line_or_gives_the_same_scores(
    place: Path, name: str, seed: int, more: list[tuple[str, int]]
) -> None:
    board = place / "board"
    before = content_of(board)
    chosen = [(MUTATIONS[name], seed), *((MUTATIONS[other], number) for other, number in more)]
    with TemporaryDirectory(prefix="m", dir=place) as folder:
        result = mutated(place, Path(folder), chosen)
        answer = said("submit", str(result), "--board", str(board))
        if answer.code:
            assert_one_line(answer)
            assert content_of(board) == before
            return
    entry = Path(answer.out.strip())
    try:
        assert answer.err == ""
        assert entry.parent.parent == board / "entries"
        declared = json.loads((entry / "entry.json").read_text(encoding="utf-8"))["declared"]
        assert_same(scores_of(entry / "record.json", declared), original(place, tuple(declared)))
    finally:
        shutil.rmtree(entry.parent)


@cache
def original(place: Path, declared: tuple[str, ...]) -> list[tuple[str, Any]]:
    return scores_of(place / "result" / "record.json", list(declared))
