"""What a board takes and what it refuses, each refusal naming the field."""

from __future__ import annotations

import gzip
import shutil
import tracemalloc
from pathlib import Path

import pytest

from leaderboard.board.entry import read_entry
from leaderboard.board.folder import BoardFolder, open_board
from leaderboard.record.record import RecordError, read_record
from leaderboard.verify.sample_checks import check_ways
from leaderboard.verify.submission import Limits, read_submission
from leaderboard.verify.submit import submit
from leaderboard.verify.verify import verify
from tests.leaderboard.made_submission import (
    FINISHED,
    made_board,
    made_record,
    made_result,
    made_run,
    small_task,
    write_result,
)
from tests.leaderboard.verify.json_edits import HOSTILE
from tests.leaderboard.verify.rewriting import in_record, read_content, refusal
from tests.leaderboard.verify.wrong_results import CASES

ENTRY = "clinic--model/lumps"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_result(tmp_path_factory.mktemp("made") / "result")


@pytest.fixture
def result(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "result"))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_board(tmp_path_factory.mktemp("begun") / "board").path


@pytest.fixture
def board(begun: Path, tmp_path: Path) -> BoardFolder:
    return open_board(Path(shutil.copytree(begun, tmp_path / "board")))


def test_a_right_result_becomes_an_entry_that_verifies(result: Path, board: BoardFolder) -> None:
    folder = submit(result, board)
    assert folder == board.path / "entries" / ENTRY
    assert sorted(path.name for path in folder.iterdir()) == [
        "entry.json",
        "probes.jsonl.gz",
        "record.json",
        "samples.jsonl.gz",
    ]
    for name in ("samples.jsonl", "probes.jsonl"):
        assert gzip.decompress((folder / f"{name}.gz").read_bytes()) == (result / name).read_bytes()
    assert read_record(folder / "record.json") == read_record(result / "record.json")
    entry = read_entry(folder)
    assert (entry.state, entry.official_data, entry.rerun) == ("recomputed", True, None)
    assert {"permutation", "floors.permutation_p", "configuration", "cost"} <= set(entry.declared)
    assert not {"answers", "health", "diagnosis", "probes", "task.n_train"} & set(entry.declared)
    assert [(one.folder, one.problem) for one in verify(board)] == [(f"entries/{ENTRY}", None)]


def test_a_result_without_probes_is_taken(tmp_path: Path, board: BoardFolder) -> None:
    whole = made_run()
    answers = type(whole)(whole.samples, ())
    nothing = dict.fromkeys(
        ("health", "permutation", "diagnosis", "floors", "answer_target", "similarity", "projection")
    )
    record = made_record(whole, probes=(), **nothing)
    folder = submit(write_result(tmp_path / "r", record, answers), board)
    assert "permutation" not in read_entry(folder).declared
    assert read_record(folder / "record.json").answers == record.answers


def test_a_result_that_is_read_from_the_text_is_taken_and_says_so(tmp_path: Path, board: BoardFolder) -> None:
    run = made_run(headline="generated")
    record = made_record(run, headline="generated")
    folder = submit(write_result(tmp_path / "r", record, run), board)
    found = read_record(folder / "record.json")
    assert found.answers is not None
    assert found.answers.outcomes.no_answer > 0
    assert found.diagnosis is None
    assert "answers.headline_source" in read_entry(folder).declared


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_refused_and_the_field_named(result: Path, board: BoardFolder, name: str) -> None:
    change, named = CASES[name]
    change(result)
    said = refusal(result, board)
    assert named in said
    assert said.isprintable()
    assert board.entry_folders() == ()


@pytest.mark.parametrize("hostile", [*HOSTILE, "a/b/../c", "x" * 10_000, "LPT1", "clinic/com1.txt", "é"])
def test_a_name_that_is_no_folder_everywhere_is_refused(
    result: Path, board: BoardFolder, hostile: str
) -> None:
    in_record("model.name", hostile)(result)
    assert "record.json: model.name: " in refusal(result, board)


def test_nearly_the_same_scores_under_another_name_are_a_copy(
    result: Path, board: BoardFolder, tmp_path: Path
) -> None:
    submit(result, board)
    copy = Path(shutil.copytree(result, tmp_path / "copy"))
    run = made_run()
    moved = [
        line.model_copy(update={"scores": tuple(s - 0.004 * (line.label == 1) for s in line.scores or ())})
        for line in run.samples
    ]
    shifted = type(run)(tuple(moved), run.lines)
    shutil.rmtree(copy)
    write_result(copy, made_record(shifted, name="evil/copy"), shifted)
    assert (
        "samples.jsonl: the scores of 100% of the test images are those of the entry clinic--model/lumps"
        in (refusal(copy, board))
    )


def test_two_models_about_the_same_images_are_no_copies(
    result: Path, board: BoardFolder, tmp_path: Path
) -> None:
    submit(result, board)
    run = made_run(1)
    other = write_result(tmp_path / "other", made_record(run, name="clinic/other"), run)
    assert refusal(other, board) == ""


def test_hostile_words_elsewhere_are_kept_as_text(result: Path, board: BoardFolder) -> None:
    in_record("provenance.command", " ".join(HOSTILE))(result)
    in_record("model.remarks", HOSTILE)(result)
    in_record("configuration.words", {word: word for word in HOSTILE})(result)
    folder = submit(result, board)
    assert folder == board.path / "entries" / ENTRY
    assert read_record(folder / "record.json").model.remarks == HOSTILE


@pytest.mark.parametrize("official", [True, False])
@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("stated", [True, False])
def test_only_official_data_enter_an_official_board(
    result: Path, tmp_path: Path, official: bool, listed: bool, stated: bool
) -> None:
    if official and not listed:
        with pytest.raises(RecordError, match="not byte for byte"):
            made_board(tmp_path / "board", official=True, official_list=False)
        return
    board = made_board(tmp_path / "board", official=official, official_list=listed)
    in_record("task.official_data", stated)(result)
    said = refusal(result, board)
    if stated and not listed:
        assert "record.json: task.official_data: True: the list of lumps is of unofficial data" in said
    elif official and not stated:
        assert "record.json: task.official_data: False" in said
    else:
        assert said == ""
        assert read_entry(board.path / "entries" / ENTRY).official_data == (listed and stated)


def test_the_same_answers_are_taken_once(result: Path, board: BoardFolder) -> None:
    submit(result, board)
    assert "samples.jsonl: the very same answers are on the board already, as clinic--model/lumps" in refusal(
        result, board, replace=True
    )
    in_record("model.name", "clinic/other")(result)
    assert "samples.jsonl: the very same answers" in refusal(result, board)


def test_spaces_between_the_same_answers_do_not_make_them_others(result: Path, board: BoardFolder) -> None:
    submit(result, board)
    in_record("model.name", "clinic/other")(result)
    text = (result / "samples.jsonl").read_text(encoding="utf-8")
    (result / "samples.jsonl").write_text(text.replace(":", " : "), encoding="utf-8")
    assert "samples.jsonl: the very same answers" in refusal(result, board)


def test_only_a_newer_result_takes_the_place_of_another_and_only_if_told_to(
    tmp_path: Path, board: BoardFolder
) -> None:
    submit(made_result(tmp_path / "first"), board)
    run = made_run(1, answers=0.7)

    def second(finished: str) -> Path:
        provenance = made_record(run).provenance.model_copy(update={"finished": finished})
        shutil.rmtree(tmp_path / "second", ignore_errors=True)
        return write_result(tmp_path / "second", made_record(run, provenance=provenance.model_dump()), run)

    assert "record.json: provenance.finished: " in refusal(second(FINISHED), board, replace=True)
    assert "older than the entry" in refusal(second("2026-01-02T11:00:00+02:00"), board, replace=True)
    newer = second("2026-01-02T10:00:01+00:00")
    assert "--replace" in refusal(newer, board)
    folder = submit(newer, board, replace=True)
    assert read_record(folder / "record.json").answers == made_record(run).answers
    assert [path.name for path in folder.parent.iterdir()] == ["lumps"]
    assert [one.problem for one in verify(board)] == [None]


def test_names_that_differ_in_case_alone_are_refused(tmp_path: Path, board: BoardFolder) -> None:
    submit(made_result(tmp_path / "first"), board)
    run = made_run(1)
    said = refusal(write_result(tmp_path / "r", made_record(run, name="Clinic/Model"), run), board)
    assert (
        "record.json: model.name: differs from the entry clinic--model in upper and lower case alone" in said
    )


def test_a_tuned_model_has_an_entry_of_its_own(tmp_path: Path, board: BoardFolder) -> None:
    submit(made_result(tmp_path / "first"), board)
    run = made_run(1)
    folder = submit(write_result(tmp_path / "r", made_record(run, condition="lora"), run), board)
    assert folder.parent.name == "clinic--model@lora"


@pytest.mark.parametrize("name", ["record.json", "samples.jsonl", "probes.jsonl"])
@pytest.mark.parametrize("kind", ["link", "folder", "missing"])
def test_what_is_no_plain_file_is_refused(result: Path, board: BoardFolder, name: str, kind: str) -> None:
    (result / name).rename(result / "elsewhere")
    if kind == "link":
        (result / name).symlink_to(result / "elsewhere")
    elif kind == "folder":
        (result / name).mkdir()
    said = refusal(result, board)
    assert name in said
    assert ("is missing" if kind == "missing" else "no link and no folder") in said


LOW = Limits(record=10_000, samples=10**6, probes=10**6, sample_line=3_000, probe_line=50_000)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("record.json", b" " * 20_000, "record.json: larger than 0 MB"),
        ("samples.jsonl", b"\n" * 2_000_000, "samples.jsonl: larger than 0 MB"),
        (
            "samples.jsonl.gz",
            gzip.compress(b"\n" * 50_000_000, mtime=0),
            "samples.jsonl.gz: larger than 0 MB",
        ),
        ("probes.jsonl.gz", gzip.compress(b"\n" * 50_000_000, mtime=0), "probes.jsonl.gz: larger than 0 MB"),
        ("probes.jsonl.gz", gzip.compress(b"{}\n", mtime=0)[:-4], "probes.jsonl.gz: cannot be unpacked"),
        ("probes.jsonl.gz", b"\x1f\x8b\x08" + bytes(5) + b"\xff" * 60, "probes.jsonl.gz: cannot be unpacked"),
        ("probes.jsonl.gz", b"{}\n", "probes.jsonl.gz: must be a gzip file without name"),
        ("probes.jsonl.gz", gzip.compress(b"", mtime=5), "probes.jsonl.gz: must be a gzip file without name"),
        (
            "probes.jsonl.gz",
            gzip.compress(b"", mtime=0) * 2,
            "probes.jsonl.gz: something follows its content",
        ),
        ("probes.jsonl.gz", gzip.compress(b"", mtime=0) + b"x", "probes.jsonl.gz: something follows"),
    ],
    ids=range(10),
)
def test_no_more_is_read_than_the_limits_allow(result: Path, name: str, content: bytes, said: str) -> None:
    limits = LOW if name == "record.json" else Limits(samples=10**6, probes=10**6)
    (result / name.removesuffix(".gz")).unlink(missing_ok=True)
    (result / name).write_bytes(content)
    tracemalloc.start()
    with pytest.raises(RecordError) as caught:
        read_submission(result, limits)
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert said in str(caught.value)
    assert used < 10 * 2**20


def test_a_key_that_stands_there_twice_is_not_carried_along(result: Path, board: BoardFolder) -> None:
    text = (result / "samples.jsonl").read_text(encoding="utf-8")
    (result / "samples.jsonl").write_text(
        text.replace('{"id"', '{"outcome":"correct","id"'), encoding="utf-8"
    )
    folder = submit(result, board)
    assert gzip.decompress((folder / "samples.jsonl.gz").read_bytes()).decode() == text


def test_rounding_is_not_held_against_a_result(result: Path, board: BoardFolder) -> None:
    content = read_content(result)
    for place, value in (
        ("answers.auroc.value", content["answers"]["auroc"]["value"] * (1 + 1e-9)),
        ("health.llm.fhs", content["health"]["llm"]["fhs"] - 1e-9),
        ("diagnosis.drops.2.low", content["diagnosis"]["drops"][2]["low"] + 1e-9),
        ("diagnosis.drops.0.p", content["diagnosis"]["drops"][0]["p"] + 1e-4),
    ):
        in_record(place, value)(result)
    folder = submit(result, board)
    assert read_content(folder) == content


@pytest.mark.parametrize(
    ("engine", "prompts", "taken"),
    [("transformers", 4, False), ("vllm", 4, False), ("vision_head", 4, True), ("transformers", 1, True)],
)
def test_only_an_engine_that_asks_in_words_must_have_asked_every_prompt(
    engine: str, prompts: int, taken: bool
) -> None:
    run, task = made_run(), small_task()
    task = task.model_copy(update={"prompts": task.prompts[:prompts]})
    lines = [line.model_copy(update={"orders": ()}) for line in run.samples]
    if taken:
        check_ways(lines, task, engine)
    else:
        with pytest.raises(
            RecordError, match=rf"samples.jsonl:61: orders: empty, but {engine} asks every prompt"
        ):
            check_ways(lines, task, engine)
