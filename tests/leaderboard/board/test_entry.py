"""What an entry is made of: names of folders, bytes that stay the same, and nothing half written."""

from __future__ import annotations

import gzip
import hashlib
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.board.entry import Entry, EntryFiles, check_name, entry_folder, read_entry, write_entry
from leaderboard.record.record import RecordError
from tests.leaderboard.results import record

FILES = EntryFiles({"record.json": b"{}\n", "samples.jsonl.gz": b"line\n" * 1000, "probes.jsonl.gz": b""})
ENTRY = Entry(state="recomputed", official_data=True, declared=("cost",), files=FILES.hashes())


def test_the_same_content_gives_the_same_bytes_at_any_time(tmp_path: Path) -> None:
    write_entry(tmp_path / "one" / "task", ENTRY, FILES)
    time.sleep(1.1)  # gzip writes the time in whole seconds
    write_entry(tmp_path / "two" / "other-name", ENTRY, FILES)
    for name in (*FILES.content, "entry.json"):
        first, second = (tmp_path / "one" / "task" / name, tmp_path / "two" / "other-name" / name)
        assert first.read_bytes() == second.read_bytes()
    packed = (tmp_path / "one" / "task" / "samples.jsonl.gz").read_bytes()
    assert gzip.decompress(packed) == FILES.content["samples.jsonl.gz"]
    assert len(packed) < 100


def test_hashes_are_of_the_content_before_compression() -> None:
    assert FILES.hashes()["samples.jsonl.gz"] == hashlib.sha256(b"line\n" * 1000).hexdigest()
    assert list(FILES.hashes()) == sorted(FILES.content)


def test_an_entry_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_entry(tmp_path / "m" / "t", ENTRY, FILES)
    assert read_entry(tmp_path / "m" / "t") == ENTRY
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["t"]


def test_an_entry_takes_the_place_of_another_whole(tmp_path: Path) -> None:
    write_entry(tmp_path / "m" / "t", ENTRY, FILES)
    (tmp_path / "m" / "t" / "old").touch()
    write_entry(tmp_path / "m" / "t", ENTRY, FILES)
    assert sorted(p.name for p in (tmp_path / "m" / "t").iterdir()) == ["entry.json", *sorted(FILES.content)]


def test_what_cannot_be_written_leaves_the_entry_as_it_was(tmp_path: Path) -> None:
    write_entry(tmp_path / "m" / "t", ENTRY, FILES)
    broken = EntryFiles({**FILES.content, "no/such/folder": b""})
    with pytest.raises(OSError, match="No such file"):
        write_entry(tmp_path / "m" / "t", ENTRY, broken)
    assert read_entry(tmp_path / "m" / "t") == ENTRY
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["t"]


def is_taken(name: str) -> bool:
    try:
        check_name(name)
    except RecordError:
        return False
    return True


@given(st.text(max_size=30) | st.from_regex(r"[A-Za-z0-9./_-]{1,12}", fullmatch=True))
def test_a_name_that_is_taken_is_one_folder_below_the_entries(name: str) -> None:
    made = record(1)
    named = made.model_copy(update={"model": made.model.model_copy(update={"name": name})})
    if not is_taken(name):
        with pytest.raises(RecordError, match=r"record\.json: model\.name") as refused:
            entry_folder(named)
        assert str(refused.value).isprintable()
        return
    folder = entry_folder(named)
    model, task = folder.split("/")
    assert task == "small"
    assert model.replace("--", "/") == name  # no two names have one folder
    assert model.isascii()
    assert model.isprintable()


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-VL-7B-Instruct", "zoo/llava-healthy", "m", "a/b/c", "0_1.2"])
def test_ordinary_names_are_taken(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name", ["a--b", "a/-b", "a-/b", ".a", "a.", "a./b", "nul", "a/COM1.txt", "a@lora", "a b"]
)
def test_names_that_clash_or_cannot_be_folders_are_refused(name: str) -> None:
    with pytest.raises(RecordError, match=r"record.json: model.name"):
        check_name(name)
