"""Result folders read whole, and results that cannot be compared refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from leaderboard.compare.contrasts import MEDICAL, answer_contrast
from leaderboard.compare.measured import Measured, read_measured
from leaderboard.record.record import Record, RecordError, dump_record
from leaderboard.record.samples import ProbeLine, SampleLine, dump_lines
from tests.leaderboard.lines import made_up
from tests.leaderboard.results import VAL, answered, first_right, record


def changed(measured: Measured, place: int, **changes: object) -> Measured:
    samples = list(measured.samples)
    samples[VAL + place] = samples[VAL + place].model_copy(update=changes)
    return replace(measured, name="zoo/y", samples=tuple(samples))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": "test/x"}, r"test image 8 \(test/00007\): id 'test/00007' and 'test/x'"),
        ({"pixel_hash": "1"}, r"test image 8 \(test/00007\): pixel_hash '0' and '1'"),
        ({"label": 9}, r"test image 8 \(test/00007\): label \d and 9"),
        ({"group": "0"}, r"test image 8 \(test/00007\) is grouped with others"),
    ],
)
def test_other_test_images_are_refused(changes: dict[str, object], said: str) -> None:
    one = answered(first_right(20, of=30))
    other = changed(changed(one, 7, **changes), 12, **changes)
    with pytest.raises(RecordError, match=f"zoo/x and zoo/y cannot be compared: {said}"):
        answer_contrast(MEDICAL, one, other)


def test_fewer_test_images_and_other_tasks_are_refused() -> None:
    one = answered(first_right(20, of=30))
    with pytest.raises(RecordError, match="30 and 29 test images"):
        answer_contrast(MEDICAL, one, replace(one, samples=one.samples[:-1]))
    for what, value in (("name", "other"), ("version", 2), ("classes", ("a", "b"))):
        task = one.record.task.model_copy(update={what: value})
        other = replace(one, record=one.record.model_copy(update={"task": task}))
        with pytest.raises(RecordError, match=f"task {what} .* and "):
            answer_contrast(MEDICAL, one, other)
    nothing = replace(one, samples=one.samples[:VAL])
    with pytest.raises(RecordError, match="no test image"):
        answer_contrast(MEDICAL, nothing, nothing)


def test_group_names_alone_may_differ() -> None:
    one = answered(first_right(20, of=30), 3)
    renamed = [line.model_copy(update={"group": f"p{line.group}"}) for line in one.samples]
    assert answer_contrast(MEDICAL, one, replace(one, samples=tuple(renamed))).value == 0


def filed(folder: Path, kept: Record, samples: Sequence[SampleLine], probes: Sequence[ProbeLine]) -> Path:
    (folder / "record.json").write_text(dump_record(kept))
    (folder / "samples.jsonl").write_text(dump_lines(samples))
    (folder / "probes.jsonl").write_text(dump_lines(probes))
    return folder


def test_a_result_folder_is_read_as_it_was_filed(tmp_path: Path) -> None:
    run = made_up(sizes={"train": 20, "val": 10, "test": 30})
    kept = record(30)
    found = read_measured(filed(tmp_path, kept, run.samples, run.lines))
    assert found == Measured("zoo/x", kept, run.samples, run.lines)
    assert list(found.test) == run.test()
    tuned = read_measured(filed(tmp_path, record(30, condition="lora"), run.samples, ()))
    assert (tuned.name, tuned.probes) == ("zoo/x@lora", ())
    assert "SampleLine" not in repr(found)


def test_a_folder_whose_files_do_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    run = made_up(sizes={"train": 20, "val": 10, "test": 30})
    filed(tmp_path, record(31), run.samples, run.lines)
    with pytest.raises(RecordError, match=r"samples\.jsonl: 30 test images, but record\.json says 31"):
        read_measured(tmp_path)
    filed(tmp_path, record(31, status="partial"), run.samples, run.lines)
    assert len(read_measured(tmp_path).test) == 30
    short = run.lines[3].model_copy(update={"predictions": (0, 1)})
    filed(tmp_path, record(30), run.samples, (*run.lines[:3], short, *run.lines[4:]))
    with pytest.raises(RecordError, match=r"probes\.jsonl:4: 2 predictions at vision\.01 on val"):
        read_measured(tmp_path)
    filed(tmp_path, record(30, status="partial"), run.samples[:30], ())
    with pytest.raises(RecordError, match=r"samples\.jsonl: no line of a test image"):
        read_measured(tmp_path)
    (tmp_path / "probes.jsonl").write_bytes(b"\xff{")
    with pytest.raises(RecordError, match=r"probes\.jsonl:1"):
        read_measured(tmp_path)
    (tmp_path / "probes.jsonl").unlink()
    with pytest.raises(RecordError, match=r"probes\.jsonl: cannot be read"):
        read_measured(tmp_path)
