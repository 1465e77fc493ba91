"""Entries on a board: each is its own folder, and whatever was done to one is found and named."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaderboard.board.entry import Rerun, read_entry
from leaderboard.board.folder import BoardFolder, open_board
from leaderboard.record.record import RecordError
from leaderboard.verify.submit import submit
from leaderboard.verify.verify import check_entry, mark_rerun, verify
from tests.leaderboard.made_submission import made_board, made_record, made_run, write_result
from tests.leaderboard.verify.json_edits import EDITS
from tests.leaderboard.verify.rewriting import refusal

FIRST, SECOND = "entries/clinic--model/lumps", "entries/clinic--other/lumps"
RERUN = Rerun(
    harness_version="0",
    engine="transformers",
    device="cpu",
    agreement=1.0,
    accuracy=0.8,
    p=1.0,
    largest_probe_difference=0.0,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two results of two models about the same images, an empty board, and one with both."""
    folder = tmp_path_factory.mktemp("two")
    for seed, name in enumerate(("model", "other")):
        run = made_run(seed)
        write_result(folder / name, made_record(run, name=f"clinic/{name}"), run)
    made_board(folder / "empty")
    shutil.copytree(folder / "empty", folder / "board")
    for name in ("model", "other"):
        submit(folder / name, open_board(folder / "board"))
    return folder


@pytest.fixture
def board(results: Path, tmp_path: Path) -> BoardFolder:
    return open_board(Path(shutil.copytree(results / "board", tmp_path / "board", symlinks=True)))


def problems(board: BoardFolder, **options: Any) -> dict[str, str | None]:
    return {one.folder: one.problem for one in verify(board, **options)}


def test_submissions_of_two_models_merge_without_a_conflict(results: Path, tmp_path: Path) -> None:
    def git(folder: Path, *arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]
        done = subprocess.run(
            ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
        )
        return done.stdout

    origin = Path(shutil.copytree(results / "empty", tmp_path / "origin"))
    git(origin, "init")
    git(origin, "add", ".")
    git(origin, "commit", "-m", "a board")
    for name in ("model", "other"):
        git(tmp_path, "clone", str(origin), name)
        clone = tmp_path / name
        git(clone, "checkout", "-b", name)
        submit(results / name, open_board(clone))
        git(clone, "add", ".")
        git(clone, "commit", "-m", f"submit {name}")
        git(clone, "push", "origin", name)
        changed = git(clone, "diff", "--name-only", "main", name).split()
        assert {Path(path).parent.as_posix() for path in changed} == {f"entries/clinic--{name}/lumps"}
    for name in ("model", "other"):
        git(origin, "merge", "--no-edit", name)
    assert problems(open_board(origin)) == {FIRST: None, SECOND: None}


def test_an_entry_has_the_same_bytes_whenever_it_is_made(results: Path, tmp_path: Path) -> None:
    folders = []
    for name in ("one", "two"):
        board = open_board(Path(shutil.copytree(results / "empty", tmp_path / name)))
        folders.append(submit(results / "model", board))
    first, second = ({p.name: p.read_bytes() for p in folder.iterdir()} for folder in folders)
    assert first == second


def _rewrite(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def rewrite(entry: Path) -> None:
        content = json.loads((entry / "entry.json").read_text(encoding="utf-8"))
        change(content)
        (entry / "entry.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    return rewrite


def _repack(change: Callable[[bytes], bytes], name: str = "samples.jsonl.gz") -> Callable[[Path], None]:
    def repack(entry: Path) -> None:
        content = change(gzip.decompress((entry / name).read_bytes()))
        (entry / name).write_bytes(gzip.compress(content, mtime=0))

    return repack


def _link(entry: Path) -> None:
    (entry / "record.json").rename(entry.parent.parent.parent / "elsewhere.json")
    (entry / "record.json").symlink_to(entry.parent.parent.parent / "elsewhere.json")


def _endless(entry: Path) -> None:
    (entry / "entry.json").unlink()
    (entry / "entry.json").symlink_to("/dev/zero")


def _edited_score(entry: Path) -> None:
    text = (entry / "record.json").read_text(encoding="utf-8")
    (entry / "record.json").write_text(text.replace('"correct": 5', '"correct": 6', 1), encoding="utf-8")


def _spaces(entry: Path) -> None:
    text = (entry / "entry.json").read_text(encoding="utf-8")
    (entry / "entry.json").write_text(text.replace(": ", " :  "), encoding="utf-8")


def _linked_folder(entry: Path) -> None:
    entry.rename(entry.parent.parent.parent / "elsewhere")
    entry.symlink_to(entry.parent.parent.parent / "elsewhere")


SPOILED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "an edited record": (_edited_score, "entry.json: files.record.json: not the file that was checked"),
    "edited lines": (_repack(lambda c: c[:-1]), "entry.json: files.samples.jsonl.gz: not the file"),
    "no entry.json": (lambda e: (e / "entry.json").unlink(), "entry.json: is missing"),
    "no record": (lambda e: (e / "record.json").unlink(), "record.json: is missing"),
    "no lines": (lambda e: (e / "probes.jsonl.gz").unlink(), "probes.jsonl: is missing"),
    "a link": (_link, "record.json: must be a plain file"),
    "an endless entry.json": (_endless, "entry.json: must be a plain file"),
    "a linked folder": (_linked_folder, "entries/'lumps': must be a plain folder"),
    "another file": (lambda e: (e / "payload.sh").touch(), "'payload.sh': an entry holds entry.json, "),
    "a hidden file": (lambda e: (e / ".x").touch(), "'.x': an entry holds entry.json, "),
    "a folder": (lambda e: (e / "x\n\x1b[2J").mkdir(), "'x\\n\\x1b[2J': an entry holds entry.json, "),
    "plain lines beside": (
        lambda e: (e / "samples.jsonl").touch(),
        "'samples.jsonl': an entry holds entry.json",
    ),
    "a picture behind the lines": (
        lambda e: (e / "probes.jsonl.gz").write_bytes((e / "probes.jsonl.gz").read_bytes() + bytes(99)),
        "probes.jsonl.gz: something follows its content",
    ),
    "another folder": (
        lambda e: e.parent.rename(e.parent.parent / "best"),
        "this entry belongs into clinic--model",
    ),
    "damaged": (
        lambda e: (e / "probes.jsonl.gz").write_bytes(b"\x1f\x8b\x08" + bytes(5) + b" no"),
        "cannot be unpacked",
    ),
    "less declared": (_rewrite(lambda c: c.update(declared=[])), "entry.json: declared: (), but it must be"),
    "unofficial": (
        _rewrite(lambda c: c.update(official_data=False)),
        "entry.json: official_data: False, but",
    ),
    "run again by its word": (_rewrite(lambda c: c.update(state="rerun")), "entry.json: state: rerun, but"),
    "unknown key": (_rewrite(lambda c: c.update(best=True)), "entry.json: best: Extra inputs"),
    "a further hash": (
        _rewrite(lambda c: c["files"].update({"x\n": "0"})),
        "entry.json: files.x\\n: not the file",
    ),
    "long words": (_rewrite(lambda c: c.update(declared=["x" * 10**6])), "entry.json: "),
    "cut entry.json": (lambda e: (e / "entry.json").write_text("{"), "entry.json: the file: Invalid JSON"),
    "spaces": (_spaces, "entry.json: says the same, but not as `harness submit` writes it"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_entry_is_named_and_the_others_are_checked(board: BoardFolder, name: str) -> None:
    spoil, said = SPOILED[name]
    spoil(board.path / FIRST)
    found = problems(board)
    assert found.pop(SECOND) is None
    (problem,) = found.values()
    assert problem is not None
    assert said in problem
    assert problem.isprintable()


def test_lines_that_say_the_same_in_other_words_are_refused(board: BoardFolder) -> None:
    """What stands between the lines, or twice in one, is read by nobody here and by others perhaps."""
    entry = board.path / FIRST
    _repack(lambda content: content.replace(b'{"id"', b'{"outcome":"correct","id"'))(entry)
    digest = _sha256(gzip.decompress((entry / "samples.jsonl.gz").read_bytes()))
    _rewrite(lambda content: content["files"].update({"samples.jsonl.gz": digest}))(entry)
    assert "samples.jsonl.gz: says the same, but not as `harness submit` writes it" in str(
        problems(board)[FIRST]
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_is_no_entry_is_named(board: BoardFolder) -> None:
    entries = board.path / "entries"
    (entries / ".gitkeep").touch()
    (entries / "note.txt").touch()
    (entries / "clinic--model" / "note.txt").touch()
    (entries / "clinic--model" / ".hidden").mkdir()
    (entries / "elsewhere").symlink_to(board.path)
    strays = {name for name, problem in problems(board).items() if problem == "no entry: remove it"}
    assert strays == {
        "entries/note.txt",
        "entries/clinic--model/note.txt",
        "entries/clinic--model/.hidden",
        "entries/elsewhere",
    }


def test_a_copied_entry_is_named(board: BoardFolder) -> None:
    """As where a pull request brings a folder that `harness submit` did not write."""
    copy = board.path / "entries" / "clinic--copy" / "lumps"
    shutil.copytree(board.path / FIRST, copy)
    text = (copy / "record.json").read_text(encoding="utf-8").replace("clinic/model", "clinic/copy")
    (copy / "record.json").write_text(text, encoding="utf-8")
    digest = _sha256(text.encode())
    _rewrite(lambda content: content["files"].update({"record.json": digest}))(copy)
    found = verify(board, [copy])
    assert "samples.jsonl: the very same answers are on the board already" in str(found[0].problem)


@pytest.mark.parametrize(
    "scores", ["[1e999, NaN]", "[1" + "0" * 400 + "]", '{"a": 1}', '"x"', "[[1], [2, 3]]"]
)
def test_scores_that_are_none_spoil_no_other_entry(board: BoardFolder, scores: str) -> None:
    entry = board.path / FIRST
    lines = gzip.decompress((entry / "samples.jsonl.gz").read_bytes()).decode().splitlines(keepends=True)
    lines[-1] = re.sub(r'"scores":\[[^]]*\]', f'"scores":{scores}', lines[-1], count=1)
    (entry / "samples.jsonl.gz").write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    found = problems(board)
    assert found[SECOND] is None
    assert "samples.jsonl" in str(found[FIRST])


@pytest.mark.parametrize(("field", "value"), [("revision", "2"), ("role", "reference"), ("parameters", 5)])
def test_one_name_is_one_model_on_all_tasks(tmp_path: Path, field: str, value: object) -> None:
    board = made_board(tmp_path / "board", tasks=("lumps", "bumps"))
    run = made_run()
    for task in ("lumps", "bumps"):
        record = made_record(run, task_name=task)
        if task == "bumps":
            record = record.model_copy(update={"model": record.model.model_copy(update={field: value})})
        submit(write_result(tmp_path / task, record, run), board)
    found = problems(board)
    assert f"record.json: model.{field}: {value!r}, but" in str(found["entries/clinic--model/bumps"])
    assert "in the entry clinic--model/bumps" in str(found[FIRST])


def test_names_that_differ_in_case_alone_are_refused_on_other_tasks_too(tmp_path: Path) -> None:
    board = made_board(tmp_path / "board", tasks=("lumps", "bumps"))
    run = made_run()
    submit(write_result(tmp_path / "one", made_record(run), run), board)
    record = made_record(run, name="Clinic/Model", task_name="bumps")
    other = write_result(tmp_path / "other", record, run)
    assert "differs from the entry clinic--model in upper and lower case alone" in refusal(other, board)


def test_only_the_keeper_marks_an_entry_as_run_again(board: BoardFolder) -> None:
    mark_rerun(check_entry(board.path / FIRST, board), RERUN)
    assert read_entry(board.path / FIRST).rerun == RERUN
    assert problems(board) == {FIRST: None, SECOND: None}
    assert problems(board, rerun=False) == {
        FIRST: "entry.json: state: rerun, which the board's keeper alone can say",
        SECOND: None,
    }


def test_a_spoiled_entry_is_not_marked(board: BoardFolder) -> None:
    _edited_score(board.path / FIRST)
    with pytest.raises(RecordError, match="not the file that was checked"):
        mark_rerun(check_entry(board.path / FIRST, board), RERUN)


def test_a_spoiled_entry_keeps_nobody_from_submitting(results: Path, tmp_path: Path) -> None:
    board = open_board(Path(shutil.copytree(results / "board", tmp_path / "board")))
    shutil.rmtree(board.path / "entries" / "clinic--other")
    (board.path / FIRST / "entry.json").write_text("{")
    assert submit(results / "other", board) == board.path / SECOND


def test_a_link_on_the_board_leads_nowhere(results: Path, tmp_path: Path) -> None:
    board = open_board(Path(shutil.copytree(results / "empty", tmp_path / "board")))
    (tmp_path / "elsewhere").mkdir()
    (board.path / "entries" / "clinic--model").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecordError, match="no link"):
        submit(results / "model", board)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@settings(max_examples=40, deadline=None)
@given(edit=st.sampled_from(EDITS), seed=st.integers(0, 2**32 - 1))
def test_an_edited_entry_json_is_named_or_says_the_same(results: Path, edit: Any, seed: int) -> None:
    board = open_board(results / "board")
    path = board.path / FIRST / "entry.json"
    before = path.read_bytes()
    content = json.loads(before)
    edit(Random(seed), content)
    try:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        (found,) = verify(board, [board.path / FIRST])
        if found.problem is None:
            assert json.loads(before) == content
        else:
            assert "entry.json" in found.problem
            assert found.problem.isprintable()
    finally:
        path.write_bytes(before)
