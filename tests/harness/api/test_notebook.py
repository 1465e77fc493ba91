"""README's example, cell by cell in a notebook kernel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def readme_cells() -> list[str]:
    """Return the cells of README's example for Python."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## From Python\n")[1]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1].strip().split("\n\n")


def test_the_example_of_the_readme_runs_in_a_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("pandas")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):  # what a kernel writes
        monkeypatch.setenv(variable, str(tmp_path / variable))
    cells = [nbformat.v4.new_code_cell(cell) for cell in readme_cells()]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    shown = [
        output["data"]
        for cell in notebook.cells
        for output in cell.outputs
        if output["output_type"] == "execute_result"
    ]
    tables = [data["text/html"] for data in shown if "text/html" in data]
    assert "<td>zoo/llava-healthy</td>" in tables[0]
    assert "accuracy_low" in tables[1]  # of pandas
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
