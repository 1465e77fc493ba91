"""Each planted fault is what the catalogue says it is, seen in the model itself and not by any diagnosis."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.tuning.zoo_build import phantom_set
from model_adapters.catalog.built_in_weights import build_one
from model_adapters.catalog.faults import FAULTS, Degree
from model_adapters.zoo.architecture import TinyModel
from model_adapters.zoo.faults import upstream
from model_adapters.zoo.faults.dose import Dose
from model_adapters.zoo.faults.plant import plant
from model_adapters.zoo.faults.subject import Subject, make_subject
from model_adapters.zoo.stored import open_model
from model_adapters.zoo.training.optimise import StageSettings
from tests.model_adapters.zoo.fault_claims import CLAIMS, distance, earlier_layer

IMAGES = 420  # some for readers, the others answered


@pytest.fixture(scope="module")
def subject_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Subject]:
    folder, images = tmp_path_factory.mktemp("zoo"), phantom_set(IMAGES)

    @cache
    def subject(family: str) -> Subject:
        return make_subject(open_model(build_one(f"zoo/{family}-healthy", folder)), [images])

    return subject


@pytest.fixture(autouse=True)
def in_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is planted is looked at here, not how well a model gets used to it, nor how exactly it is dosed."""
    few = StageSettings(steps=2, batch=8, learning_rate=5e-4)
    monkeypatch.setattr(upstream, "adapt", partial(upstream.adapt, settings=few))

    def at_once(measure: Callable[[float], float], target: float, high: float, **named: Any) -> Dose:
        severity = min(2.0 * high, named["limit"]) if target > 20 else 0.5 * high
        return Dose(severity, measure(severity))

    monkeypatch.setattr(upstream, "find_dose", at_once)
    monkeypatch.setattr(upstream, "_towards", lambda order, planted: planted(order.target))


def weights(tiny: TinyModel) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in tiny.model.named_parameters()}


def test_every_fault_has_its_claim() -> None:
    assert set(CLAIMS) == set(FAULTS)


@pytest.mark.parametrize("fault", sorted(CLAIMS))
def test_the_planted_thing_is_what_the_catalogue_says(
    fault: str, subject_of: Callable[[str], Subject]
) -> None:
    family, claim = CLAIMS[fault]
    subject = subject_of(family)
    before = weights(subject.tiny)
    planted = [plant(subject, fault, degree) for degree in FAULTS[fault].degrees]
    claim(subject, *planted)
    assert all(p.severity > 0 and p.fault is FAULTS[fault] for p in planted)
    after = weights(subject.tiny)
    assert all(torch.equal(after[name], weight) for name, weight in before.items())  # the healthy one is left
    assert all(torch.isfinite(w.half()).all() for p in planted for w in p.tiny.model.parameters())


def test_a_wrong_layer_is_written_into_the_configuration(subject_of: Callable[[str], Subject]) -> None:
    subject = subject_of("llava")
    earlier_layer(subject, plant(subject, "wrong_layer", "strong"))


@pytest.mark.parametrize("fault", ["lossy_connector_unadapted", "blind", "not_used"])
def test_one_seed_gives_one_model_and_another_another(
    fault: str, subject_of: Callable[[str], Subject]
) -> None:
    """Up to the last bits: how the linear algebra sums depends on where arrays happen to lie in memory."""
    subject = subject_of("gemma3")
    degree: Degree = "mild" if fault == "blind" else "strong"
    one, same, other = (plant(subject, fault, degree, seed=seed) for seed in (0, 0, 1))
    planted = distance(one, subject)
    assert distance(one, same) < 1e-3 * planted
    if fault != "blind":  # its noise is computed from what the image otherwise says: nothing is drawn
        assert distance(one, other) > 0.1 * planted


def test_what_is_no_fault_is_refused_with_what_there_is(subject_of: Callable[[str], Subject]) -> None:
    subject = subject_of("gemma3")
    with pytest.raises(ValueError, match="unknown fault 'deaf'; known: weak_vision"):
        plant(subject, "deaf", "strong")
    with pytest.raises(ValueError, match="'permuted' comes strong, not 'mild'"):
        plant(subject, "permuted", "mild")
