"""Tasks are found by name, glob and path, and share parts through `extends`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks import catalog
from tasks.spec import TaskError, TaskSpec

Report = Callable[..., list[str]]


def test_extends_merges_mappings_and_replaces_lists(tmp_path: Path, lumps: str) -> None:
    (tmp_path / "_shared.yaml").write_text(lumps.replace("id: lumps\n", ""))
    path = tmp_path / "bumps.yaml"
    path.write_text(
        "extends: _shared.yaml\nid: bumps\nclasses:\n"
        "  - {name: yes_bump, wording: a bump}\n  - {name: no_bump, wording: no bump}\n"
        "source: {splits: {test: {images: other_images}}}\n"
    )
    task = catalog.load(path)
    assert [c.name for c in task.classes] == ["yes_bump", "no_bump"]
    splits = task.source.splits
    assert splits["test"].model_dump(exclude_none=True) == {"images": "other_images", "labels": "test_labels"}
    assert splits["train"].images == "train_images"
    assert task.title == "Lumps"


def test_of_several_bases_the_last_wins_and_the_file_wins_over_all(tmp_path: Path, lumps: str) -> None:
    (tmp_path / "_one.yaml").write_text(lumps)
    (tmp_path / "_two.yaml").write_text("title: Two\nseed: 2\nmax_train: 2\n")
    path = tmp_path / "bumps.yaml"
    path.write_text("extends: [_one.yaml, _two.yaml]\nid: bumps\nmax_train: 3\n")
    task = catalog.load(path)
    assert (task.title, task.seed, task.max_train) == ("Two", 2, 3)


def test_a_file_may_extend_a_shipped_task_by_name(tmp_path: Path) -> None:
    path = tmp_path / "my-phantom.yaml"
    path.write_text("extends: phantom\nid: my-phantom\nseed: 7\n")
    own, shipped = catalog.load(path), catalog.load("phantom")
    assert own.model_dump(exclude={"id", "seed"}) == shipped.model_dump(exclude={"id", "seed"})
    assert own.seed == 7


def test_a_problem_in_a_base_names_the_base(tmp_path: Path, problems: Report, lumps: str) -> None:
    (tmp_path / "_shared.yaml").write_text(lumps.replace("wording: hard lump", "wordng: hard lump"))
    assert problems("extends: _shared.yaml\nid: bumps\nversion: x\n", "bumps.yaml") == [
        "_shared.yaml:9: classes[2].wordng: unknown key; did you mean `wording`?",
        "bumps.yaml:3: version: must be a whole number",
    ]


def test_a_task_must_state_its_own_id(tmp_path: Path, problems: Report, lumps: str) -> None:
    (tmp_path / "lumps.yaml").write_text(lumps)
    assert problems("extends: lumps.yaml\nseed: 1\n", "bumps.yaml") == [
        "bumps.yaml:1: id: `lumps`: must be the file's name, `bumps`"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id: a\nextends: a.yaml\n", "a.yaml:2: extends: `a.yaml` extends itself"),
        ("extends: b.yaml\n", "b.yaml:1: extends: `a.yaml` extends itself"),
        ("extends: nosuch\n", "a.yaml:1: extends: no shipped task or base `nosuch`"),
        ("extends: nosuch.yaml\n", "a.yaml:1: extends: no file nosuch.yaml"),
        ("extends: {a: b}\n", "a.yaml:1: extends: must be a name or a file, or a list of them"),
        ("extends:\n  - phantom\n  - 3\n", "a.yaml:3: extends: must be a name or a file, or a list of them"),
    ],
)
def test_extends_refused(tmp_path: Path, problems: Report, text: str, message: str) -> None:
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    assert problems(text, "a.yaml") == [message]


def test_expand_takes_names_globs_and_paths_once_each(tmp_path: Path, lumps: str) -> None:
    path = tmp_path / "lumps.yaml"
    path.write_text(lumps)
    given = ["pathmnist", "pathmnist*", str(path), "busi"]
    assert catalog.expand(given) == ("pathmnist", "pathmnist-1k", str(path), "busi")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("pathmnits", "pathmnits: unknown task; did you mean `pathmnist`?"),
        ("zzz", "zzz: unknown task; there are breastmnist,"),
        ("zz*", "zz*: no task matches this; there are breastmnist,"),
        ("_base", "_base: unknown task"),
        ("nowhere/pathmnist.yaml", "nowhere/pathmnist.yaml: no such task file"),
    ],
)
def test_unknown_references(reference: str, message: str) -> None:
    with pytest.raises(TaskError) as caught:
        catalog.expand([reference])
    assert str(caught.value).startswith(message)


def test_a_base_is_no_task_but_what_it_states_is_checked(tmp_path: Path, lumps: str) -> None:
    base = tmp_path / "_part.yaml"
    base.write_text("seed: 0\n")
    assert catalog.check(base) == ()
    base.write_text("seed: 0\nmax_tran: 3\nsource: {md5: 3}\n")
    lines = [str(p).replace(f"{tmp_path}/", "") for p in catalog.check(base)]
    assert lines == ["_part.yaml:2: max_tran: unknown key; did you mean `max_train`?"]
    with pytest.raises(TaskError, match="is a base that tasks extend"):
        catalog.load(base)


def test_a_changed_copy_of_a_shipped_task_is_told_apart() -> None:
    task = catalog.load("busi")
    assert catalog.is_shipped(task)
    assert not catalog.is_shipped(task.model_copy(update={"seed": 5}))
    assert not catalog.is_shipped(task.model_copy(update={"id": "mine"}))


def test_prompts_are_found_by_id() -> None:
    task = catalog.load("busi")
    assert task.prompt("letters").kind == "letters"
    assert task.primary.id == "free"
    with pytest.raises(TaskError, match="no prompt `nope`; it has free, paraphrase_1"):
        task.prompt("nope")


def test_a_task_survives_json() -> None:
    for name in catalog.shipped_names():
        task = catalog.load(name)
        assert TaskSpec.model_validate_json(task.model_dump_json()) == task


def test_tasks_import_no_heavy_library() -> None:
    code = (
        "import sys\nfrom tasks import catalog, file_list, subset\ncatalog.load('busi')\n"
        "heavy = {'torch', 'numpy', 'transformers', 'sklearn', 'scipy', 'PIL', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    root = Path(catalog.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
