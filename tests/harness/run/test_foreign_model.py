"""A model of the LLaVA type that is not ours, with a card made by `harness models add`, gets its verdict.

It shares nothing with the built-in models: a CLIP tower with a class token, the connector reading the layer
before the last, another tokenizer, another chat template, and weights that never saw the task. With random
weights throughout, the class is lost where the pixels enter, and a reference shows that it was there.
"""

from __future__ import annotations

import pytest

from leaderboard.record.record import Record, read_record
from tests.harness.conftest import harness, result
from tests.model_adapters.tiny.models import BUILDERS


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    folder = tmp_path_factory.mktemp("foreign")
    BUILDERS["llava_clip"](folder / "their-llava")
    added = harness("models", "add", "their-llava", "--name", "clinic/their-llava", folder=folder)
    assert added.returncode == 0, added.stderr
    card = "clinic--their-llava.yaml"
    done = harness("eval", "--tasks", "phantom-200", "--models", card, "--output", "out", folder=folder)
    assert done.returncode == 0, done.stderr
    return read_record(result(folder / "out", "clinic--their-llava") / "record.json")


def test_it_gets_the_same_kind_of_verdict(record: Record) -> None:
    found = record.diagnosis
    assert record.status == "complete"
    assert found is not None
    assert found.verdict == "vision"
    assert found.reference is not None
    assert [drop.mode for drop in found.drops] == ["vision", "connector", "comprehension", "mapping"]
    assert found.drops[0].significant
    assert found.sentences is not None
    assert "vision encoder" in found.sentences[0]


def test_the_layer_that_its_connector_reads_is_judged(record: Record) -> None:
    """The last block of the tower feeds nothing in a model whose `vision_feature_layer` is -2."""
    layers = {probe.layer for probe in record.probes if probe.module == "vision"}
    consumed = {probe.layer for probe in record.probes if probe.consumed}
    assert consumed == {max(layers) - 1}
    assert record.health is not None
    assert record.floors is not None
    assert record.floors.random_vision is not None
