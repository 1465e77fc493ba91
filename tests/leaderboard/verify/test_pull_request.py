"""A pull request may add entries that verify, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from leaderboard.board.folder import open_board
from leaderboard.verify.submit import submit
from tests.leaderboard.made_submission import made_board, made_result
from tests.leaderboard.verify.rewriting import in_record

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / ".github" / "verify_entries.sh"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@b", "-c", "core.hooksPath=/dev/null"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> tuple[Path, str]:
    """A repository with an empty board, and the commit that pull requests start from."""
    repository = tmp_path / "repository"
    made_board(repository / "leaderboard")
    (repository / "README.md").write_text("words\n")
    git(repository, "init", "--quiet")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "Begin")
    return repository, git(repository, "rev-parse", "HEAD")


def verified(checkout: tuple[Path, str]) -> subprocess.CompletedProcess[str]:
    repository, base = checkout
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "-m", "Submit")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        [str(SCRIPT), str(repository), base],
        capture_output=True,
        text=True,
        cwd=repository.parent,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
    )


def submitted(checkout: tuple[Path, str], tmp_path: Path) -> Path:
    return submit(made_result(tmp_path / "result"), open_board(checkout[0] / "leaderboard"))


def test_a_pull_request_with_an_entry_that_verifies_passes(
    checkout: tuple[Path, str], tmp_path: Path
) -> None:
    submitted(checkout, tmp_path)
    done = verified(checkout)
    assert done.returncode == 0, done.stderr
    assert "1 checked, 0 refused" in done.stdout


def test_an_edited_entry_is_named(checkout: tuple[Path, str], tmp_path: Path) -> None:
    entry = submitted(checkout, tmp_path)
    text = (entry / "record.json").read_text()
    (entry / "record.json").write_text(text.replace('"complete"', '"partial"'))
    done = verified(checkout)
    assert done.returncode == 1
    assert "record.json" in done.stdout
    assert "1 refused" in done.stdout


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "leaderboard/board.yaml",
        "leaderboard/images/lumps.csv",
        "leaderboard/entries/loose.json",
        "leaderboard/entries/m/t/deeper/record.json",
        "leaderboard/entries\n/m/t/record.json",
    ],
)
def test_anything_beside_entries_is_refused(checkout: tuple[Path, str], path: str) -> None:
    target = checkout[0] / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("changed\n")
    done = verified(checkout)
    assert done.returncode == 1
    assert "entries and nothing else" in done.stderr
    assert "refused" not in done.stdout


def test_a_link_in_place_of_an_entry_is_refused(checkout: tuple[Path, str]) -> None:
    model = checkout[0] / "leaderboard" / "entries" / "m"
    model.mkdir(parents=True)
    (model / "t").symlink_to("/etc")
    done = verified(checkout)
    assert done.returncode == 1
    assert "entries and nothing else" in done.stderr


@pytest.fixture
def with_entry(checkout: tuple[Path, str], tmp_path: Path) -> tuple[Path, str]:
    """The same with an entry on the board."""
    submitted(checkout, tmp_path)
    git(checkout[0], "add", "--all")
    git(checkout[0], "commit", "--quiet", "-m", "Before")
    return checkout[0], git(checkout[0], "rev-parse", "HEAD")


def test_nobody_but_the_keeper_takes_an_entry_off(with_entry: tuple[Path, str]) -> None:
    shutil.rmtree(with_entry[0] / "leaderboard" / "entries" / "clinic--model")
    done = verified(with_entry)
    assert done.returncode == 1
    assert "taken off the board: clinic--model/lumps" in done.stderr


@pytest.mark.parametrize(("finished", "status"), [("2001-01-01", 1), ("2026-02-02", 0)])
def test_an_entry_is_replaced_by_a_newer_run_alone(
    with_entry: tuple[Path, str], tmp_path: Path, finished: str, status: int
) -> None:
    board = open_board(with_entry[0] / "leaderboard")
    other = made_result(tmp_path / "other", seed=1)
    in_record("provenance.finished", f"{finished}T00:00:00+00:00")(other)
    shutil.rmtree(board.path / "entries" / "clinic--model")
    submit(other, board)
    done = verified(with_entry)
    assert done.returncode == status
    assert "takes the place of an entry that is there: clinic--model/lumps" in done.stdout
    assert ("older than the entry clinic--model/lumps" in done.stdout) == (status == 1)


@pytest.mark.parametrize("base", ["1" * 40, "no-such-branch", "", "unrelated"])
def test_without_the_commit_to_compare_with_nothing_passes(
    checkout: tuple[Path, str], tmp_path: Path, base: str
) -> None:
    entry = submitted(checkout, tmp_path)
    (entry / "record.json").write_text("forged")
    if base == "unrelated":
        git(checkout[0], "checkout", "--quiet", "--orphan", "unrelated")
        git(checkout[0], "commit", "--quiet", "--allow-empty", "-m", "Other")
        git(checkout[0], "checkout", "--quiet", "-b", "mine", checkout[1])
    done = verified((checkout[0], base))
    assert done.returncode != 0
    assert "no entry was added or changed" not in done.stdout


def test_the_workflow_runs_this_script_without_rights_to_write() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "board.yml").read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in workflow[True]  # YAML reads the key `on` as true
    steps = workflow["jobs"]["verify"]["steps"]
    assert steps[-1]["run"].startswith("base/.github/verify_entries.sh submission")
    assert not any(
        "${{" in step.get("run", "") for step in steps
    )  # nothing of a pull request becomes shell text
