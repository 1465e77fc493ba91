"""`harness tasks list, show, validate`, as a user and a script see them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli.tasks import tasks
from tasks import catalog
from tasks.spec import TaskError


def run(*arguments: str) -> Result:
    return CliRunner().invoke(tasks, list(arguments))


def test_list_has_a_line_a_task() -> None:
    result = run("list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()[1:]] == list(catalog.shipped_names())
    line = next(line for line in result.output.splitlines() if line.startswith("pathmnist "))
    for cell in ("pathology", "  9  ", "89,996 / 10,004 / 7,180", "CC-BY-4.0", "download 205.6 MB"):
        assert cell in line


def test_list_for_machines() -> None:
    entries = {entry["id"]: entry for entry in json.loads(run("list", "--json").output)}
    assert entries["chest_xray"]["images"] == {"train": 5232, "test": 624}
    assert entries["covid19_ct"]["redistribute_pixels"] is False
    assert {entry["data"] for entry in entries.values()} == {"generated", "download", "to be obtained"}


def test_show_tells_what_is_asked() -> None:
    output = run("show", "busi").output
    for part in (
        "malignant",
        "(label, primary)",
        "{classes}",
        "{options}",
        "546 / 78 / 156",
        "Data in Brief",
    ):
        assert part in output
    assert json.loads(run("show", "busi", "--json").output)["primary_prompt"] == "free"
    assert isinstance(run("show", "bussi").exception, TaskError)


def test_validate_names_every_problem_and_exits_1(tmp_path: Path, lumps: str) -> None:
    good, bad = tmp_path / "lumps.yaml", tmp_path / "bumps.yaml"
    good.write_text(lumps)
    bad.write_text(
        lumps.replace("id: lumps", "id: bumps").replace("title", "titel").replace("md5: 0", "md5: x")
    )
    result = run("validate", str(tmp_path))
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        f"{bad}:2: titel: unknown key; did you mean `title`?",
        f"{bad}:22: source.md5: `x123456789abcdef0123456789abcdef`: must be 32 lower-case hexadecimal digits",
        "2 files checked, 2 problems found",
    ]
    assert run("validate", str(good)).exit_code == 0
    report = json.loads(run("validate", "--json", str(tmp_path)).output)
    assert report["checked"] == 2
    assert report["problems"][0] == {
        "file": str(bad),
        "line": 2,
        "key": "titel",
        "message": "unknown key; did you mean `title`?",
    }


def test_validate_reports_a_problem_of_a_shared_base_once(tmp_path: Path, lumps: str) -> None:
    (tmp_path / "_shared.yaml").write_text(
        lumps.replace("id: lumps\n", "").replace("version: 1", "version: x")
    )
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(f"extends: _shared.yaml\nid: {name}\n")
    lines = run("validate", str(tmp_path)).output.splitlines()
    assert lines == [
        f"{tmp_path}/_shared.yaml:2: version: must be a whole number",
        "3 files checked, 1 problem found",
    ]


def test_validate_without_arguments_checks_everything_shipped() -> None:
    result = run("validate")
    assert result.exit_code == 0
    shipped = len(list(catalog.SHIPPED.glob("*.yaml")))
    assert result.output == f"{shipped} files checked, 0 problems found\n"


@pytest.mark.parametrize("given", ["nosuch", "zz*", "no/such.yaml"])
def test_validate_of_nothing_is_a_problem(given: str) -> None:
    result = run("validate", given, "phantom")
    assert result.exit_code == 1
    assert result.output.startswith(f"{given}: ")


def test_listing_imports_no_heavy_library() -> None:
    code = (
        "import sys\nfrom harness.cli.tasks import tasks\ntasks(['list'], standalone_mode=False)\n"
        "heavy = {'torch', 'numpy', 'transformers', 'PIL', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    root = Path(catalog.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
