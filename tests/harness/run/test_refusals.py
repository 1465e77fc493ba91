"""Bad input gets one clear line, the right exit status, and leaves nothing half-written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.harness.conftest import harness

MODEL = ["--models", "zoo/llava-healthy"]


def _refused(*arguments: str, folder: Path, status: int, **environment: str) -> str:
    done = harness("eval", *arguments, "--output", "out", "--offline", folder=folder, **environment)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "out").exists()
    return done.stderr


def _npz(path: Path, **replaced: np.ndarray) -> None:
    """Write a small file in the layout of BreastMNIST; arrays can be replaced, None leaves one out."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split, count in (("train", 20), ("val", 8), ("test", 10)):
        arrays[f"{split}_images"] = rng.integers(0, 255, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 2)[:, None].astype(np.uint8)
    arrays |= replaced
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def test_unknown_task_names_the_nearest(tmp_path: Path) -> None:
    said = _refused("--tasks", "pathmnis", *MODEL, folder=tmp_path, status=2)
    assert "did you mean `pathmnist`" in said
    assert len(said.strip().splitlines()) == 1


def test_unknown_model_names_the_nearest(tmp_path: Path) -> None:
    said = _refused("--tasks", "phantom-200", "--models", "zoo/llava-helthy", folder=tmp_path, status=2)
    assert "zoo/llava-healthy" in said
    assert len(said.strip().splitlines()) == 1


def test_misspelt_key_is_named_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: phantom\nid: mine\nlicense: MIT\n", encoding="utf-8")
    said = _refused("--tasks", "mine.yaml", *MODEL, folder=tmp_path, status=2)
    assert "mine.yaml:3" in said
    assert "licence" in said


def test_missing_data_say_where_to_put_them(tmp_path: Path) -> None:
    said = _refused(
        "--tasks", "busi", *MODEL, folder=tmp_path, status=1, HARNESS_CACHE_DIR=str(tmp_path / "cache")
    )
    assert "--data-dir" in said


def test_npz_with_wrong_keys(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    _npz(data / "breastmnist.npz", test_images=None, pictures=np.zeros(3))  # type: ignore[arg-type]
    said = _refused("--tasks", "breastmnist", *MODEL, "--data-dir", "data", folder=tmp_path, status=1)
    assert "test_images" in said
    assert "pictures" in said


def test_labels_outside_the_classes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    _npz(data / "breastmnist.npz", test_labels=np.full((10, 1), 7, dtype=np.uint8))
    said = _refused("--tasks", "breastmnist", *MODEL, "--data-dir", "data", folder=tmp_path, status=1)
    assert "7" in said


def test_truncated_npz(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    _npz(data / "breastmnist.npz")
    whole = (data / "breastmnist.npz").read_bytes()
    (data / "breastmnist.npz").write_bytes(whole[: len(whole) // 2])
    said = _refused("--tasks", "breastmnist", *MODEL, "--data-dir", "data", folder=tmp_path, status=1)
    assert "breastmnist.npz" in said


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_damaged_image_is_named(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "data" / "busi"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = ["file,label,split,patient_id"]
    for split in ("train", "val", "test"):
        for label in ("normal", "benign", "malignant"):
            for number in range(4):
                name = f"{split}-{label}-{number}.png"
                Image.fromarray(rng.integers(0, 255, (32, 32), dtype=np.uint8)).save(folder / name)
                rows.append(f"{name},{label},{split},")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    broken = folder / "test-benign-2.png"
    if damage == "missing":
        broken.unlink()
    else:
        broken.write_bytes(broken.read_bytes()[:200])
    said = _refused("--tasks", "busi", *MODEL, "--data-dir", "data", folder=tmp_path, status=1)
    assert "test-benign-2.png" in said


def test_folder_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = _refused("--tasks", "phantom-200", "--models", "empty", folder=tmp_path, status=2)
    assert "config.json" in said


def test_model_with_truncated_weights(tmp_path: Path) -> None:
    done = harness("zoo", "build", "models", "--only", "llava-healthy", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    weights = tmp_path / "models" / "llava-healthy" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    said = _refused("--tasks", "phantom-200", "--models", "models/llava-healthy", folder=tmp_path, status=1)
    assert "llava-healthy" in said


def test_no_room_in_the_output_folder(tmp_path: Path) -> None:
    # A file where a folder must be, and a folder that may not be written: the errors a full disk shares.
    (tmp_path / "out").write_text("", encoding="utf-8")
    done = harness("eval", "--tasks", "phantom-200", *MODEL, "--output", "out", folder=tmp_path)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "out" in done.stderr


def test_full_disk_is_one_line_before_any_work(tmp_path: Path) -> None:
    # A limit on the size of files makes the reservation for features fail as a full disk does.
    command = [sys.executable, "-m", "harness", "eval", "--tasks", "phantom-200", *MODEL, "--output", "out"]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 512; exec "$@"', "-", *command],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "make room" in done.stderr
    assert not list((tmp_path / "out").rglob("features.safetensors"))


def test_named_model_that_cannot_run_fails_and_the_rest_runs(tmp_path: Path) -> None:
    done = harness("zoo", "build", "models", "--only", "llava-healthy", folder=tmp_path)
    assert done.returncode == 0
    broken = tmp_path / "models" / "broken"
    shutil.copytree(tmp_path / "models" / "llava-healthy", broken)
    (broken / "model.safetensors").write_bytes(b"no weights")
    both = "models/broken,models/llava-healthy"
    few = ["--limit", "8", "--no-probe"]
    done = harness(
        "eval", "--tasks", "phantom-200", "--models", both, *few, "--output", "out", folder=tmp_path
    )
    assert done.returncode == 1
    assert (tmp_path / "out" / "llava-healthy" / "phantom-200" / "record.json").exists()
    assert "broken on phantom-200: failed" in done.stdout
