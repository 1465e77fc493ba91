"""Pooled features of every architecture are those that the library itself reports, whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from probes.sites import curve
from tests.model_adapters.tiny.models import BUILDERS, WITH_OWN_CODE
from tests.model_adapters.tiny.plain import plain_model, queries

CONSUMED = {"llava_clip": 1, "llava_next": 1, "qwen3_vl": 3}  # the others read the last of three blocks

architectures = pytest.mark.parametrize("name", [*BUILDERS, *WITH_OWN_CODE])


@architectures
@pytest.mark.parametrize("batch_size", [1, 8])
def test_features_equal_the_librarys_own_states(name, batch_size, tiny_engine, tiny_folder):
    asked = queries()
    seen = tiny_engine(name, batch_size).score(asked, observe=True).features
    plain = plain_model(tiny_folder(name), name)
    for row, query in enumerate(asked):
        expected = plain.features(query)
        more = {key for key in seen if key.startswith(last_layer(seen)) or key.endswith(".regrouped")}
        assert set(seen) - set(expected) == more  # tested in the next test and in test_regrouping
        for key, vector in expected.items():
            np.testing.assert_allclose(seen[key][row], vector, atol=1e-4, err_msg=f"{name} {query.id} {key}")


@architectures
def test_last_layer_is_taken_before_the_final_norm(name, tiny_engine, tiny_folder):
    engine, asked = tiny_engine(name), queries()
    seen = engine.score(asked, observe=True).features
    plain = plain_model(tiny_folder(name), name)
    for row, query in enumerate(asked):
        with torch.no_grad():
            normed = engine.anatomy.final_norm(torch.tensor(seen[f"{last_layer(seen)}.last"][row])).numpy()
        np.testing.assert_allclose(normed, plain.normed_last_state(query), atol=1e-4)
        mean = seen[f"{last_layer(seen)}.mean"][row]
        np.testing.assert_allclose(mean, plain.last_layer_mean(query), atol=1e-4)


@architectures
def test_image_tokens_are_counted(name, tiny_engine, tiny_folder):
    engine, plain = tiny_engine(name), plain_model(tiny_folder(name), name)
    asked = queries()
    assert engine.image_tokens(asked) == tuple(plain.image_tokens(query) for query in asked)


@architectures
def test_sites_name_every_layer_and_the_one_that_is_consumed(name, tiny_engine):
    engine = tiny_engine(name)
    seen = engine.score(queries()[:2], observe=True).features
    assert {site.key: site.width for site in engine.sites} == {key: a.shape[1] for key, a in seen.items()}
    assert all(array.dtype == np.float32 for array in seen.values())
    assert {site.layer for site in engine.sites if site.consumed} == {CONSUMED.get(name, 2)}
    assert curve(engine.sites, "vision", "mean")[-1].consumed
    assert len(curve(engine.sites, "connector", "mean")) == 1
    layers = list(range(len(engine.anatomy.decoder_layers)))
    for pool in ("mean", "last"):  # image tokens and last prompt token, at every decoder layer
        assert [site.layer for site in curve(engine.sites, "llm", pool)] == layers


def test_nothing_stays_hooked_and_answers_do_not_depend_on_being_watched(tiny_engine):
    engine, asked = tiny_engine("llava_siglip"), queries()
    unwatched = engine.score(asked)
    hooks = [len(module._forward_hooks) for module in engine._model.modules()]
    watched = engine.score(asked, observe=True)
    assert watched.scores == unwatched.scores
    assert unwatched.features == {}
    assert [len(module._forward_hooks) for module in engine._model.modules()] == hooks


def test_features_that_are_not_finite_are_refused_by_name(tiny_folder):
    from model_adapters.catalog.registry import load_engine, resolve
    from model_adapters.interface import ModelError

    engine = load_engine(resolve([str(tiny_folder("llava_siglip"))])[0].card, device="cpu")
    with torch.no_grad():
        engine.anatomy.decoder_layers[1].mlp.down_proj.weight.fill_(float("inf"))
    with pytest.raises(ModelError, match=r"features of llm\.01"):
        engine.score(queries(), observe=True)
    assert all("not finite" in scores.error for scores in engine.score(queries()).scores)


def last_layer(seen):
    return max(key for key in seen if key.startswith("llm")).rpartition(".")[0]
