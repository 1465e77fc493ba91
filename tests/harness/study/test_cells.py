"""The cells of a study: which there are, which are holes, and why."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.plan.options import EvalOptions
from harness.study.cells import make_cells
from harness.study.document import StudyError, load_study
from tests.harness.study.small import MODEL, study_yaml

OPTIONS = EvalOptions(offline=True)


def test_references_come_first_and_are_never_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = study_yaml(tmp_path, references=["reference/regnet"])
    cells = make_cells(load_study(path), OPTIONS)
    assert [(c.model, c.condition, c.reference) for c in cells] == [
        ("reference/regnet", "released", True),
        (MODEL, "released", False),
        (MODEL, "lora", False),
    ]
    assert {cell.state for cell in cells} == {"waiting"}


def test_what_stands_for_nothing_is_a_hole_of_every_cell_it_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = study_yaml(tmp_path, tasks=["small.yaml", "no-such-task"], models=[MODEL, "no-such-model"])
    cells = {cell.key: cell for cell in make_cells(load_study(path), OPTIONS)}
    assert len(cells) == 8
    holes = {key for key, cell in cells.items() if cell.state == "hole"}
    assert holes == {key for key in cells if "no-such-task" in key or "no-such-model" in key}
    assert all(cells[key].named and cells[key].reason for key in holes)


def test_a_model_of_a_group_that_cannot_run_is_a_hole_that_nobody_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = make_cells(load_study(study_yaml(tmp_path, models=["paper"])), OPTIONS)
    assert len(cells) == 28
    assert not any(cell.named for cell in cells)
    assert all("local cache" in (cell.reason or "") for cell in cells)


def test_a_classifier_among_the_models_is_a_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = make_cells(load_study(study_yaml(tmp_path, models=["reference/regnet"])), OPTIONS)
    assert [(c.model, c.condition, c.reference) for c in cells] == [("reference/regnet", "released", True)]


def test_a_model_behind_a_server_cannot_be_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    card = {
        "name": "served",
        "engine": "openai",
        "endpoint": {"base_url": "http://127.0.0.1:1/v1", "model": "m"},
    }
    (tmp_path / "served.yaml").write_text(yaml.safe_dump(card))
    released, tuned = make_cells(load_study(study_yaml(tmp_path, models=["served.yaml"])), EvalOptions())
    assert released.state == "waiting"
    assert (tuned.state, tuned.reason) == ("hole", "has no weights here that could be fine-tuned")


def test_two_models_of_one_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/b", "a--b"):
        card = {"name": name, "path": str(tmp_path)}
        (tmp_path / f"{name.replace('/', '_')}.yaml").write_text(yaml.safe_dump(card))
    path = study_yaml(tmp_path, models=["a_b.yaml", "a--b.yaml"])
    with pytest.raises(StudyError, match="would both write to"):
        make_cells(load_study(path), OPTIONS)
