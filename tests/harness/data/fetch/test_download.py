"""Downloads from a real server on this machine: checked, refused, kept out of the cache where wrong."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from harness.data.dataset import DataError
from harness.data.fetch.download import LARGE
from harness.data.locate import data_folder
from harness.data.progress import silent
from harness.data.sources import load_dataset


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        return


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Serve a folder; return it and its address."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_download_is_official_and_used_again(build: ModuleType, served: tuple[Path, str]) -> None:
    folder, address = served
    data = build.write_npz(folder / "set.npz").read_bytes()
    task = build.npz_task(f"{address}/set.npz", hashlib.md5(data).hexdigest(), len(data))
    counted = []

    def step(title: str, total: int, unit: str = "images") -> object:
        counted.append((title, total, unit))
        return silent(title, total, unit)

    first = load_dataset(task, progress=step)
    assert first.official
    assert first.location == str(data_folder() / "set.npz")
    assert ("downloading set.npz", len(data), "bytes") in counted
    (folder / "set.npz").unlink()
    assert load_dataset(task, offline=True).samples == first.samples


def test_a_file_with_a_wrong_md5_stays_out_of_the_cache(build: ModuleType, served: tuple[Path, str]) -> None:
    folder, address = served
    build.write_npz(folder / "set.npz")
    task = build.npz_task(f"{address}/set.npz", "0" * 32, 1000)
    with pytest.raises(DataError, match=r"set\.npz: .*gave another file than the published one") as caught:
        load_dataset(task)
    assert "\n" not in str(caught.value)
    assert list(data_folder().rglob("*.npz")) == []


def test_a_missing_file_and_a_dead_server(build: ModuleType, served: tuple[Path, str]) -> None:
    for address in (served[1], "http://127.0.0.1:1"):
        with pytest.raises(DataError, match=r"set\.npz: download from .* failed") as caught:
            load_dataset(build.npz_task(f"{address}/set.npz", "0" * 32, 1000))
        assert "\n" not in str(caught.value)
    assert list(data_folder().rglob("*")) == []


def test_offline_refuses(build: ModuleType, served: tuple[Path, str]) -> None:
    task = build.npz_task(f"{served[1]}/set.npz", "0" * 32, 1000)
    with pytest.raises(DataError, match=r"set\.npz: not found, and --offline forbids .*--data-dir"):
        load_dataset(task, offline=True)


@pytest.mark.parametrize(("size", "said"), [(LARGE + 1, "200 MB"), (None, "unknown size")])
def test_large_downloads_need_consent(
    build: ModuleType, served: tuple[Path, str], size: int | None, said: str
) -> None:
    folder, address = served
    data = build.write_npz(folder / "set.npz").read_bytes()
    task = build.npz_task(f"{address}/set.npz", hashlib.md5(data).hexdigest(), size)
    with pytest.raises(DataError, match=f"a download of {said}.*--yes"):
        load_dataset(task)
    assert load_dataset(task, assume_yes=True).official


def test_no_address(build: ModuleType) -> None:
    with pytest.raises(
        DataError, match=r"set\.npz: not found, and the task has no address.*put the file into"
    ):
        load_dataset(build.npz_task())
