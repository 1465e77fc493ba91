"""`harness compare` as it is run: result folders in, tables, files and exit status out."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from harness.cli import main
from leaderboard.compare.measured import Measured
from tests.leaderboard.compare.compared import changed, result, run, told_apart, write

ROOT = Path(__file__).parents[4]
HOSTILE = "o|p\\|`q``<script>alert(1)</script>\n# *x* @someone www.example.org \x1b[31m\x00&amp;]]>"


def in_shell(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "harness", "compare", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
        check=False,
    )


def compare(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the same command line in this process, which spares the imports."""
    words = ["compare", *map(str, arguments)]
    said, complained = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(complained),
        pytest.raises(SystemExit) as done,
    ):
        main(words)
    assert isinstance(done.value.code, int)
    return subprocess.CompletedProcess(words, done.value.code, said.getvalue(), complained.getvalue())


def sides(
    only_baseline: int, only_candidate: int, images: int = 80, **changes: Any
) -> tuple[Measured, Measured]:
    baseline, candidate = told_apart(images, only_baseline, only_candidate)
    return result(baseline, **changes), result(candidate, **changes)


def written(folder: Path, only_baseline: int, only_candidate: int, **changes: Any) -> tuple[Path, Path]:
    baseline, candidate = sides(only_baseline, only_candidate, **changes)
    return write(baseline, folder / "a"), write(candidate, folder / "b")


@pytest.fixture(scope="module")
def worse(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A candidate that lost 20 of 80 images, with every layer watched."""
    folder = tmp_path_factory.mktemp("worse")
    baseline, candidate = run(1, images=160, fit=60), run(2, images=160, fit=60, answers=0.6)
    return (
        write(changed(baseline, model="zoo/before"), folder / "a"),
        write(changed(candidate, model="zoo/after"), folder / "b"),
    )


def test_a_regression_stops_a_gate_and_nothing_without_one(worse: tuple[Path, Path]) -> None:
    told, gated = in_shell(*worse), in_shell(*worse, "--gate")
    assert (told.returncode, gated.returncode) == (0, 1)
    assert told.stdout == gated.stdout
    assert gated.stderr == "The gate stops: the candidate is significantly worse.\n"
    first = told.stdout.splitlines()
    assert first[0].startswith("Accuracy, which decides")
    assert first[2].split()[:4] == ["small", "zoo/before", "zoo/after", "160"]
    assert "regressed" in first[2]
    for name in (
        "balanced accuracy",
        "FHS vision",
        "FHS language model",
        "drop comprehension",
        "drop mapping",
    ):
        assert name in told.stdout


def test_an_improvement_and_no_change_pass_a_gate(worse: tuple[Path, Path], tmp_path: Path) -> None:
    better = in_shell(*reversed(worse), "--gate")
    assert better.returncode == 0
    assert "improved" in better.stdout
    same = compare(*written(tmp_path, 6, 5), "--gate")
    assert same.returncode == 0
    assert "no evidence" in same.stdout
    assert "FHS vision" in same.stderr  # nothing was probed, and that is said
    itself = compare(worse[0], worse[0], "--gate")
    assert itself.returncode == 0
    assert "same folder" in itself.stderr


def test_json_holds_everything(worse: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    assert compare(*worse, "--gate", "--json", file).returncode == 1
    found = json.loads(file.read_text())
    assert found["schema_version"] == 1
    assert (found["status"], found["verdict"], found["gate"]) == (
        "compared",
        "regressed",
        {"exit_code": 1, "obstacles": []},
    )
    assert (found["baseline"], found["candidate"]) == tuple(map(str, worse))
    assert found["thresholds"] == {"level": 0.05, "smallest_regression": 0, "readout": "linear", "tasks": {}}
    (task,) = found["tasks"]
    accuracy = task["accuracy"]
    assert task["stops"] is True
    assert accuracy["value"] == pytest.approx(
        (task["only_candidate_right"] - task["only_baseline_right"]) / 160
    )
    assert accuracy["low"] < accuracy["value"] < accuracy["high"] < 0
    assert accuracy["test"] == "exact McNemar"
    assert task["p_primary"] == accuracy["p"] <= accuracy["p_adjusted"] < 0.05
    assert 0 < task["smallest_visible_drop_points"] < 30
    assert task["candidate"]["outcomes"]["correct"] == round(160 * accuracy["candidate"])
    names = [change["name"] for change in task["secondary"]]
    scores, drops = ["vision", "connector", "llm"], ["vision", "connector", "comprehension", "mapping"]
    assert names == ["balanced_accuracy", *(f"fhs_{x}" for x in scores), *(f"drop_{x}" for x in drops)]
    # Every key is explained where users look.
    explained = (ROOT / "docs" / "gate.md").read_text()
    change = accuracy.keys()
    for key in (*found, *task, *change, *found["gate"], *task["baseline"]):
        assert f"`{key}`" in explained, key


def test_junit_is_what_a_server_reads(worse: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "c.xml"
    compare(*worse, "--junit", file)
    root = ElementTree.parse(file).getroot()
    assert (root.tag, root.get("tests"), root.get("failures"), root.get("errors")) == (
        "testsuites",
        "1",
        "1",
        "0",
    )
    case = root.find("testsuite/testcase")
    assert case is not None
    assert (case.get("name"), case.get("classname")) == ("small", "harness.compare")
    failure = case.find("failure")
    assert failure is not None
    assert "regressed: accuracy −" in str(failure.get("message"))
    compare(*written(tmp_path, 3, 3), "--junit", file)
    root = ElementTree.parse(file).getroot()
    assert (root.get("failures"), root.find(".//failure")) == ("0", None)


def test_markdown_is_a_summary(worse: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "c.md"
    compare(*worse, "--markdown", file)
    html = MarkdownIt("commonmark").enable("table").render(file.read_text())
    assert "<h3>harness compare: regressed</h3>" in html
    assert html.count("<table>") == 2
    assert "<td><code>zoo/after</code></td>" in html
    assert "<strong>regressed</strong>" in html
    assert "(exit code 1)" in html


def test_names_from_elsewhere_do_no_harm(tmp_path: Path) -> None:
    baseline, candidate = written(tmp_path, 30, 2, model=HOSTILE, task=HOSTILE)
    files = {name: tmp_path / f"c.{name}" for name in ("json", "markdown", "junit")}
    said = compare(baseline, candidate, *(part for n, f in files.items() for part in (f"--{n}", f)))
    assert said.returncode == 0, said.stderr
    assert "\x1b" not in said.stdout + said.stderr
    assert len(said.stdout.splitlines()) == 8  # no name breaks a row
    text = files["markdown"].read_text()
    html = MarkdownIt("gfm-like", {"linkify": False}).render(text)
    assert html.count("<h3>") == 1
    for tag in ("<script", "<h1", "<em>x", "<a "):
        assert tag not in html
    first = html[html.index("<tbody>") : html.index("</tbody>")]
    assert first.count("<tr>") == 1
    assert first.count("<td>") == 9
    assert first.count("<code>o|p\\|`q``&lt;script&gt;") == 3
    (case,) = ElementTree.parse(files["junit"]).getroot().findall("testsuite/testcase")
    assert str(case.get("name")).startswith("o|p\\|`q``<script>alert(1)</script>\\n# *x*")
    assert json.loads(files["json"].read_text())["tasks"][0]["task"] == HOSTILE
    other = write(changed(sides(30, 2)[1], model=HOSTILE, task=HOSTILE, version=2), tmp_path / "c")
    refused = compare(baseline, other)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "\x1b" not in refused.stderr


def grid(folder: Path, **results: Measured) -> Path:
    """Write results as `<model>/<task>/`, named "model__task"."""
    for name, measured in results.items():
        model, task = name.split("__")
        write(changed(measured, model=model, task=task), folder / model / task)
    return folder


def test_folders_of_results_are_matched_by_task(tmp_path: Path) -> None:
    (a1, b1), (a2, b2) = sides(30, 2), sides(5, 5)
    before = grid(tmp_path / "before", m1__busi=a1, m1__phantom=a2)
    after = grid(tmp_path / "after", m2__busi=b1, m2__phantom=b2)
    said = compare(before, after, "--gate", "--json", tmp_path / "c.json")
    assert said.returncode == 1
    found = json.loads((tmp_path / "c.json").read_text())
    assert [(t["title"], t["verdict"]) for t in found["tasks"]] == [
        ("busi", "regressed"),
        ("phantom", "no evidence"),
    ]
    assert found["tasks"][0]["p_primary"] == pytest.approx(2 * found["tasks"][0]["accuracy"]["p"])
    assert compare(before / "m1", after, "--gate").returncode == 1  # a model's folder holds tasks too


def test_several_models_are_matched_by_name(tmp_path: Path) -> None:
    (a1, b1), (a2, b2) = sides(30, 2), sides(5, 5)
    before = grid(tmp_path / "before", m1__busi=a1, m2__busi=a2)
    after = grid(tmp_path / "after", m1__busi=b1, m2__busi=b2)
    assert compare(before, after, "--gate", "--json", tmp_path / "c.json").returncode == 1
    found = json.loads((tmp_path / "c.json").read_text())
    assert [t["title"] for t in found["tasks"]] == ["m1 on busi", "m2 on busi"]


def test_a_gate_does_not_decide_where_a_task_is_missing(tmp_path: Path) -> None:
    (a1, b1), (a2, _) = sides(30, 2), sides(5, 5)
    before = grid(tmp_path / "before", m__busi=a1, m__phantom=a2)
    after = grid(tmp_path / "after", m__busi=b1)
    files = ("--junit", tmp_path / "c.xml", "--json", tmp_path / "c.json")
    said = compare(before, after, "--gate", *files)
    assert said.returncode == 2
    assert said.stderr.endswith(
        "harness: the gate cannot decide: the candidate has no result of phantom; "
        "evaluate it, or --allow-missing leaves it out\n"
    )
    found = json.loads((tmp_path / "c.json").read_text())
    assert found["gate"]["exit_code"] == 2
    assert found["missing"] == [{"title": "phantom", "lacking": "candidate"}]
    assert ElementTree.parse(tmp_path / "c.xml").getroot().get("errors") == "1"
    assert compare(before, after).returncode == 0
    allowed = compare(before, after, "--gate", "--allow-missing", *files)
    assert allowed.returncode == 1
    assert "phantom: left out" in allowed.stderr
    assert len(ElementTree.parse(tmp_path / "c.xml").getroot().findall(".//skipped")) == 1


def test_two_measures_of_the_answers_stop_no_release(tmp_path: Path) -> None:
    baseline, candidate = sides(30, 2)
    first = write(changed(baseline, headline="scores"), tmp_path / "a")
    second = write(changed(candidate, headline="generated"), tmp_path / "b")
    said = compare(first, second, "--gate")
    assert said.returncode == 2
    assert "the headline is read from scores in the baseline and from generated" in said.stderr
    plain = compare(first, second)
    assert plain.returncode == 0
    assert "with --gate this would be no decision: small: the headline is read from scores" in plain.stderr


@pytest.mark.parametrize("empty", [0, 1, 3])
def test_a_name_that_a_shell_left_empty_is_bad_usage(
    worse: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, empty: int
) -> None:
    """ "." would else be the candidate's own folder, and a candidate is never worse than itself."""
    monkeypatch.chdir(worse[1])
    words: list[object] = [*worse, "--thresholds", "t.yaml", "--gate"]
    words[empty] = ""
    said = compare(*words)
    assert said.returncode == 2
    assert "is empty; name a f" in said.stderr


def test_nothing_that_is_read_is_written_over(worse: tuple[Path, Path], tmp_path: Path) -> None:
    record = worse[1] / "record.json"
    before = record.read_bytes()
    limits = tmp_path / "limits.yaml"
    limits.write_text("smallest_regression: 6\n")
    for words, reason in (
        (["--json", record], "is a part of a result"),
        (["--junit", limits, "--thresholds", limits], "holds the thresholds"),
        (["--json", tmp_path / "x", "--markdown", tmp_path / "y" / ".." / "x"], "is to be written twice"),
    ):
        said = compare(*worse, *words)
        assert said.returncode == 2
        assert reason in said.stderr
    assert record.read_bytes() == before
    assert limits.read_text() == "smallest_regression: 6\n"
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">/dev/full", "2>/dev/full"])
def test_only_a_regression_exits_with_1(worse: tuple[Path, Path], closed: str) -> None:
    if "full" in closed and not Path("/dev/full").is_char_device():
        pytest.skip("no /dev/full here")
    words = [sys.executable, "-m", "harness", "compare", *map(str, reversed(worse)), "--gate"]
    done = subprocess.run(
        ["bash", "-c", f'"$@" {closed}', "bash", *words],
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
        check=False,
    )
    assert done.returncode == (2 if "full" in closed else 0), done.stderr


def test_tables_are_printed_in_any_encoding(worse: tuple[Path, Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "compare", *map(str, worse)],
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "ascii"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"\\u2192" in done.stdout


def test_other_words_under_one_version_are_told(tmp_path: Path) -> None:
    baseline, candidate = sides(6, 5)
    pair = []
    for side, digest in ((baseline, "a"), (candidate, "b")):
        record = side.record.model_copy(update={"configuration": {"task": {"hash": digest}}})
        pair.append(write(replace(side, record=record), tmp_path / digest))
    said = compare(*pair, "--gate")
    assert said.returncode == 0
    assert "the task's words or settings differ between the two runs" in said.stderr
    assert "words or settings" not in compare(pair[0], pair[0]).stderr


def test_an_entry_of_a_board_is_compared_as_its_result_is(worse: tuple[Path, Path], tmp_path: Path) -> None:
    entry = Path(shutil.copytree(worse[0], tmp_path / "entry"))
    for name in ("samples.jsonl", "probes.jsonl"):
        (entry / f"{name}.gz").write_bytes(gzip.compress((entry / name).read_bytes(), mtime=0))
        (entry / name).unlink()
    assert compare(entry, worse[1], "--gate").stdout == compare(*worse, "--gate").stdout


def test_thresholds_let_small_regressions_pass(tmp_path: Path) -> None:
    pair = written(tmp_path, 12, 1, images=200)  # 5.5 points
    limits = tmp_path / "thresholds.yaml"
    limits.write_text("smallest_regression: 6\ntasks: {absent: {smallest_regression: 1}}\n")
    said = compare(*pair, "--gate", "--thresholds", limits)
    assert said.returncode == 0
    assert "regressed (less than 6 points)" in said.stdout
    assert "The gate passes: the significant regressions are smaller than the thresholds." in said.stderr
    assert "thresholds name tasks that were not compared: absent" in said.stderr
    limits.write_text("smallest_regression: 5\n")
    assert compare(*pair, "--gate", "--thresholds", limits).returncode == 1
    limits.write_text("smallest_regresion: 5\n")
    said = compare(*pair, "--gate", "--thresholds", limits)
    assert said.returncode == 2
    assert f"{limits}:1: smallest_regresion: unknown key" in said.stderr


def test_what_cannot_be_compared_is_one_line_and_2(tmp_path: Path) -> None:
    baseline, candidate = sides(9, 2)
    good = write(baseline, tmp_path / "good")
    version = write(changed(candidate, version=2), tmp_path / "version")
    failed = write(changed(candidate, status="failed"), tmp_path / "failed")
    other = write(changed(candidate, task="other"), tmp_path / "other")
    broken = write(candidate, tmp_path / "broken")
    (broken / "samples.jsonl").write_text("{}\n")
    unread = write(candidate, tmp_path / "unread")
    (unread / "record.json").write_text("{")
    (tmp_path / "empty").mkdir()
    cases = {
        version: "task version 1 and 2",
        failed: "the run failed",
        other: "have no task in common: small in the baseline, other in the candidate",
        broken: "samples.jsonl:1: id",
        unread: "record.json",
        tmp_path / "none": "no such folder",
        tmp_path / "empty": "no result",
        good / "record.json": "no such folder",
    }
    for place, (bad, said) in enumerate(cases.items()):
        gate, way = (("--gate",), compare) if place else ((), in_shell)
        done = way(good, bad, *gate, "--json", tmp_path / "c.json", "--junit", tmp_path / "c.xml")
        assert (done.returncode, done.stdout) == (2, ""), bad
        assert done.stderr.startswith("harness: ")
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
        found = json.loads((tmp_path / "c.json").read_text())
        assert (found["status"], found["verdict"], found["gate"]["exit_code"]) == ("refused", None, 2)
        assert ElementTree.parse(tmp_path / "c.xml").getroot().get("errors") == "1"


def test_two_results_of_one_model_and_task_are_refused(tmp_path: Path) -> None:
    baseline, candidate = sides(9, 2)
    for name in ("one", "two"):
        write(baseline, tmp_path / "several" / name)
    said = compare(tmp_path / "several", write(candidate, tmp_path / "b"))
    assert said.returncode == 2
    assert "are both of zoo/x on small" in said.stderr


def test_a_file_that_cannot_be_written_does_not_look_like_a_regression(tmp_path: Path) -> None:
    said = compare(*written(tmp_path, 3, 3), "--gate", "--json", tmp_path / "no" / "c.json")
    assert said.returncode == 2
    assert (
        said.stderr
        == f"harness: {tmp_path / 'no' / 'c.json'}: cannot be written (No such file or directory)\n"
    )


def test_a_reader_that_goes_away_changes_no_exit_status(worse: tuple[Path, Path]) -> None:
    command = [sys.executable, "-m", "harness", "compare", *map(str, worse), "--gate"]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            command, stdout=writing, stderr=subprocess.PIPE, cwd=ROOT, timeout=120, check=False
        )
    finally:
        os.close(writing)
    assert done.returncode == 1


def test_help_and_comparison_import_nothing_heavy(worse: tuple[Path, Path]) -> None:
    program = """
import atexit, sys
atexit.register(lambda: sys.stderr.write(" ".join({m.partition(".")[0] for m in sys.modules})))
from harness.cli import main
main()
"""
    for arguments, absent in ((["--help"], "numpy"), ([*map(str, worse), "--gate"], "pandas")):
        done = subprocess.run(
            [sys.executable, "-c", program, "compare", *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=120,
            check=False,
        )
        loaded = set(done.stderr.split())
        assert loaded & {"click"}
        assert not loaded & {"torch", "transformers", "sklearn", absent}
