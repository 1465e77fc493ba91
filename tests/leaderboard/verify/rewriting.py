"""Change one thing in a result folder, as whoever hands in a wrong one would."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leaderboard.board.folder import BoardFolder
from leaderboard.record.record import RecordError
from leaderboard.verify.submit import submit

Content = dict[str, Any]
Change = Callable[[Path], None]


def read_content(folder: Path) -> Content:
    content: Content = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    return content


def read_rows(folder: Path, name: str) -> list[Content]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def write_rows(folder: Path, name: str, rows: list[Content]) -> None:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def in_record(place: str, value: Any) -> Change:
    """Put a value at a dotted place of the record; numbers are places of lists."""

    def change(folder: Path) -> None:
        content = read_content(folder)
        inner: Any = content
        *way, last = [int(key) if key.isdigit() else key for key in place.split(".")]
        for key in way:
            inner = inner[key]
        inner[last] = value
        (folder / "record.json").write_text(json.dumps(content), encoding="utf-8")

    return change


def in_rows(name: str, change_rows: Callable[[list[Content]], Any]) -> Change:
    """Change the lines of a file in place, or return others."""

    def change(folder: Path) -> None:
        rows = read_rows(folder, name)
        found = change_rows(rows)
        write_rows(folder, name, rows if found is None else found)

    return change


def in_tests(**values: Any) -> Change:
    """Give every test line these values."""

    def change(rows: list[Content]) -> None:
        for row in rows:
            if row["split"] == "test":
                row.update(values)

    return in_rows("samples", change)


def together(*changes: Change) -> Change:
    def change(folder: Path) -> None:
        for one in changes:
            one(folder)

    return change


def drop(name: str, **like: Any) -> Change:
    return in_rows(
        name, lambda rows: [r for r in rows if any(r[key] != value for key, value in like.items())]
    )


def each(name: str, change: Callable[[Content], Any], **like: Any) -> Change:
    def rows(found: list[Content]) -> None:
        for row in found:
            if all(row[key] == value for key, value in like.items()):
                change(row)

    return in_rows(name, rows)


def row(name: str, place: int, **values: Any) -> Change:
    return in_rows(name, lambda rows: rows[place].update(values))


def cut(name: str, share: float) -> Change:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])

    return change


def replaced(name: str, old: str, new: str) -> Change:
    def change(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def extra(rows: list[Content]) -> None:
    rows.append({**rows[-1], "id": "test/77777"})


def refusal(folder: Path, board: BoardFolder, **options: Any) -> str:
    """Submit and return what is said against it; "" where it is taken."""
    try:
        submit(folder, board, **options)
    except RecordError as error:
        return str(error)
    return ""
