"""One engine answers and another watches the same model: each does its own part alone."""

from __future__ import annotations

import numpy as np
import pytest

from model_adapters.engines.paired.engine import AnsweringAndWatching
from model_adapters.engines.transformers.engine import TransformersEngine
from model_adapters.interface import Engine, ModelError
from tests.model_adapters.tiny.plain import queries


def test_answers_come_from_one_and_features_from_the_other(tiny_engine, monkeypatch):
    answering, watching = tiny_engine("llava_clip", 1), tiny_engine("llava_clip", 8)
    asked = queries()
    scores, features = answering.score(asked).scores, watching.score(asked, observe=True).features
    texts = answering.generate(asked, max_new_tokens=3)
    both = AnsweringAndWatching(answering, watching)
    assert isinstance(both, Engine)
    assert isinstance(both.watching, TransformersEngine)
    assert both.sites == watching.sites
    calls = []
    for name, engine in (("answering", answering), ("watching", watching)):
        for method in ("score", "generate"):
            done = getattr(engine, method)
            monkeypatch.setattr(
                engine, method, lambda *a, n=name, m=method, d=done, **k: calls.append((n, m)) or d(*a, **k)
            )
    assert both.score(asked).scores == scores
    assert both.score(asked).features == {}
    assert both.generate(asked, max_new_tokens=3) == texts
    assert {name for name, _ in calls} == {"answering"}
    seen = both.score(asked, observe=True)
    assert seen.scores == scores
    assert ("watching", "score") in calls
    assert seen.features.keys() == features.keys()
    for key, array in features.items():
        np.testing.assert_allclose(seen.features[key], array, atol=1e-5)


def test_its_description_names_both(tiny_engine):
    answering, watching = tiny_engine("llava_clip", 1), tiny_engine("llava_clip", 8)
    both = AnsweringAndWatching(answering, watching).description
    assert (both.name, both.engine) == (answering.description.name, answering.description.engine)
    for part, engine in (("answering", answering), ("watching", watching)):
        assert both.fingerprint[part]["engine"] == "transformers"
        assert both.fingerprint[part]["processor"] == engine.description.fingerprint["processor"]


def test_two_models_make_no_pair(tiny_engine):
    with pytest.raises(ModelError, match="both must be given the same model"):
        AnsweringAndWatching(tiny_engine("llava_clip"), tiny_engine("llava_siglip"))
