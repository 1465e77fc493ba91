"""A board from a real run, by the command line: begun, submitted to, verified, built, and run again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.harness.conftest import harness, read_json, read_lines, result

ENTRY = "entries/zoo--llava-healthy/phantom-200"


@pytest.fixture(scope="module")
def board(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board with the shared run on it."""
    folder = tmp_path_factory.mktemp("keeper")
    begun = harness("leaderboard", "init", "board", "--title", "Phantoms", folder=folder)
    assert (begun.returncode, begun.stdout, begun.stderr) == (0, "board\n", "")
    done = harness("submit", str(result(finished)), "--board", "board", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"board/{ENTRY}\n"
    return folder / "board"


def test_a_real_run_gives_the_scores_that_its_record_declares(board: Path, finished: Path) -> None:
    assert read_json(board / ENTRY / "record.json") == read_json(result(finished) / "record.json")
    entry = read_json(board / ENTRY / "entry.json")
    assert entry["state"] == "recomputed"
    assert entry["official_data"] is True
    assert not {"answers", "health", "diagnosis", "answer_target"} & set(entry["declared"])
    assert {"permutation", "similarity", "causal"} & set(entry["declared"]) == {"permutation", "similarity"}


def test_the_board_verifies_and_is_built(board: Path) -> None:
    found = harness("leaderboard", "verify", str(board), "--json", folder=board.parent)
    assert found.returncode == 0, found.stdout
    rows = json.loads(found.stdout)["entries"]
    assert rows == [{"entry": ENTRY, "state": "recomputed", "problem": None}]
    done = harness("leaderboard", "build", "board", folder=board.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["board/leaderboard.json", "board/index.html"]
    (row,) = read_json(board / "leaderboard.json")["entries"]
    record = read_json(board / ENTRY / "record.json")
    assert row["accuracy"] == record["answers"]["accuracy"]
    assert row["profile"] == record["health"]["profile"]
    assert row["rank"] == 1


def test_an_edited_answer_is_refused_in_one_line(board: Path, finished: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(result(finished), tmp_path / "edited"))
    lines = read_lines(copy / "samples.jsonl")
    place, line = next(
        (n, x) for n, x in enumerate(lines) if x["split"] == "test" and x["outcome"] == "wrong"
    )
    line |= {"predicted": line["label"], "outcome": "correct"}
    (copy / "samples.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines), encoding="utf-8")
    before = sorted(board.rglob("*"))
    refused = harness("submit", str(copy), "--board", str(board), folder=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(
        f"harness: samples.jsonl:{place + 1}: predicted: {line['label']}, but it must"
    )
    assert refused.stderr.count("\n") == 1
    assert sorted(board.rglob("*")) == before


def test_an_edited_entry_is_named_and_not_built(board: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(board, tmp_path / "board"))
    record = copy / ENTRY / "record.json"
    record.write_text(
        record.read_text(encoding="utf-8").replace('"verdict": "', '"verdict":  "'), encoding="utf-8"
    )
    found = harness("leaderboard", "verify", "board", folder=tmp_path)
    assert found.returncode == 1
    assert f"{ENTRY}: REFUSED: entry.json: files.record.json: not the file that was checked" in found.stdout
    assert "1 checked, 1 refused" in found.stdout
    built = harness("leaderboard", "build", "board", folder=tmp_path)
    assert built.returncode == 1
    assert "record.json: not the file that was checked" in built.stderr


def test_schemas_are_printed(tmp_path: Path) -> None:
    for kind in ("record", "sample", "probe", "entry"):
        done = harness("leaderboard", "schema", kind, folder=tmp_path)
        assert json.loads(done.stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_a_result_that_is_there_already_is_not_taken_for_a_second_run(board: Path, finished: Path) -> None:
    results = str(result(finished).parents[1])
    done = harness("leaderboard", "rerun", f"board/{ENTRY}", "--output", results, folder=board.parent)
    assert done.returncode == 1
    assert "holds a result already, and nothing would be run; give another --output" in done.stderr
    assert read_json(board / ENTRY / "entry.json")["state"] == "recomputed"


def test_only_an_entry_can_be_run_again(board: Path) -> None:
    for place in ("board", "board/entries", "nowhere"):
        done = harness("leaderboard", "rerun", place, folder=board.parent)
        assert done.returncode == 2
        assert "is no entry; name DIR/entries/<model>/<task>" in done.stderr


@pytest.mark.slow
def test_an_entry_that_answers_the_same_again_is_marked(board: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(board, tmp_path / "board"))
    done = harness("leaderboard", "rerun", f"board/{ENTRY}", "--output", "again", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("rerun: 100.0% of the answers are the same")
    entry = read_json(copy / ENTRY / "entry.json")
    assert entry["state"] == "rerun"
    assert entry["rerun"]["agreement"] == 1.0
    record = read_json(copy / ENTRY / "record.json")
    assert entry["rerun"]["accuracy"] == pytest.approx(record["answers"]["accuracy"]["value"])
    assert harness("leaderboard", "verify", "board", folder=tmp_path).returncode == 0
    theirs = harness("leaderboard", "verify", "board", "--no-rerun", folder=tmp_path)
    assert theirs.returncode == 1
    assert "REFUSED: entry.json: state: rerun" in theirs.stdout


@pytest.mark.slow
def test_an_entry_whose_answers_were_made_up_is_not_marked(
    board: Path, finished: Path, tmp_path: Path
) -> None:
    """Scores may be forged such that everything follows from them; running the model again shows it."""
    forged = _forged(result(finished), tmp_path / "forged")
    harness("leaderboard", "init", "board", folder=tmp_path)
    assert harness("submit", str(forged), "--board", "board", folder=tmp_path).returncode == 0
    done = harness("leaderboard", "rerun", f"board/{ENTRY}", "--output", "again", folder=tmp_path)
    assert done.returncode == 1
    assert "run again" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("harness: ")
    assert read_json(tmp_path / "board" / ENTRY / "entry.json")["state"] == "recomputed"


def _forged(source: Path, folder: Path) -> Path:
    """Write a result whose label scores always favour the right class, and the record that follows from it."""
    from leaderboard.record.record import dump_record, read_record
    from leaderboard.record.samples import ProbeLine, SampleLine, dump_lines, read_lines
    from leaderboard.scoring.recompute import recompute
    from leaderboard.scoring.score import Lines
    from tasks import catalog

    shutil.copytree(source, folder)
    samples = []
    for line in read_lines(folder / "samples.jsonl", SampleLine):
        if line.split == "test" and line.scores is not None:
            scores = tuple(
                -0.1 if place == line.label else score - 3 for place, score in enumerate(line.scores)
            )
            changes = {"scores": scores, "predicted": line.label, "outcome": "correct"}
            line = line.model_copy(update=changes)
        samples.append(line)
    (folder / "samples.jsonl").write_text(dump_lines(samples), encoding="utf-8")
    probes = tuple(read_lines(folder / "probes.jsonl", ProbeLine))
    record = read_record(folder / "record.json")
    made = recompute(record, Lines(samples, probes), catalog.load("phantom-200"))
    (folder / "record.json").write_text(dump_record(made), encoding="utf-8")
    return folder
