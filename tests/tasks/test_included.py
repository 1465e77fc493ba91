"""Tasks of other folders: found by name and glob beside the shipped ones, never in their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks import catalog
from tasks.included import included_tasks
from tasks.spec import TaskError


@pytest.fixture
def folder(tmp_path: Path, lumps: str) -> Path:
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "lumps.yaml").write_text(lumps, encoding="utf-8")
    (folder / "bumps.yml").write_text("extends: lumps.yaml\nid: bumps\n", encoding="utf-8")
    (folder / "_base.yaml").write_text("title: shared\n", encoding="utf-8")
    (folder / "notes.txt").write_text("no task", encoding="utf-8")
    return folder


def test_included_tasks_are_found_by_name_and_glob(folder: Path) -> None:
    included = included_tasks([folder])
    assert catalog.names(included) == tuple(sorted((*catalog.shipped_names(), "bumps", "lumps")))
    assert catalog.expand(["?umps", "phantom"], included) == (
        *(str(folder / "bumps.yml"), str(folder / "lumps.yaml")),
        "phantom",
    )
    assert [catalog.load(name).id for name in catalog.expand(["lumps"], included)] == ["lumps"]
    assert catalog.load("bumps", included).title == "Lumps"
    assert catalog.task_files("bumps", included) == (folder / "bumps.yml",)
    assert "lumps" not in catalog.names()
    with pytest.raises(TaskError, match="did you mean `lumps`"):
        catalog.load("lump", included)


def test_the_same_folder_twice_is_no_clash(folder: Path) -> None:
    assert included_tasks([folder, folder / ".." / folder.name]).problems == ()


def test_two_tasks_of_one_name_are_refused(folder: Path, tmp_path: Path, lumps: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "lumps.yaml").write_text(lumps, encoding="utf-8")
    with pytest.raises(TaskError, match=r"other/lumps.yaml: has the name of the task .*more/lumps.yaml"):
        included_tasks([folder, other])
    (folder / "lumps.yml").write_text(lumps, encoding="utf-8")
    with pytest.raises(TaskError, match=r"lumps.yml: has the name of the task .*lumps.yaml"):
        included_tasks([folder])
    (other / "lumps.yaml").rename(other / "busi.yaml")
    with pytest.raises(TaskError, match=r"busi.yaml: has the name of the task .*tasks/busi.yaml"):
        included_tasks([other])


@pytest.mark.parametrize(("name", "message"), [("nowhere", "no such folder"), ("empty", "no task YAML")])
def test_a_folder_without_tasks_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TaskError, match=message):
        included_tasks([tmp_path / name])
