"""Tasks and engines of another package, and of folders: through the command line, as a user meets them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.harness.conftest import harness, read_json, read_lines

ENGINE = '''
"""An engine that says the last label of every question, with the words of the first."""

from model_adapters.interface import Generation, LabelScores, ModelDescription, Observation


class LastLabel:
    sites = ()

    def __init__(self, card, options):
        self.description = ModelDescription(
            name=card.name, hub_id=None, revision="1", architecture="none", parameters=0, engine="last-label",
            dtype="float32", device="cpu", fingerprint={"version": 1, **options.model_args},
        )

    def score(self, queries, *, observe=False):
        scores = [tuple(float(i) for i in range(len(query.labels))) for query in queries]
        return Observation(tuple(LabelScores(one, one) for one in scores))

    def generate(self, queries, *, max_new_tokens):
        return tuple(Generation(query.labels[0], finished=True) for query in queries)

    def close(self):
        pass
'''
LEAVING = "raise SystemExit(3)\n"
BROKEN = 'raise RuntimeError("this package is\\nbroken")\n'


def install(site: Path, name: str, entry_points: str, **modules: str) -> Path:
    """Put a package into a folder as an installer does; return the folder."""
    package = site / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    for module, text in modules.items():
        (package / f"{module}.py").write_text(text, encoding="utf-8")
    information = site / f"{name}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    return site


def task(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(
        f"extends: phantom-200\nid: {name}\ntitle: {name}\n", encoding="utf-8"
    )
    return folder


def run(folder: Path, *arguments: str, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, (str(site) if site else "", os.environ.get("PYTHONPATH", ""))))
    return harness(*arguments, folder=folder, PYTHONPATH=path)


@pytest.fixture
def lumps(tmp_path: Path) -> Path:
    """A site folder with a package that offers a task and an engine."""
    points = "[harness.tasks]\nlumps = lumps:FOLDER\n[harness.engines]\nlast-label = lumps.engine:LastLabel\n"
    site = install(tmp_path / "site", "lumps", points, engine=ENGINE)
    task(site / "lumps" / "yamls", "lumps")
    (site / "lumps" / "__init__.py").write_text(
        "from importlib.resources import files\n\nFOLDER = files(__name__) / 'yamls'\n", encoding="utf-8"
    )
    return site


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A card whose engine is the package's."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text("{}", encoding="utf-8")
    card = tmp_path / "card.yaml"
    card.write_text("name: me/constant\npath: weights\nengine: last-label\n", encoding="utf-8")
    return card


def test_a_package_brings_a_task_and_an_engine(tmp_path: Path, lumps: Path, card: Path) -> None:
    listed = run(tmp_path, "tasks", "list", "--json", site=lumps)
    assert "lumps" in [entry["id"] for entry in json.loads(listed.stdout)]
    assert run(tmp_path, "tasks", "show", "lumps", site=lumps).returncode == 0
    checked = [
        json.loads(run(tmp_path, "tasks", "validate", "--json", site=site).stdout)["checked"]
        for site in (None, lumps)
    ]
    assert checked[1] == checked[0] + 1
    done = run(
        tmp_path,
        *("eval", "--tasks", "lum*", "--models", str(card), "--no-probe", "--limit", "10"),
        site=lumps,
    )
    assert done.returncode == 0, done.stderr
    result = tmp_path / "results" / "me--constant" / "lumps"
    record = read_json(result / "record.json")
    assert (record["task"]["name"], record["model"]["engine"]) == ("lumps", "last-label")
    test = read_lines(result / "samples.jsonl")
    assert {line["predicted"] for line in test} == {4}
    assert {line["read"] for line in test} == {0}
    # of equally many images a class, a constant answer is right about one in five
    assert record["answers"]["accuracy"]["value"] == sum(line["label"] == 4 for line in test) / 10


def test_an_option_chooses_a_packages_engine_too(tmp_path: Path, lumps: Path) -> None:
    ask = ("eval", "--tasks", "phantom-200", "--models", "zoo/llava-healthy", "--no-probe", "--limit", "10")
    done = run(tmp_path, *ask, "--engine", "last-label", "--model-args", "key=1", site=lumps)
    assert done.returncode == 0, done.stderr
    record = read_json(tmp_path / "results" / "zoo--llava-healthy" / "phantom-200" / "record.json")
    assert record["model"]["engine"] == "last-label"
    assert record["configuration"]["loaded"]["fingerprint"] == {"version": 1, "key": "1"}
    without = run(tmp_path, *ask, "--engine", "last-label")
    assert without.returncode == 2
    assert "'last-label' is no engine; there are auto, transformers, vllm, openai" in without.stderr


def test_folders_of_tasks_are_named(tmp_path: Path) -> None:
    task(tmp_path / "one", "lumps")
    task(tmp_path / "two", "bumps")
    included = ("--include-path", "one", "--include-path", "two")
    listed = run(tmp_path, "tasks", "list", *included).stdout
    assert {"lumps", "bumps"} <= {line.split()[0] for line in listed.splitlines()}
    assert "bumps: bumps" in run(tmp_path, "tasks", "show", "bumps", *included).stdout
    assert "1 file checked, 0" in run(tmp_path, "tasks", "validate", "bumps", *included).stdout
    plan = run(
        tmp_path, *("eval", "--tasks", "?umps", "--models", "zoo/llava-healthy", "--dry-run"), *included
    )
    assert plan.returncode == 0, plan.stderr
    assert "lumps" in plan.stdout
    assert "bumps" in plan.stdout
    unknown = run(tmp_path, "eval", "--tasks", "lumps", "--models", "zoo/llava-healthy", "--dry-run")
    assert unknown.returncode == 2


def test_a_name_that_is_taken_is_an_error_that_names_both(tmp_path: Path) -> None:
    task(tmp_path / "one", "phantom")
    for command in (("eval", "--tasks", "busi", "--models", "zoo", "--dry-run"), ("tasks", "list")):
        done = run(tmp_path, *command, "--include-path", "one")
        assert done.returncode in (1, 2)
        assert "one/phantom.yaml" in done.stderr
        assert "tasks/phantom.yaml" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_what_cannot_be_loaded_is_named_and_stands_in_nobodys_way(tmp_path: Path) -> None:
    points = (
        "[harness.tasks]\nbroken-tasks = broken.wrong:folder\nno-folder = broken:__name__\n"
        "taken = broken.taken:FOLDER\nleaving = broken.leaving:FOLDER\n"
        "[harness.engines]\nbroken-engine = broken.wrong:load\ntransformers = broken.engine:LastLabel\n"
    )
    taken = f"FOLDER = {str(task(tmp_path / 'taken', 'phantom'))!r}\n"
    site = install(
        tmp_path / "site", "broken", points, wrong=BROKEN, taken=taken, engine=ENGINE, leaving=LEAVING
    )
    listed = run(tmp_path, "tasks", "list", site=site)
    assert listed.returncode == 0
    assert "phantom-200" in listed.stdout
    for name, why in (
        ("broken-tasks", "RuntimeError: this package is broken"),
        ("no-folder", "broken is no folder"),
        ("taken", "has the name of the task"),
        ("leaving", "SystemExit: 3"),
    ):
        (line,) = (line for line in listed.stderr.splitlines() if f"entry point {name} = " in line)
        assert "of broken is left out" in line
        assert why in line
    ask = ("eval", "--tasks", "phantom-200", "--models", "zoo/llava-healthy", "--no-probe", "--limit", "5")
    done = run(tmp_path, *ask, site=site)
    assert done.returncode == 0, done.stderr
    assert "transformers = broken.engine:LastLabel (harness.engines) of broken has the name" in done.stderr
    record = read_json(tmp_path / "results" / "zoo--llava-healthy" / "phantom-200" / "record.json")
    assert record["model"]["engine"] == "transformers"  # and not the package's of that name
    wanted = run(tmp_path, *ask, "--engine", "broken-engine", "--output", "other", site=site)
    assert wanted.returncode == 1
    assert "broken-engine = broken.wrong:load (harness.engines) of broken cannot be loaded" in wanted.stderr


def test_an_engine_that_fails_or_is_none_fails_alone(tmp_path: Path, card: Path) -> None:
    wrong = (
        "def load(card, options):\n    return options.model_args[card.name]\n\n"
        "def none(card, options):\n    return 1\n"
    )
    points = "[harness.engines]\nlast-label = wrong.engine:load\nnone = wrong.engine:none\n"
    site = install(tmp_path / "site", "wrong", points, engine=wrong)
    ask = ("eval", "--tasks", "phantom-200", "--models", str(card), "--no-probe", "--limit", "5")
    done = run(tmp_path, *ask, site=site)
    assert done.returncode == 1
    assert "last-label = wrong.engine:load (harness.engines) of wrong failed (KeyError" in done.stderr
    done = run(tmp_path, *ask, "--engine", "none", site=site)
    assert done.returncode == 1
    assert "returned a int, which is no engine" in done.stderr


def test_an_engine_that_answers_nothing_has_failed(tmp_path: Path, card: Path) -> None:
    engine = ENGINE.replace("float(i) for i in", "float('nan') for i in")
    points = "[harness.engines]\nlast-label = silent.engine:LastLabel\n"
    site = install(tmp_path / "site", "silent", points, engine=engine)
    ask = ("eval", "--tasks", "phantom-200", "--models", str(card), "--no-probe")
    done = run(tmp_path, *ask, site=site)
    (record,) = (tmp_path / "results").glob("*/phantom-200/record.json")
    assert read_json(record)["status"] == "failed"
    assert "(failed)" in done.stdout
    assert done.returncode == 1


def test_what_a_packages_engine_raises_ends_its_own_run_alone(tmp_path: Path, card: Path) -> None:
    once = (
        "if not hasattr(self, 'asked'):\n{0}    self.asked = True\n{0}    raise ValueError('not\\nnow')\n{0}"
    )
    engine = ENGINE.replace("scores = [", once.format(" " * 8) + "scores = [", 1)
    points = "[harness.engines]\nlast-label = moody.engine:LastLabel\n"
    site = install(tmp_path / "site", "moody", points, engine=engine)
    task(tmp_path, "two")
    ask = ("eval", "--tasks", "two.yaml,phantom-200", "--models", str(card), "--no-probe", "--limit", "5")
    done = run(tmp_path, *ask, site=site)
    assert done.returncode == 1
    said = "last-label = moody.engine:LastLabel (harness.engines) of moody failed (ValueError: not now)"
    assert said in done.stderr
    assert "bug" not in done.stderr
    assert len(list((tmp_path / "results").glob("*/*/record.json"))) == 1  # the other task was done
