from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from harness.cli.report import report_command
from harness.data.dataset import DataError, Sample
from harness.data.sources import load_dataset
from harness.report.pictures import SIDE, read_pictures, shipped_task
from leaderboard.record.record import Record
from leaderboard.record.samples import SampleLine
from tasks import catalog
from tests.harness.report.results import few_figures, filed
from tests.leaderboard.lines import sample


@pytest.fixture(scope="module")
def drawn() -> tuple[Sample, ...]:
    return load_dataset(catalog.load("phantom-200"), offline=True).split("test")


def content_of(name: str) -> dict[str, object]:
    task = catalog.load(name)
    content = few_figures(classes=[c.name for c in task.classes])
    content["task"] |= {"name": name, "version": task.version, "n_test": 3}
    return content


def record_of(name: str) -> Record:
    return Record.model_validate(content_of(name))


def line_of(image: Sample, **changes: object) -> SampleLine:
    held = {"id": image.id, "pixel_hash": image.pixel_hash} | changes
    return sample("test", 0, image.label, [0.1, 0.5, 0.2, 0.1, 0.1], group=image.group, **held)


def picture(address: str) -> np.ndarray:
    kind, _, code = address.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(code))).convert("RGB"))


def test_a_picture_is_the_one_that_was_asked_about(drawn: tuple[Sample, ...]) -> None:
    dataset = load_dataset(catalog.load("phantom-200"), offline=True)
    found = read_pictures(record_of("phantom-200"), [line_of(drawn[5]), line_of(drawn[9])])
    assert set(found.by_id) == {drawn[5].id, drawn[9].id}
    assert found.reason is None
    for image in (drawn[5], drawn[9]):
        np.testing.assert_array_equal(picture(found.by_id[image.id]), np.asarray(dataset.read(image)))


def test_a_picture_of_other_pixels_or_of_no_image_is_not_shown(drawn: tuple[Sample, ...]) -> None:
    trained_on = load_dataset(catalog.load("phantom-200"), offline=True).split("train")[0]
    lines = [
        line_of(drawn[0]),
        line_of(drawn[1], pixel_hash=drawn[2].pixel_hash),
        line_of(drawn[3], id="../../etc/passwd"),
        line_of(trained_on),
    ]
    found = read_pictures(record_of("phantom-200"), lines)
    assert set(found.by_id) == {drawn[0].id}
    assert found.reason is not None
    assert found.reason.startswith("The pictures of 3 images are not shown")


def test_pixels_that_may_not_be_passed_on_never_are(tmp_path: Path) -> None:
    """Although the data lie there, and were asked for by name."""
    forbidden = [name for name in catalog.shipped_names() if not catalog.load(name).redistribute_pixels]
    assert "covid19_ct" in forbidden
    for name in forbidden:
        found = read_pictures(record_of(name), [sample("test", 0, 0, [0.1, 0.2], group="0")], tmp_path)
        assert not found.by_id
        assert "licence" in (found.reason or "")
    folder = filed(
        tmp_path / "r",
        [sample("test", i, 0, [0.1, 0.2], group="0") for i in range(3)],
        content_of("covid19_ct"),
    )
    done = CliRunner().invoke(
        report_command,
        [str(folder), "--data-dir", str(tmp_path)],
        catch_exceptions=False,
        standalone_mode=False,
    )
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "No pictures: the licence of covid19_ct does not allow its pixels to be passed on." in done.stderr
    assert "does not allow its pixels to be passed on" in page
    assert "<img" not in page


def test_a_task_that_does_not_come_with_the_harness_shows_no_pixels() -> None:
    record = record_of("phantom-200")
    for changes in ({"name": "mine"}, {"version": 99}, {"name": "../phantom-200"}, {"classes": ("a", "b")}):
        other = record.model_copy(update={"task": record.task.model_copy(update=changes)})
        assert shipped_task(other) is None
        assert not read_pictures(other, []).by_id
    assert shipped_task(record) == catalog.load("phantom-200")


def test_data_that_were_asked_for_and_are_not_there_stop_the_report(tmp_path: Path) -> None:
    folder = filed(
        tmp_path / "r",
        [sample("test", i, 0, [0.1, 0.2, 0.3], group="0") for i in range(3)],
        content_of("busi"),
    )
    with pytest.raises(DataError, match="--data-dir does not exist"):
        CliRunner().invoke(
            report_command,
            [str(folder), "--data-dir", str(tmp_path / "none")],
            catch_exceptions=False,
            standalone_mode=False,
        )
    assert not (folder / "report.html").exists()


def test_pictures_are_in_the_page_only_where_they_were_asked_for(
    tmp_path: Path, drawn: tuple[Sample, ...]
) -> None:
    folder = filed(tmp_path, [line_of(image) for image in drawn[:3]], content_of("phantom-200"))
    for arguments, count in (([], 0), (["--images"], 3)):
        CliRunner().invoke(
            report_command, [str(folder), *arguments], catch_exceptions=False, standalone_mode=False
        )
        page = (folder / "report.html").read_text(encoding="utf-8")
        shown = [picture(address) for address in re.findall(r'<img src="([^"]*)"', page)]
        assert [one.shape for one in shown] == [
            (64, 64, 3)
        ] * count  # whole: a picture's address is a long string
        assert ("Pictures are added with --images" in page) == (count == 0)


def test_a_large_picture_is_made_smaller() -> None:
    from harness.report.pictures import _address

    colours = np.random.default_rng(0).integers(0, 256, size=(300, 700, 3), dtype=np.uint8)
    assert picture(_address(Image.fromarray(colours))).shape == (round(SIDE * 3 / 7), SIDE, 3)
