"""Files of every room: written whole, under one lock, in one cache folder, named by one hash."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.files import (
    alone,
    cache_folder,
    json_hash,
    kept_or_made,
    locked,
    read_kept,
    replacing,
    write_atomically,
)

PROGRAM = (
    "import os, signal, sys; from pathlib import Path; from tasks.files import *; path = Path(sys.argv[1])\n"
)


class BusyError(Exception):
    pass


def run(program: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# -- written whole -----------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["nêw\n", b"\xff\x00\n"])
def test_text_and_bytes_are_written_with_the_folders_above(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "a" / "b" / "record.json"
    write_atomically(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_is_killed_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text("old")
    program = (
        "with replacing(path, exclusive=True) as part:\n  part.write_text('ne'); os.kill(os.getpid(), 9)"
    )
    for _ in range(2):
        process = run(program, path)
        process.communicate()
        assert process.returncode == -9
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2, "what a killed writer left is written over"
    with replacing(path, exclusive=True) as part:
        part.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text("old")
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_atomically(path, 'new' * 1000)"
    )
    _, said = run(program, path).communicate()
    assert "File too large" in said
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with path.open() as reader:
        write_atomically(path, "new")
        assert reader.read() == "old"  # who reads meanwhile sees the old file whole
    assert path.read_text() == "new"


def test_what_a_link_leads_to_is_written_and_the_link_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old", encoding="utf-8")
    link.symlink_to(target)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "target"]


def test_a_pipe_is_written_into_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, "new")
    assert os.read(reader, 10) == b"new"
    os.close(reader)
    assert pipe.is_fifo()


# -- one at a time -------------------------------------------------------------------------------------


def test_a_folder_that_another_process_holds_is_refused_with_the_way_out(tmp_path: Path) -> None:
    folder, lock = tmp_path / "study", tmp_path / "study" / ".lock"
    holder = run("with locked(path):\n  print('held', flush=True); sys.stdin.read()", lock)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(
            BusyError, match=r"study: another study is writing here; wait for it, or choose another"
        ),
        alone(folder, "study", BusyError, lock=lock),
    ):
        pass
    assert lock.exists()
    holder.communicate("")  # which ends it
    with alone(folder, "study", BusyError, lock=lock):
        pass


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "study"
    with (
        pytest.raises(BusyError, match=r"study: cannot be written .*; choose another folder"),
        alone(folder, "study", BusyError, lock=folder / ".lock"),
    ):
        pass


def test_a_lock_leaves_nothing_where_nothing_was_done_and_stays_where_something_was(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "b" / ".lock"):
        assert (tmp_path / "a" / "b" / ".lock").exists()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="failed"), locked(tmp_path / "a" / "b" / ".lock"):
        raise ValueError("failed")
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "a" / "b" / ".lock"):
        (tmp_path / "a" / "b" / "done").touch()
    assert (tmp_path / "a" / "b" / ".lock").exists()
    (tmp_path / "empty").mkdir()
    with locked(tmp_path / "empty" / ".lock"):
        pass
    assert (tmp_path / "empty").exists(), "a folder that was there stays"


# -- the cache -------------------------------------------------------------------------------------------


def test_the_cache_is_where_the_variable_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HARNESS_CACHE_DIR", "~/kept")
    assert cache_folder() == Path.home() / "kept"
    monkeypatch.delenv("HARNESS_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert cache_folder() == tmp_path / "mllm-harness"


def test_what_is_kept_is_made_once_and_anew_where_it_is_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, made = tmp_path / "kept" / "number", []

    def number() -> int:
        return kept_or_made(
            path,
            read=lambda kept: int(kept.read_text()),
            make=lambda: made.append(1) or len(made),  # type: ignore[func-returns-value]
            write=lambda value, part: part.write_text(str(value)),
        )

    assert (number(), number(), caplog.text) == (1, 1, "")
    path.write_text("one")
    assert (number(), number()) == (2, 2)
    assert f"{path}: is damaged" in caplog.text


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "kept"
    with caplog.at_level(logging.WARNING):
        assert kept_or_made(place, read=lambda _: 0, make=lambda: 7, write=lambda *_: None) == 7
    assert "cannot be kept" in caplog.text
    assert "set HARNESS_CACHE_DIR" in caplog.text
    assert read_kept(place, lambda _: 0) is None


# -- the hash of JSON ------------------------------------------------------------------------------------


def test_the_hash_of_json_is_that_which_results_are_filed_under() -> None:
    value = {"b": [1, 0.5, None], "a": {"é": True}}
    escaped, plain = (
        '{"a": {"\\u00e9": true}, "b": [1, 0.5, null]}',
        '{"a": {"é": true}, "b": [1, 0.5, null]}',
    )
    assert json_hash(value) == hashlib.sha256(escaped.encode()).hexdigest()
    assert json_hash(value, ascii_only=False) == hashlib.sha256(plain.encode()).hexdigest()
