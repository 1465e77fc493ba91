"""Results and model cards on a hub: what is sent, what is not, and what a card then says."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from harness.exchange.hub import gather, updated_card
from harness.exchange.model_card_section import END, START, card_section, plain, with_section
from leaderboard.record.record import Record, RecordError, dump_record
from leaderboard.record.samples import dump_lines
from tasks import catalog
from tests.harness.full_records import full_content
from tests.hub_server import COMMIT, TOKEN, Hub, Repository, hub
from tests.leaderboard.lines import sample

ROOT = Path(__file__).parents[3]
KEPT_HERE = ("features.safetensors", "log.txt", "store/answers.jsonl", "secret.env", "image.png")
CARD = """\
---
license: mit   # of the weights
tags: [medical, "x: y"]
model-index:
- name: me
  results:
  - task: {type: text-generation}
    dataset: {name: Other, type: other}
    metrics: [{type: exact_match, value: 0.25, name: theirs}]
# about languages
language: en
---
# A model

Written by hand: <b>kept</b>.
"""


def content(task_name: str = "phantom", name: str = "clinic/model", **changes: Any) -> dict[str, Any]:
    """Return a full record's content; of a shipped task where there is one of this name."""
    shipped = catalog.load(task_name) if task_name in catalog.shipped_names() else None
    classes = [c.name for c in shipped.classes] if shipped else ["a", "b", "c"]
    found = full_content(classes=classes, task_name=task_name, **changes)
    found["model"]["name"] = name
    found["task"] |= {"version": shipped.version if shipped else 1, "n_test": 4}
    return found


def record(**changes: Any) -> Record:
    return Record.model_validate(content(**changes))


def write_result(folder: Path, **changes: Any) -> Path:
    """Write a whole result folder, with all that must stay on this machine."""
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(dump_record(record(**changes)))
    lines = [sample("test", i, 0, [0.0, 1.0, 2.0], group=str(i)) for i in range(4)]
    (folder / "samples.jsonl").write_text(dump_lines(lines))
    (folder / "probes.jsonl").write_text("")
    (folder / "report.html").write_text("<p>report</p>")
    for name in KEPT_HERE:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("not for others")
    return folder


@pytest.fixture
def served() -> Iterator[Hub]:
    with hub() as found:
        yield found


Push = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def push(served: Hub, tmp_path: Path) -> Push:
    """Run the real command against the stand-in; whatever it says must not hold the token."""

    def run(*arguments: object, expect: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        surroundings = os.environ | served.environment(str(tmp_path / "hf")) | environment
        done = subprocess.run(
            [sys.executable, "-m", "harness", "push", *map(str, arguments)],
            env=surroundings,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expect, done.stderr
        assert TOKEN not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def test_exactly_the_listed_files_are_sent(push: Push, served: Hub, tmp_path: Path) -> None:
    folder = write_result(tmp_path / "results" / "clinic--model" / "phantom")
    done = push(folder, "--to", "clinic/results", "--private")
    repository = served.repositories["datasets/clinic/results"]
    assert repository.private
    (commit,) = repository.commits
    names = ("record.json", "samples.jsonl", "report.html", "probes.jsonl")
    assert commit["files"] == {f"results/clinic--model/phantom/{n}": (folder / n).read_bytes() for n in names}
    assert served.authorisations == {f"Bearer {TOKEN}"}
    assert f"/datasets/clinic/results/commit/{COMMIT}" in done.stdout
    for name in names:
        assert re.search(rf"phantom/{name} +{(folder / name).stat().st_size:,}\n", done.stdout)


def test_a_second_push_adds_to_the_repository(push: Push, served: Hub, tmp_path: Path) -> None:
    folders = [write_result(tmp_path / name / "phantom", name=f"clinic/{name}") for name in ("one", "two")]
    served.repositories["models/clinic/results"] = Repository({"README.md": b"hello"})
    push(*folders, "--to", "clinic/results", "--repo-type", "model")
    repository = served.repositories["models/clinic/results"]
    assert repository.files["README.md"] == b"hello"
    assert {name.split("/")[1] for name in repository.commits[0]["files"]} == {"clinic--one", "clinic--two"}
    assert "/api/repos/create" not in [path for _, path in served.requests]


def test_a_dry_run_contacts_nothing_and_needs_no_token(push: Push, served: Hub, tmp_path: Path) -> None:
    folder = write_result(tmp_path / "result")
    done = push(folder, "--to", "clinic/results", "--dry-run", HF_TOKEN="")
    assert "results/clinic--model/phantom/record.json" in done.stdout
    done = push(folder, "--model-card", "--to", "clinic/model", "--dry-run", HF_TOKEN="")
    assert START in done.stdout
    assert served.requests == []


@pytest.mark.parametrize(
    ("task", "said"), [("covid19_ct", "must not be passed on"), ("own", "the shipped tasks alone")]
)
def test_a_report_that_may_hold_pixels_stays_here(tmp_path: Path, task: str, said: str) -> None:
    found = gather([write_result(tmp_path / "result", task_name=task)])
    assert [upload.file.name for upload in found.uploads] == ["record.json", "samples.jsonl", "probes.jsonl"]
    (line,) = found.left_out
    assert said in line


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    good = write_result(tmp_path / "good")
    with pytest.raises(
        RecordError, match=r"other: would go to results/clinic--model/phantom, as .*good would"
    ):
        gather([good, write_result(tmp_path / "other")])
    with pytest.raises(RecordError, match=r"failed: the run failed \(no answers\)"):
        gather([write_result(tmp_path / "failed", status="failed", error="no answers")])
    for number, name in enumerate(("../../up", "a b", ".hidden", "a\n")):
        with pytest.raises(RecordError, match="which is no path in a repository"):
            gather([write_result(tmp_path / f"named{number}", name=name)])
    (good / "report.html").unlink()
    (good / "report.html").symlink_to(good / "secret.env")
    with pytest.raises(RecordError, match=r"report\.html: is a link or no file"):
        gather([good])
    (good / "samples.jsonl").unlink()
    with pytest.raises(RecordError, match=r"samples\.jsonl: cannot be read"):
        gather([good])


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (("public", "--private"), {}, "exists and is public"),
        (("public",), {"HF_TOKEN": ""}, "no token of the hub; run `hf auth login`"),
        (("public",), {"HF_TOKEN": "hf_another"}, r"the hub refuses \(401\)"),
        (("public",), {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        (("gated",), {}, r"the hub refuses \(403\)"),
        (("none", "--model-card"), {}, r"the hub refuses \(404\)"),
    ],
)
def test_the_hubs_refusals_are_one_line(
    push: Push,
    served: Hub,
    tmp_path: Path,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    message: str,
) -> None:
    folder = write_result(tmp_path / "result")
    served.repositories["datasets/clinic/public"] = Repository()
    served.repositories["datasets/clinic/gated"] = Repository(gated=True)
    name, *options = arguments
    done = push(folder, "--to", f"clinic/{name}", *options, expect=1, **environment)
    assert re.fullmatch(rf"harness: clinic/{name}: {message}.*\n", done.stderr), done.stderr
    assert all(not repository.commits for repository in served.repositories.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--to OWNER/NAME says where"),
        (("--to", "name"), "must be written owner/name"),
        (("--to", "a/b/../c"), "no repository of the hub"),
        (("--to", "a/b", "--write", "x"), "--write is for --model-card"),
        (("--model-card",), "needs either --to OWNER/NAME or --write"),
        (("--model-card", "--to", "a/b", "--private"), "--private is for results"),
    ],
)
def test_bad_usage(push: Push, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    assert message in push(tmp_path, *arguments, expect=2).stderr


def test_a_card_on_the_hub_keeps_what_others_wrote(push: Push, served: Hub, tmp_path: Path) -> None:
    folder = write_result(tmp_path / "result")
    served.repositories["models/clinic/model"] = Repository({"README.md": CARD.encode(), "x.bin": b""})
    push(folder, "--model-card", "--to", "clinic/model")
    (commit,) = served.repositories["models/clinic/model"].commits
    assert list(commit["files"]) == ["README.md"]
    assert commit["header"]["parentCommit"] == COMMIT
    assert commit["files"]["README.md"].decode() == updated_card(CARD, [record()])
    served.repositories["models/clinic/empty"] = Repository({"x.bin": b""})
    push(folder, "--model-card", "--to", "clinic/empty")
    (commit,) = served.repositories["models/clinic/empty"].commits
    assert commit["files"]["README.md"].decode() == updated_card("", [record()])


def test_a_card_that_cannot_be_had_is_not_taken_for_an_empty_one(
    push: Push, served: Hub, tmp_path: Path
) -> None:
    folder = write_result(tmp_path / "result")
    served.repositories["models/clinic/model"] = Repository({"README.md": CARD.encode()}, damaged=True)
    done = push(folder, "--model-card", "--to", "clinic/model", expect=1)
    assert re.fullmatch("harness: clinic/model: the hub .*\n", done.stderr)
    assert served.repositories["models/clinic/model"].commits == []


def test_a_card_is_not_of_another_model(push: Push, served: Hub, tmp_path: Path) -> None:
    folder = write_result(tmp_path / "result")
    written = json.loads((folder / "record.json").read_text())
    written["model"]["hub_id"] = "clinic/other"
    (folder / "record.json").write_text(json.dumps(written))
    served.repositories["models/clinic/model"] = Repository({"README.md": b""})
    done = push(folder, "--model-card", "--to", "clinic/model", expect=1)
    assert "the result is of clinic/other" in done.stderr
    assert served.requests == []


def test_a_card_in_a_file_is_replaced_in_place(push: Push, served: Hub, tmp_path: Path) -> None:
    folder, card = write_result(tmp_path / "result"), tmp_path / "README.md"
    push(folder, "--model-card", "--write", card, HF_TOKEN="")
    assert card.read_text() == updated_card("", [record()])
    card.write_text(CARD + "\n" + card_section([record(accuracy=0.25)]) + "\n## After\n")
    push(folder, "--model-card", "--write", card)
    once = card.read_text()
    push(folder, "--model-card", "--write", card)
    assert card.read_text() == once
    assert once.endswith(f"{END}\n\n## After\n")
    assert once.count(START) == 1
    assert served.requests == []


def test_front_matter_is_the_hubs_and_otherwise_untouched() -> None:
    found = record()
    assert found.answers is not None
    new = updated_card(CARD, [found])
    for line in (
        "license: mit   # of the weights",
        'tags: [medical, "x: y"]',
        "# about languages",
        "language: en",
    ):
        assert f"\n{line}\n" in new
    card = ModelCard(new)
    assert card.data.language == "en"
    results = {(r.dataset_type, r.metric_type): r for r in card.data.eval_results}
    assert results["other", "exact_match"].metric_value == 0.25
    for kind, value in (("accuracy", found.answers.accuracy), ("roc_auc", found.answers.auroc)):
        assert value is not None
        stored = results["phantom", kind]
        assert stored.metric_value == pytest.approx(value.value, abs=5e-5)
        assert (stored.metric_args["images"], stored.dataset_split) == (value.n, "test")
    assert updated_card(new, [found]) == new
    again = updated_card(new, [record(task_name="busi", accuracy=0.75)])
    assert {r.dataset_type for r in ModelCard(again).data.eval_results} == {"other", "busi"}


@pytest.mark.parametrize("before", ["\n", "\ufeff", " \n\n"])
def test_front_matter_is_found_behind_what_the_hub_reads_over(before: str) -> None:
    new = updated_card(f"{before}---\nlicense: mit\n---\nx\n", [record()])
    card = ModelCard(new.removeprefix("\ufeff"))
    assert card.data.license == "mit"
    assert card.data.eval_results
    assert updated_card(new, [record()]) == new


def test_partial_results_are_marked_and_stay_out_of_the_index() -> None:
    new = updated_card("", [record(status="partial", error="asked about 4 test images")])
    assert "phantom (partial)" in new
    assert "model-index" not in new


def test_the_section_says_the_measured_numbers() -> None:
    changed = content()
    changed["task"]["official_data"] = False
    changed["model"]["seen_in_training"] = True
    section = card_section([Record.model_validate(changed)])
    for part in (
        "50.0% (40.0 to 60.0)",
        "1.23 (1.13 to 1.33)",
        "−0.32 (−0.42 to −0.22, noise-limited)",
        "mapping (the class is lost between the language model and its answer",
        "not the published data",
        "| 10, not the published data, seen in training |",
        "clinic/model, revision 0, engine transformers in float32",
    ):
        assert part in section, part


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (f"{START}\n", "leave one of each"),
        (f"{END}\n{START}\n", "leave one of each"),
        (f"{START}\n{END}\n{START}\n{END}\n", "leave one of each"),
        ("---\na: [\n---\n", "no valid YAML"),
        ("---\n- a\n---\n", "no mapping"),
        ("---\nmodel-index: 3\n---\n", "no list of models"),
        ("---\n{a: 1}\n---\n", "keys on lines of their own"),
    ],
)
def test_a_damaged_card_is_refused(card: str, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        updated_card(card, [record()])


def test_a_card_is_of_one_model() -> None:
    with pytest.raises(RecordError, match=r"results of a \(released\), b \(released\)"):
        card_section([record(name="a"), record(name="b", task_name="busi")])
    with pytest.raises(RecordError, match="phantom: two results"):
        card_section([record(), record()])


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_names_are_shown_as_they_are(name: str) -> None:
    words = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    shown = MarkdownIt("gfm-like", {"linkify": False}).render(f"| a |\n|---|\n| {plain(name)}x |\n")
    cell = re.search(r"<td>(.*?)</td>", shown, re.DOTALL)
    assert cell is not None
    assert html.unescape(cell[1]) == f"{words}x"
    assert "<" not in cell[1]


def test_a_name_cannot_end_the_section_or_bring_markup() -> None:
    name = f'<b><img src=x onerror="alert(1)">|**b** {END} [a](http://b.c) `x`'
    changed = content()
    changed["model"]["name"] = name
    changed["diagnosis"]["sentences"] = [name, f"{START}"]
    section = card_section([Record.model_validate(changed)])
    assert (section.count(START), section.count(END)) == (1, 1)
    shown = MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(section)
    assert "<img" not in shown
    assert "<b>" not in shown
    assert "<a " not in shown
    assert html.escape(name, quote=True) in shown
    assert with_section(section, section) == section


def test_the_index_is_plain_yaml() -> None:
    changed = content()
    changed["model"]["name"] = "a: [b]\n---\nc"
    card = ModelCard(updated_card("", [Record.model_validate(changed)]))
    assert card.data.model_name == "a: [b] --- c"
    assert card.text.strip().startswith(START)
