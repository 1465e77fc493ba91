"""The house stays in order: folders and files of a size to take in, one name for one class, a true floor plan.

Which room may import which stands in pyproject.toml; `make lint` holds it.
"""

from __future__ import annotations

import ast
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("tasks", "model_adapters", "probes", "leaderboard", "harness")
ENTRIES = 12  # of Python in a folder
LINES = 600
GUIDE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "```text\n", "```\n"

pytestmark = pytest.mark.skipif(not GUIDE.is_file(), reason="the tests lie alone")


def folders(*tops: str) -> Iterator[Path]:
    """Yield every folder that holds Python, the deepest last."""
    for top in tops:
        yield from sorted({file.parent for file in (ROOT / top).rglob("*.py")})


def entries(folder: Path) -> list[Path]:
    """Return the files and folders of Python in a folder, in order; without what Python looks for by name.

    Among tests, what they are made with is not counted either.
    """
    inside = [path for path in folder.iterdir() if not path.name.startswith("__")]
    if folder.is_relative_to(ROOT / "tests"):
        inside = [path for path in inside if path.is_dir() or path.name.startswith("test_")]
    return sorted(
        path
        for path in inside
        if path.suffix == ".py" or (path.is_dir() and next(path.rglob("*.py"), None) is not None)
    )


def test_folders_can_be_taken_in_at_a_glance():
    found = {folder: len(entries(folder)) for folder in folders(*ROOMS, "tools", "tests")}
    assert {str(folder): count for folder, count in found.items() if count > ENTRIES} == {}


def test_files_have_one_subject():
    files = (file for top in (*ROOMS, "tools", "tests") for file in (ROOT / top).rglob("*.py"))
    lengths = {str(file): len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert {file: length for file, length in lengths.items() if length > LINES} == {}


@pytest.mark.parametrize("room", ROOMS)
def test_a_class_has_a_name_of_its_own_in_its_room(room):
    places: dict[str, list[str]] = defaultdict(list)
    for file in sorted((ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_the_contributors_guide_has_the_floor_plan_that_is():
    text = GUIDE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    written, after = rest.split(END, 1)
    if os.environ.get("HARNESS_WRITE_DOCS") == "1":
        GUIDE.write_text(f"{before}{BEGIN}{floor_plan()}{END}{after}", encoding="utf-8")
        return
    assert written == floor_plan(), "rewrite it with: HARNESS_WRITE_DOCS=1 pytest tests/test_house.py"


def floor_plan() -> str:
    """Return a line for each room and what stands in it: its name, and the first line that it says of itself."""
    lines: list[str] = []
    for room in ROOMS:
        lines += ["", f"{room}/"]
        for path in entries(ROOT / room):
            module = path / "__init__.py" if path.is_dir() else path
            title = (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").split("\n")[0]
            lines.append(f"  {path.name + '/' * path.is_dir():<18}{title}")
    return "\n".join(lines[1:]) + "\n"
