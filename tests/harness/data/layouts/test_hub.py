"""Data sets of the hub: read from copies on this machine, and over HTTP from a stand-in of the hub."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants
from PIL import Image

from harness.data.dataset import DataError
from harness.data.fetch import hub_repository
from harness.data.sources import load_dataset
from tasks import catalog
from tests.hub_server import COMMIT, Hub, Repository, hub

datasets = pytest.importorskip("datasets", reason="the extra `hub` is not installed")

SPLITS = {"train": {"split": "train"}, "val": {"split": "validation"}, "test": {"split": "test"}}
SIZES = {"train": 8, "validation": 4, "test": 4}
ROOT = Path(__file__).parents[4]


def hub_source(**changes: Any) -> dict[str, Any]:
    return {
        "layout": "hub",
        "repository": "clinic/lumps",
        "revision": COMMIT,
        "splits": SPLITS,
    } | changes


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def columns(build: ModuleType, first: int, count: int) -> dict[str, list[Any]]:
    places = range(first, first + count)
    return {
        "image": [{"bytes": png(build.noise(i)), "path": None} for i in places],
        "label": [i % 2 for i in places],
        "patient": [f"p{i // 2}" for i in places],
        "name": [f"scan {i}.png" for i in places],
    }


def features(build: ModuleType, **changes: Any) -> Any:
    known = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=list(build.CLASSES)),
        "patient": datasets.Value("string"),
        "name": datasets.Value("string"),
    }
    return datasets.Features(known | changes)


def write_parquet(
    build: ModuleType, folder: Path, replaced: Mapping[str, Any] | None = None, **types: Any
) -> Path:
    """Write a data set as the hub keeps it; `replaced` holds columns of the test split."""
    folder.mkdir(parents=True, exist_ok=True)
    first = 0
    for split, count in SIZES.items():
        content = columns(build, first, count)
        for column, values in (replaced or {}).items():
            content[column] = values if split == "test" else content.get(column, values[:1] * count)
        kept = {name: feature for name, feature in features(build, **types).items() if name in content}
        table = datasets.Dataset.from_dict(content, features=datasets.Features(kept))
        table.to_parquet(str(folder / f"{split}-00000-of-00001.parquet"))
        first += count
    return folder


@pytest.fixture(autouse=True)
def _no_bars() -> Iterator[None]:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def test_a_copy_in_a_data_directory_is_read_as_it_was_published(build: ModuleType, tmp_path: Path) -> None:
    write_parquet(build, tmp_path / "clinic--lumps")
    data = load_dataset(build.make_task(hub_source()), data_dir=tmp_path, offline=True)
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [8, 4, 4]
    assert [(s.id, s.label) for s in data.split("test")] == [(f"test/{i:06d}", i % 2) for i in range(4)]
    for number, sample in enumerate((*data.split("train"), *data.split("val"), *data.split("test"))):
        expected = np.repeat(build.noise(number)[..., None], 3, axis=2)
        np.testing.assert_array_equal(np.asarray(data.read(sample)), expected)
    assert data.report.grouped_by == "near-duplicates"


def test_pixels_keep_their_depth(build: ModuleType, tmp_path: Path) -> None:
    grey = [np.full((20, 20), 257 * (i + 1), np.uint16) for i in range(4)]
    grey = [
        picture + build.noise(40 + i, (20, 20)).astype(np.uint16) * 257 // 2 for i, picture in enumerate(grey)
    ]
    write_parquet(build, tmp_path / "lumps", {"image": [{"bytes": png(p), "path": None} for p in grey]})
    data = load_dataset(build.make_task(hub_source()), data_dir=tmp_path, offline=True)
    for sample, pixels in zip(data.split("test"), grey, strict=True):
        shown = np.asarray(data.read(sample))[..., 0]
        np.testing.assert_array_equal(shown, np.round(pixels / 257).astype(np.uint8))


def test_an_image_folder(build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = 0
    for split in SIZES:
        for name in build.CLASSES:
            for number in range(3):
                build.save(tmp_path / "lumps" / split / name / f"{number}.png", build.noise(seed))
                seed += 1
    monkeypatch.chdir(tmp_path.parent)
    data = load_dataset(build.make_task(hub_source()), data_dir=Path(tmp_path.name), offline=True)
    assert [s.label for s in data.split("test")] == [0, 0, 0, 1, 1, 1]
    last = np.asarray(data.read(data.split("test")[-1]))[..., 0]
    np.testing.assert_array_equal(last, build.noise(17))


def test_patients_and_ids_come_from_their_columns(build: ModuleType, tmp_path: Path) -> None:
    patients = ["p0", "x", "x", ""]  # p0 is in training too
    write_parquet(build, tmp_path / "lumps", {"patient": patients})
    source = hub_source(group_column="patient", id_column="name")
    data = load_dataset(build.make_task(source), data_dir=tmp_path, offline=True)
    test = data.split("test")
    assert [s.id for s in test] == [f"test/scan {i}.png" for i in range(12, 16)]
    assert test[1].group == test[2].group != test[0].group
    assert data.report.grouped_by == "patient_id and near-duplicates"
    assert (data.report.dropped_train, len(data.split("train"))) == (2, 6)


def test_labels_may_be_names_or_numbers(build: ModuleType, tmp_path: Path) -> None:
    names = [build.CLASSES[i % 2] for i in (1, 0, 1, 1)]
    write_parquet(build, tmp_path / "a", {"diagnosis": names}, diagnosis=datasets.Value("string"))
    write_parquet(build, tmp_path / "b", {"label": [1, 0, 1, 1]}, label=datasets.Value("int64"))
    by_name = hub_source(repository="clinic/a", label_column="diagnosis")
    for source in (by_name, hub_source(repository="clinic/b")):
        task = build.make_task(source | {"splits": {"test": {"split": "test"}}})
        data = load_dataset(task, data_dir=tmp_path, offline=True)
        assert [s.label for s in data.split("test")] == [1, 0, 1, 1]


def test_official_by_commit_and_fingerprint(build: ModuleType, tmp_path: Path) -> None:
    write_parquet(build, tmp_path / "lumps")

    def loaded(**changes: Any) -> Any:
        return load_dataset(build.make_task(hub_source(**changes)), data_dir=tmp_path, offline=True)

    found = loaded()
    assert not found.official
    assert loaded(fingerprint=found.fingerprint).official
    assert not loaded(fingerprint="0" * 64).official
    write_parquet(build, tmp_path / "lumps", {"label": [0, 1, 1, 1]})
    assert not loaded(fingerprint=found.fingerprint).official


def test_a_changed_copy_is_read_anew(build: ModuleType, tmp_path: Path) -> None:
    task = build.make_task(hub_source())
    write_parquet(build, tmp_path / "lumps")
    before = load_dataset(task, data_dir=tmp_path, offline=True)
    other = [{"bytes": png(build.noise(90 + i)), "path": None} for i in range(4)]
    write_parquet(build, tmp_path / "lumps", {"image": other})
    after = load_dataset(task, data_dir=tmp_path, offline=True)
    assert after.fingerprint != before.fingerprint
    np.testing.assert_array_equal(np.asarray(after.read(after.split("test")[0]))[..., 0], build.noise(90))


def huge() -> bytes:
    """Return a small file that says it holds more pixels than are decoded."""
    stream = io.BytesIO()
    Image.new("1", (9000, 9000)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("changes", "replaced", "types", "message"),
    [
        ({"image_column": "picture"}, {}, {}, "split `train`: no column `picture`; there are image, label"),
        ({"label_column": "patient"}, {}, {}, r"`patient`\[0\] is `p0`; the task's classes are benign, malignant"),
        ({"image_column": "name"}, {}, {}, r"`name` holds Value.*; it must hold images"),
        ({"splits": {"test": {"split": "dev"}}}, {}, {}, "no split `dev`; there are train, validation, test"),
        ({"configuration": "large"}, {}, {}, "BuilderConfig 'large' not found"),
        (
            {},
            {},
            {"label": datasets.ClassLabel(names=["malignant", "benign"])},
            "has the classes malignant, benign, but the task's are benign, malignant",
        ),
        ({}, {"label": [0, 1, 2, 0]}, {"label": datasets.Value("int8")}, r"`label`\[2\] is `2`; .* are 0 to 1"),
        ({}, {"label": [0, 1, -1, 0]}, {}, r"`label`\[2\] is `-1`"),
        ({}, {"label": [0, 1, None, 0]}, {}, r"`label`\[2\] is empty"),
        ({}, {"label": [0.0, 1.0, 0.5, 0.0]}, {"label": datasets.Value("float32")}, "labels are classes, whole"),
        ({"id_column": "name"}, {"name": ["a", "b", "a", "c"]}, {}, r"`name`\[2\]: `a` stands in row 0 already"),
        ({"id_column": "name"}, {"name": ["a", "b\nc", "d", "e"]}, {}, r"`name`\[1\]: an id must be"),
        ({}, {"image": [{"bytes": b"GIF", "path": None}] * 4}, {}, r"`image`\[0\]: no image, or cut off"),
        ({}, {"image": [{"bytes": huge(), "path": None}] * 4}, {}, "is larger than the limit of 64000000 pixels"),
        ({}, {"image": [{"bytes": None, "path": "/etc/passwd"}] * 4}, {}, "holds the path of a file outside"),
        ({}, {"image": [None] * 4}, {}, r"`image`\[0\]: no image in this row"),
    ],
)  # fmt: skip
def test_refused_with_the_place(
    build: ModuleType,
    tmp_path: Path,
    changes: dict[str, Any],
    replaced: dict[str, Any],
    types: dict[str, Any],
    message: str,
) -> None:
    write_parquet(build, tmp_path / "lumps", replaced, **types)
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(build.make_task(hub_source(**changes)), data_dir=tmp_path, offline=True)
    assert str(caught.value).startswith(f"clinic/lumps@{COMMIT}")
    assert "\n" not in str(caught.value)


def test_files_elsewhere_and_other_formats_are_not_read(build: ModuleType, tmp_path: Path) -> None:
    elsewhere = write_parquet(build, tmp_path / "private") / "test-00000-of-00001.parquet"
    folder = write_parquet(build, tmp_path / "lumps")
    config = {
        "configs": [{"config_name": "default", "data_files": [{"split": "test", "path": str(elsewhere)}]}]
    }
    (folder / "README.md").write_text(f"---\n{json.dumps(config)}\n---\n")
    task = build.make_task(hub_source(splits={"test": {"split": "test"}}))
    with pytest.raises(DataError, match=r"its description names a file elsewhere, .*private"):
        load_dataset(task, data_dir=tmp_path, offline=True)
    for path in folder.iterdir():
        path.unlink()
    (folder / "picture.png").write_bytes(b"")
    for number in range(3):
        (folder / f"{number}.csv").write_text("image,label\na,0\n")
    with pytest.raises(DataError, match="are read as `csv`; only Parquet files and image folders"):
        load_dataset(task, data_dir=tmp_path, offline=True)


def test_a_broken_file_names_the_repository(build: ModuleType, tmp_path: Path) -> None:
    folder = write_parquet(build, tmp_path / "lumps")
    path = folder / "test-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=rf"clinic/lumps@{COMMIT} in .*lumps: cannot be read: .*[Pp]arquet"):
        load_dataset(build.make_task(hub_source()), data_dir=tmp_path, offline=True)


def test_without_the_extra_it_is_named(build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install 'mllm-harness\[hub\]'"):
        load_dataset(build.make_task(hub_source()))


@pytest.fixture
def served() -> Iterator[Hub]:
    with hub() as found:
        yield found


LOAD = """
import json, sys
from harness.data.dataset import DataError
from harness.data.sources import load_dataset
from tasks.spec import TaskSpec
task, options = TaskSpec.model_validate(json.loads(sys.argv[1])), json.loads(sys.argv[2])
try:
    data = load_dataset(task, **options)
except DataError as error:
    sys.exit(f"error: {error}")
print(json.dumps({"samples": [[s.id, s.label, s.pixel_hash] for s in data.samples], "at": data.location}))
"""


class Reader:
    """Loads a task in a process of its own, whose hub is the stand-in."""

    def __init__(self, build: ModuleType, server: Hub, home: Path) -> None:
        self._build, self._server, self._home = build, server, home

    def __call__(self, *, expect: int = 0, revision: str = COMMIT, **options: Any) -> tuple[Any, list[str]]:
        """Return what was loaded (or the error), and the paths that were asked for."""
        task = self._build.make_task(hub_source(revision=revision)).model_dump(mode="json", exclude_none=True)
        before = len(self._server.requests)
        done = subprocess.run(
            [sys.executable, "-c", LOAD, json.dumps(task), json.dumps(options)],
            env=os.environ | self._server.environment(str(self._home / ".cache")),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expect, done.stderr
        asked = [path for _, path in self._server.requests[before:]]
        if expect == 0:
            assert done.stderr == ""
            return json.loads(done.stdout), asked
        return done.stderr, asked


@pytest.fixture
def read(build: ModuleType, served: Hub, tmp_path: Path) -> Reader:
    return Reader(build, served, tmp_path)


def repository(folder: Path, **more: bytes) -> Repository:
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return Repository(files | {name.replace("__", "."): data for name, data in more.items()})


def test_fetched_once_and_then_found_without_a_request(
    build: ModuleType, read: Reader, served: Hub, tmp_path: Path
) -> None:
    folder = write_parquet(build, tmp_path / "data" / "lumps")
    more = {"README__md": b"---\nlicense: mit\n---\n", "lumps__py": b"raise SystemExit", "weights__bin": b"0"}
    served.repositories["datasets/clinic/lumps"] = repository(folder, **more)
    found, asked = read()
    wanted = {*(f"{split}-00000-of-00001.parquet" for split in SIZES), "README.md"}
    assert {path.rsplit("/", 1)[1] for path in asked if "/resolve/" in path} == wanted
    local = load_dataset(build.make_task(hub_source()), data_dir=tmp_path / "data", offline=True)
    assert found["samples"] == [[s.id, s.label, s.pixel_hash] for s in local.samples]
    assert COMMIT in found["at"]
    for options in ({}, {"offline": True}):
        again, asked = read(**options)
        assert (again["samples"], asked) == (found["samples"], [])


def test_a_branch_is_asked_for_again_unless_offline(
    build: ModuleType, read: Reader, served: Hub, tmp_path: Path
) -> None:
    served.repositories["datasets/clinic/lumps"] = repository(write_parquet(build, tmp_path / "data"))
    first, _ = read(revision="main")
    _, asked = read(revision="main")
    assert "/api/datasets/clinic/lumps/revision/main" in asked
    again, asked = read(revision="main", offline=True)
    assert (again["samples"], asked) == (first["samples"], [])


@pytest.mark.parametrize(
    ("found", "offline", "message"),
    [
        (None, True, "not on this machine, and offline nothing is fetched"),
        (None, False, r"the hub refuses it \(404\)"),
        (Repository({"a.parquet": b""}, gated=True), False, r"the hub refuses it \(403\).*`hf auth login`"),
        (Repository({"a.csv": b""}), False, "holds neither Parquet files nor images"),
    ],
)
def test_what_the_hub_refuses_is_one_line(
    read: Reader, served: Hub, found: Repository | None, offline: bool, message: str
) -> None:
    if found is not None:
        served.repositories["datasets/clinic/lumps"] = found
    error, asked = read(expect=1, offline=offline)
    assert re.fullmatch(rf"error: clinic/lumps@{COMMIT}: {message}.*\n", error)
    assert len(asked) == (0 if offline else 1)


@pytest.mark.slow  # the client tries again for half a minute
def test_a_hub_that_cannot_be_reached(read: Reader, served: Hub) -> None:
    served.address = "http://127.0.0.1:9"
    error, _ = read(expect=1)
    assert error.splitlines()[-1].startswith(
        f"error: clinic/lumps@{COMMIT}: the hub cannot be reached (ConnectError)"
    )


def test_the_documented_task_is_good(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "hub.md").read_text().split("```yaml\n")[1].split("```")[0]
    (tmp_path / "lumps.yaml").write_text(text)
    source = catalog.load(tmp_path / "lumps.yaml").source
    assert source.layout == "hub"
    assert source.is_pinned


def test_large_downloads_are_agreed_to(
    build: ModuleType, served: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # tests are offline unless they serve a hub
    monkeypatch.setattr(hub_repository, "_size_on_hub", lambda source: 201_000_000)
    monkeypatch.setattr(hub_repository, "_cached", lambda source, offline: None)
    source = build.make_task(hub_source()).source
    with pytest.raises(
        DataError, match=r"a download of 201 MB from the hub; agree with --yes, or put a copy"
    ):
        hub_repository.check_hub(source, (Path("/data"),), offline=False, assume_yes=False)
    hub_repository.check_hub(source, (Path("/data"),), offline=False, assume_yes=True)
