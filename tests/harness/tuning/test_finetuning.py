"""`harness finetune` and what `harness eval` makes of its result."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from harness.console import Console
from harness.data.dataset import DataError
from harness.data.sources import load_dataset
from harness.plan.options import EvalOptions
from harness.plan.plan import make_plan
from harness.plan.tuning_halves import ALL, tuning_halves, without_tuned_images
from harness.tuning.finetuning import _choose, finetune
from harness.tuning.options import FinetuneOptions
from leaderboard.record.record import read_record
from model_adapters.catalog.card import ModelCard, load_card
from model_adapters.catalog.registry import load_engine, resolve
from model_adapters.catalog.tuned import ADAPTER, TUNED, read_tuned
from model_adapters.finetune.settings import TuningSettings
from model_adapters.interface import ModelError
from tests.harness.conftest import harness, read_lines
from tests.model_adapters.finetune.small_phantom import phantom_task, phantom_yaml

MODEL = "zoo/llava-healthy"
QUICK = TuningSettings(rank=8, alpha=16, epochs=1, evaluations=2, batch=8, micro_batch=8)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in model as a folder of one's own, which may be moved away."""
    from model_adapters.catalog.revision import model_folder

    folder = tmp_path_factory.mktemp("base") / "llava"
    found = model_folder(resolve([MODEL])[0].card)
    assert found is not None
    shutil.copytree(found, folder)
    (folder / "card.yaml").write_text("name: llava\npath: .\ndtype: float32\nprompt: {label_prefix: ''}\n")
    return folder


@pytest.fixture(scope="session")
def tuned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was tuned on 20 images of a task of 40, in a step of three; and the task's YAML beside it."""
    root = tmp_path_factory.mktemp("tuned")
    card = resolve([str(base)])[0].card
    finetune(FinetuneOptions(phantom_task(root, train=40), card, root / "model", QUICK), Console())
    return root / "model"


def evaluate(tuned: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return harness(
        *("eval", "--models", str(tuned), "--output", "out", "--no-probe", *arguments), folder=tuned.parent
    )


def test_tuned_folder_says_what_it_is(tuned: Path, base: Path) -> None:
    about = read_tuned(tuned)
    assert about is not None
    task = phantom_task(tuned.parent, train=40)
    halves = tuning_halves(load_dataset(task, max_train=ALL))
    assert about.tuning_half.ids == tuple(s.id for s in halves.tuning)
    assert (about.tuning_half.used, about.steps, about.task) == (20, 3, "small")
    card = yaml.safe_load((tuned / "card.yaml").read_text())
    own = {"name": "llava", "path": str(base), "dtype": "float32", "prompt": {"label_prefix": ""}}
    assert card == {**own, "adapter": "."}
    assert list(card) == [key for key in ModelCard.model_fields if key in card]
    assert load_card(tuned / "card.yaml").adapter == str(tuned)
    assert not (tuned / "checkpoint").exists()


def test_eval_of_a_tuned_folder_is_filed_as_lora_with_the_probing_half(tuned: Path) -> None:
    done = evaluate(tuned, "--tasks", "small.yaml")
    assert done.returncode == 0, done.stderr
    record = read_record(tuned.parent / "out" / "llava@lora" / "small" / "record.json")
    assert record.condition == "lora"
    assert record.task.n_train == 20
    part = record.tuning
    assert part is not None
    assert (part.task, part.n_tuning, part.disjoint, part.n_shared, part.n_test_shared) == (
        "small",
        20,
        True,
        0,
        0,
    )
    assert "llava@lora" in done.stdout


def test_both_conditions_are_planned_side_by_side(tuned: Path, base: Path) -> None:
    plan = make_plan(
        [str(tuned.parent / "small.yaml")], [str(base), str(tuned)], EvalOptions(output=Path("out"))
    )
    assert [str(run.folder) for run in plan.to_run] == ["out/llava/small", "out/llava@lora/small"]
    assert [run.card.adapter for run in plan.to_run] == [None, str(tuned)]


def test_probes_of_another_task_have_all_of_its_training_images(tuned: Path) -> None:
    card = load_card(tuned / "card.yaml")
    root = tuned.parent
    own = phantom_task(root, train=40)

    def images(task: object) -> set[str]:
        found = without_tuned_images(load_dataset(task, max_train=ALL), card, None)  # type: ignore[arg-type]
        return {s.id for s in found.split("train")}

    halves = tuning_halves(load_dataset(own, max_train=ALL))
    assert images(own) == {s.id for s in halves.probing}
    # A larger task of the same images: those that were tuned on are out, the others stay.
    larger = phantom_task(root, "larger", train=60)
    assert images(larger) == {f"train/{i:06d}" for i in range(60)} - {s.id for s in halves.tuning}


def test_done_before_is_said_and_another_tuning_refused(
    tuned: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = FinetuneOptions(
        phantom_task(tuned.parent, train=40), resolve([str(base)])[0].card, tuned, QUICK
    )
    before = (tuned / ADAPTER).stat().st_mtime_ns
    finetune(options, Console())
    assert "fine-tuned before, nothing to do" in capsys.readouterr().err
    assert (tuned / ADAPTER).stat().st_mtime_ns == before
    with pytest.raises(ModelError, match=r"holds another tuning .*--overwrite"):
        finetune(replace(options, settings=replace(QUICK, rank=4)), Console())


def test_folder_of_a_model_is_never_written_to(tuned: Path, base: Path) -> None:
    card = resolve([str(base)])[0].card
    options = FinetuneOptions(phantom_task(tuned.parent, train=40), card, base, QUICK, overwrite=True)
    with pytest.raises(ModelError, match="holds a model; choose another --output"):
        finetune(options, Console())
    assert (base / "card.yaml").exists()


def test_words_around_the_question_that_were_given_are_on_the_tuned_card(base: Path, tmp_path: Path) -> None:
    card = resolve([str(base)])[0].card
    options = FinetuneOptions(
        phantom_task(tmp_path, train=20, val=5),
        card,
        tmp_path / "model",
        QUICK,
        model_args={"system": "cyst"},
    )
    finetune(options, Console())
    assert load_card(tmp_path / "model" / "card.yaml").prompt.system == "cyst"


def test_tuned_folder_whose_base_is_missing_or_another(tuned: Path, base: Path) -> None:
    card = load_card(tuned / "card.yaml")
    moved = base.with_name("moved")
    base.rename(moved)
    try:
        with pytest.raises(ModelError, match=r"there is no folder .*llava, which holds the base model"):
            load_engine(card, device="cpu")
        shutil.copytree(moved, base)
        (base / "generation_config.json").write_text("{}")
        with pytest.raises(
            ModelError, match=r"was tuned from the weights sha256:\w+, but those that the card"
        ):
            load_engine(card, device="cpu")
        shutil.rmtree(base)
    finally:
        moved.rename(base)


def test_engine_that_merges_no_adapter_is_refused(tuned: Path) -> None:
    with pytest.raises(ModelError, match="the engine vllm merges no adapter; leave --engine out"):
        load_engine(load_card(tuned / "card.yaml"), engine="vllm")


def test_task_without_validation_or_halves_is_refused(tmp_path: Path) -> None:
    card = resolve([MODEL])[0].card
    tiny = FinetuneOptions(phantom_task(tmp_path, "tiny", train=5), card, tmp_path / "out", QUICK)
    with pytest.raises(DataError, match=r"cannot be halved by group: the .* half has none of class"):
        finetune(tiny, Console())
    whole = load_dataset(tiny.task)
    for name in ("train", "val"):
        lacking = replace(whole, samples=tuple(s for s in whole.samples if s.split != name))
        with pytest.raises(DataError, match=f"tiny: no {name} image, so no model can be fine-tuned on it"):
            _choose(lacking, tiny)
    with pytest.raises(ModelError, match="has no weights here that could be fine-tuned"):
        finetune(replace(tiny, card=resolve(["reference"])[0].card), Console())


def test_ctrl_c_leaves_a_checkpoint_and_the_same_tuning_goes_on(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phantom_yaml(tmp_path, "small", train=80, val=10)
    command = [
        *("finetune", "--task", "small.yaml", "--model", str(base), "--output", "model", "--rank", "4"),
        *("--epochs", "2", "--evaluations", "2", "--patience", "9", "--micro-batch", "8"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *command],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if line.startswith("step 0"):
            process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130, said
    assert "interrupted; start the same command again to go on" in said
    assert (tmp_path / "model" / "checkpoint" / "state.safetensors").exists()
    assert not (tmp_path / "model" / TUNED).exists()
    settings = TuningSettings(rank=4, epochs=2, evaluations=2, patience=9, micro_batch=8)
    task = phantom_task(tmp_path, train=80, val=10)
    options = FinetuneOptions(task, resolve([str(base)])[0].card, tmp_path / "model", settings)
    about = finetune(options, Console())  # what the command calls with these options
    assert re.search(r"goes on after step \d of 10\n", capsys.readouterr().err)
    assert about.steps == 10
    assert not (tmp_path / "model" / "checkpoint").exists()


@pytest.mark.slow
def test_tuning_teaches_new_words(tmp_path: Path) -> None:
    """Every class goes by another's name here: the model as it was is wrong nearly always."""
    task = phantom_task(tmp_path, "renamed", train=160, val=30, shift=1)
    settings = TuningSettings(epochs=3, evaluations=1, batch=8, micro_batch=8, learning_rate=1e-3)
    about = finetune(FinetuneOptions(task, resolve([MODEL])[0].card, tmp_path / "model", settings), Console())
    kept = next(look for look in about.looks if look.step == about.kept)
    assert about.looks[0].balanced_accuracy < 0.2
    assert kept.balanced_accuracy > 0.6
    assert np.isfinite(kept.log_loss)


@pytest.mark.slow
def test_probes_of_a_tuned_model_are_fitted_on_the_probing_half(tuned: Path) -> None:
    """The whole of an evaluation: the layers watched are those of the merged model."""
    done = harness(
        *("eval", "--models", str(tuned), "--output", "whole", "--tasks", "small.yaml", "--floors", "task"),
        "--no-answer-target",
        folder=tuned.parent,
    )
    assert done.returncode == 0, done.stderr
    folder = tuned.parent / "whole" / "llava@lora" / "small"
    record = read_record(folder / "record.json")
    trained = {line["id"] for line in read_lines(folder / "samples.jsonl") if line["split"] == "train"}
    about = read_tuned(tuned)
    assert about is not None
    assert len(trained) == record.task.n_train == 20
    assert not trained & set(about.tuning_half.ids)
    assert {probe.module for probe in record.probes} == {"vision", "connector", "llm"}
    assert record.diagnosis is not None
