"""What a study's YAML may hold, and what its mistakes are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.study.document import StudyError, load_study
from model_adapters.finetune.settings import TuningSettings
from tests.harness.study.small import study_yaml

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", ["demo", "paper"])
def test_the_shipped_studies_are_studies(name: str) -> None:
    study = load_study(ROOT / "studies" / f"{name}.yaml")
    assert study.name == name
    assert study.conditions == ("released", "lora")
    for model in study.models:
        study.finetuning.of(model, study.seed)


def test_the_papers_study_tunes_with_its_probable_settings() -> None:
    settings = load_study(ROOT / "studies" / "paper.yaml").finetuning.of("lingshu-7b", 0)
    assert (settings.rank, settings.alpha, settings.dropout, settings.batch) == (64, 128, 0.05, 8)
    assert (settings.learning_rate, settings.warm_up) == (2e-4, 0.03)
    assert (settings.connector, settings.vision, settings.targets) == (True, False, ())


def test_settings_of_one_model_stand_above_those_of_all(tmp_path: Path) -> None:
    tuning = {"settings": {"rank": 4, "epochs": 2}, "by_model": {"a": {"rank": 2, "targets": ["q_proj"]}}}
    found = load_study(study_yaml(tmp_path, finetuning=tuning)).finetuning
    assert found.of("a", 7) == TuningSettings(rank=2, epochs=2, targets=("q_proj",), seed=7)
    assert found.of("b", 0) == TuningSettings(rank=4, epochs=2)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"modles": ["zoo"]}, "modles: unknown key; did you mean `models`?"),
        ({"models": []}, "models"),
        ({"models": ["zoo", "zoo"]}, "'zoo' stands there twice"),
        ({"conditions": ["lorra"]}, "conditions[0]"),
        ({"name": "../up"}, "name"),
        ({"seed": -1}, "seed"),
        ({"evaluation": {"limit": 0}}, "evaluation.limit: must be greater than"),
        ({"finetuning": {"settings": {"learningrate": 1}}}, "no setting 'learningrate'"),
        ({"finetuning": {"by_model": {"a": {"part": "vision"}}}}, "no setting 'part'"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    path = study_yaml(tmp_path, **keys)
    with pytest.raises(StudyError) as refused:
        load_study(path)
    assert said in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_seed_that_stands_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("name: a\ntitle: b\nmodels: [zoo]\ntasks: [phantom]\nseed: 1\nseed: 2\n")
    with pytest.raises(StudyError, match=r"study\.yaml:6: seed: stands twice; first in line 5"):
        load_study(path)


@pytest.mark.parametrize("text", ["", "- a\n", "a: [", "x: !!python/object:os.system {}\n", "\xff\xfe"])
def test_what_is_no_study_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(StudyError, match=r"study\.yaml"):
        load_study(path)


def test_a_setting_that_means_nothing_is_named_with_its_model(tmp_path: Path) -> None:
    study = load_study(study_yaml(tmp_path, finetuning={"settings": {"rank": 0}}))
    with pytest.raises(StudyError, match=r"finetuning of zoo/x: .*rank is 0"):
        study.finetuning.of("zoo/x", 0)
    study = load_study(study_yaml(tmp_path, finetuning={"settings": {"rank": "four"}}))
    with pytest.raises(StudyError, match="finetuning of zoo/x"):
        study.finetuning.of("zoo/x", 0)
