"""The walk in CONTRIBUTING.md: its functions exist, and a run calls them in the order in which they stand there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import FrameType

from harness.cli.eval import eval_command
from tests.harness.conftest import RUN, read_json, result

ROOT = Path(__file__).resolve().parents[3]
STEP = re.compile(r"^(?P<number>\d+)\. `(?P<file>\S+\.py)` `(?P<function>[\w.]+)`", re.MULTILINE)


def walk() -> list[tuple[str, str]]:
    """Return the files and functions of the walk, in the order in which they stand."""
    _, _, text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("### The walk")
    steps = list(STEP.finditer(text))
    assert [int(step["number"]) for step in steps] == list(range(1, 11))
    return [(step["file"], step["function"]) for step in steps]


def test_a_run_calls_the_functions_of_the_walk_in_its_order(tmp_path: Path) -> None:
    written = walk()
    called: dict[tuple[str, str], None] = {}  # by their first call

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(ROOT)):
            called.setdefault((str(Path(code.co_filename).relative_to(ROOT)), code.co_qualname))

    arguments = [*RUN, "--device", "cpu", "--limit", "4", "--no-probe", "--output", str(tmp_path)]
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        assert eval_command.main(arguments, standalone_mode=False) == 0
    finally:
        sys.setprofile(before)
    assert [step for step in called if step in written] == written
    assert read_json(result(tmp_path) / "record.json")["answers"]["accuracy"]["n"] == 4
