from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from harness.passes.store import BATCH, PREFILL, RunStore, StoreError, batches
from tests.harness.passes.append_batches import CONFIGURATION, SITES, answers, features

IMAGES = 6400
PROGRAM = [sys.executable, "-m", "tests.harness.passes.append_batches"]


def start(folder: Path, images: int = IMAGES, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, str(folder), str(images), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
        **options,
    )


def small_store(folder: Path, configuration: dict[str, object] | None = None, **options) -> RunStore:
    return RunStore(folder, CONFIGURATION if configuration is None else configuration, **options)


def fill(folder: Path, images: int = 70, *, watched: bool = False) -> None:
    with small_store(folder) as store:
        if watched:
            store.open_features(SITES, images)
        for number, rows in store.pending(PREFILL, images):
            seen = {site.key: features(site, rows) for site in SITES} if watched else None
            store.append(PREFILL, number, answers(rows), seen)


def test_a_run_killed_at_any_moment_loses_nothing_it_has_stored(tmp_path: Path) -> None:
    folder = tmp_path / "model" / "task"
    generator = random.Random(0)
    begun: list[int] = []
    stored: set[int] = set()
    kills = 0
    while True:
        process = start(folder)
        assert process.stdout is not None
        lines = [process.stdout.readline().strip()]
        if kills < 6:
            lines += [process.stdout.readline().strip() for _ in range(generator.randrange(12))]
            time.sleep(generator.uniform(0, 0.003))
            process.send_signal(signal.SIGKILL)
            kills += 1
        lines += process.stdout.read().splitlines()
        _, said = process.communicate()
        assert not said
        here = [int(line.split()[1]) for line in lines if line.startswith("begin")]
        assert not stored & set(here), "a stored batch was asked again"
        assert all(begun.count(number) < 1 or number == here[0] for number in here)
        begun += here
        stored |= {int(line.split()[1]) for line in lines if line.startswith("stored")}
        if "done" in lines:
            break
    assert kills == 6
    assert set(begun) == set(range(len(batches(IMAGES))))
    assert len(begun) <= len(set(begun)) + kills, "a kill costs at most one batch"
    loaded = load_file(folder / "features.safetensors")
    everything = slice(0, IMAGES)
    with small_store(folder) as store:
        assert store.answers(PREFILL, IMAGES) == answers(everything)
        store.open_features(SITES, IMAGES)
        for site in SITES:
            np.testing.assert_array_equal(store.features(site.key, everything), features(site, everything))
            np.testing.assert_array_equal(loaded[site.key], features(site, everything))


@pytest.mark.parametrize("cut", [1, 2, 57])
def test_a_last_line_that_a_kill_left_unfinished_is_dropped(tmp_path: Path, cut: int) -> None:
    folder = tmp_path / "task"
    fill(folder)
    file = folder / "store" / "answers.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut])
    with small_store(folder) as store:
        assert [number for number, _ in store.pending(PREFILL, 70)] == [2]
        store.append(PREFILL, 2, answers(slice(64, 70)))
    assert file.read_bytes() == whole


@pytest.mark.parametrize("rubbish", [b"\0" * 40 + b"\n", b"[1]\n", b'{"step": "prefill"}\n', b'"\xff"\n'])
def test_a_damaged_line_is_named_and_never_skipped(tmp_path: Path, rubbish: bytes) -> None:
    folder = tmp_path / "task"
    fill(folder)
    file = folder / "store" / "answers.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + rubbish + lines[2])
    with pytest.raises(
        StoreError, match=rf"answers\.jsonl: is damaged at byte {len(lines[0])} .*--overwrite"
    ):
        small_store(folder).__enter__()


def test_another_configuration_is_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    folder = tmp_path / "task"
    fill(folder)
    other = {"model": "m", "task": {"name": "u", "seed": 3}}
    with pytest.raises(
        StoreError, match=r"\(task\.name, task\.seed differ\).*--output.*--overwrite"
    ) as caught:
        small_store(folder, other).__enter__()
    assert "\n" not in str(caught.value)
    with small_store(folder) as store:  # and nothing was lost, and the lock was let go
        assert not list(store.pending(PREFILL, 70))


def test_the_order_of_the_keys_is_no_other_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "task"
    with small_store(folder, {"a": 1, "b": {"c": (1, 2), "d": None}}):
        pass
    with small_store(folder, {"b": {"d": None, "c": [1, 2]}, "a": 1}):
        pass


def test_overwrite_removes_what_a_run_left_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "task"
    fill(folder, watched=True)
    for name in ("record.json", "samples.jsonl", "probes.jsonl", "log.txt", "report.html"):
        (folder / name).write_text("old")
    (folder / ".features.safetensors.part").write_bytes(b"half")
    (folder / "notes.txt").write_text("mine")
    with small_store(folder, {"model": "other"}, overwrite=True) as store:
        assert len(list(store.pending(PREFILL, 70))) == 3
        assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", "store"]


def test_results_without_their_configuration_are_not_adopted(tmp_path: Path) -> None:
    folder = tmp_path / "task"
    fill(folder)
    (folder / "store" / "configuration.json").unlink()
    with pytest.raises(StoreError, match="without the configuration"):
        small_store(folder).__enter__()


def test_an_unreadable_configuration_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "task"
    fill(folder)
    (folder / "store" / "configuration.json").write_text("{")
    with pytest.raises(StoreError, match=r"configuration\.json: cannot be read"):
        small_store(folder).__enter__()


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    folder = tmp_path / "task"
    with small_store(folder):
        second = start(folder)
        _, said = second.communicate()
        assert second.returncode == 1
        assert "another run is writing here" in said
        assert said.count("\n") == 1
    third = start(folder, images=32)
    third.communicate()
    assert third.returncode == 0


def test_a_writer_that_came_while_another_left_still_keeps_others_out(tmp_path: Path) -> None:
    """Nobody removes the lock's file: a later writer would then lock a new file of the same name."""
    folder = tmp_path / "task"
    first = small_store(folder)
    first.__enter__()
    inode = (tmp_path / ".task.lock").stat().st_ino
    first.__exit__(None, None, None)
    with small_store(folder):
        assert (tmp_path / ".task.lock").stat().st_ino == inode


def test_answers_come_back_in_the_order_of_the_images_whatever_order_they_were_stored_in(
    tmp_path: Path,
) -> None:
    with small_store(tmp_path / "task") as store:
        for number, rows in reversed(list(store.pending(PREFILL, 70))):
            store.append(PREFILL, number, answers(rows))
        assert store.answers(PREFILL, 70) == answers(slice(0, 70))


def test_steps_are_counted_apart(tmp_path: Path) -> None:
    with small_store(tmp_path / "task") as store:
        store.append("variants", 0, answers(slice(0, 32)))
        assert [number for number, _ in store.pending(PREFILL, 40)] == [0, 1]
        assert [number for number, _ in store.pending("variants", 40)] == [1]


def test_lost_features_are_an_error_and_not_zeros(tmp_path: Path) -> None:
    folder = tmp_path / "task"
    fill(folder, watched=True)
    (folder / "features.safetensors").unlink()
    with small_store(folder) as store, pytest.raises(StoreError, match=r"missing or damaged.*--overwrite"):
        store.open_features(SITES, 70)


def test_a_number_that_is_none_is_not_stored(tmp_path: Path) -> None:
    with small_store(tmp_path / "task") as store:
        with pytest.raises(ValueError, match="JSON"):
            store.append(PREFILL, 0, [{"score": float("nan")}])
        assert list(store.pending(PREFILL, 1)) == [(0, slice(0, 1))]


# -- no room on the disk, played by a limit on the size of files -----------------------------------


def limited(size: int) -> dict[str, object]:
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))}


def test_no_room_for_the_features_is_said_before_any_image_is_asked(tmp_path: Path) -> None:
    folder = tmp_path / "task"
    process = start(folder, **limited(100_000))
    printed, said = process.communicate()
    assert process.returncode == 1
    assert printed == ""
    assert said.count("\n") == 1
    assert "features.safetensors: cannot reserve 5 MB for features (File too large)" in said
    assert "--no-probe" in said
    assert not folder.exists()  # nothing is left of a run that never began


def test_no_room_for_a_batch_leaves_the_batches_before_it_and_nothing_half_written(tmp_path: Path) -> None:
    folder, whole = tmp_path / "task", tmp_path / "whole"
    fill(whole, images=320)
    lines = (whole / "store" / "answers.jsonl").read_bytes().splitlines(keepends=True)
    room = sum(map(len, lines[:3])) + 1000  # a write of the fourth line starts, and cannot end
    process = start(folder, 320, "--unwatched", **limited(room))
    printed, said = process.communicate()
    assert process.returncode == 1
    assert printed.splitlines()[-2:] == ["stored 2", "begin 3"]
    assert said.count("\n") == 1
    assert "cannot be written (File too large); make room and start the command again" in said
    assert (folder / "store" / "answers.jsonl").read_bytes() == b"".join(lines[:3])
    printed, said = start(folder, 320, "--unwatched").communicate()
    assert printed.startswith("begin 3\n")
    assert (folder / "store" / "answers.jsonl").read_bytes() == b"".join(lines)


def test_batches_cover_every_image_once() -> None:
    for count in (1, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH):
        covered = [image for rows in batches(count) for image in range(rows.start, rows.stop)]
        assert covered == list(range(count))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="cannot be written"):
        small_store(tmp_path / "model" / "task").__enter__()


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "task").write_text("a file")
    with pytest.raises(StoreError, match="task: cannot be written"):
        small_store(tmp_path / "task").__enter__()


def test_images_of_an_earlier_sitting_are_not_counted_as_this_ones(tmp_path: Path) -> None:
    folder = tmp_path / "model" / "task"
    with small_store(folder) as store:
        store.append(PREFILL, 0, answers(slice(0, BATCH)))
        assert store.appended(PREFILL) == BATCH
    with small_store(folder) as store:
        assert store.appended(PREFILL) == 0
        store.append(PREFILL, 1, answers(slice(BATCH, BATCH + 6)))
        assert (store.appended(PREFILL), store.appended("variants")) == (6, 0)
