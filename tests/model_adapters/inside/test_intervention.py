"""Changed hidden states: an engine's answers are those that plain forward hooks on the library's model give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from model_adapters.engines.transformers.engine import TransformersEngine
from model_adapters.inside.intervention import (
    Erase,
    Patch,
    can_intervene,
    connector_is_only_way,
    intervene,
    picture_layout,
    token_states,
)
from model_adapters.interface import ModelDescription, ModelError, Query
from probes.sites import Site, curve
from tests.model_adapters.tiny.plain import PlainModel, picture, plain_model, queries

LABELS = ("normal", "benign", "malignant")
PLACES = ("connector.00.mean", "llm.00.mean", "llm.01.mean", "llm.01.last", "llm.02.last")

# Class token dropped, tiles, packed patches, deep-stack, image tokens that see each other.
SHOWN = ("llava_clip", "llava_next", "qwen2_5_vl", "qwen3_vl", "gemma3")

architectures = pytest.mark.parametrize("name", SHOWN)
places = pytest.mark.parametrize("place", PLACES)
Change = Callable[[Tensor], Tensor]  # (tokens, width) -> (tokens, width)


def like_queries() -> tuple[Query, ...]:
    """Questions of one prompt about pictures of one size."""
    return tuple(
        Query(name, picture(64, 64, seed), "normal or benign?", LABELS) for seed, name in enumerate("abcd")
    )


def site_of(engine: TransformersEngine, key: str) -> Site:
    return next(site for site in engine.sites if site.key == key)


def eraser(site: Site, rank: int = 2) -> Erase:
    """An oblique projection of large effect."""
    rng = np.random.default_rng(site.layer + rank)
    read = rng.standard_normal((site.width, rank))
    removed = rng.standard_normal((site.width, rank))
    return Erase(site, rng.standard_normal(site.width), read, removed @ np.linalg.inv(read.T @ removed))


def erased(change: Erase) -> Change:
    projection = torch.tensor(change.removed @ change.read.T, dtype=torch.float32)
    mean = torch.tensor(change.mean, dtype=torch.float32)
    return lambda rows: rows - (rows - mean) @ projection.T


@contextmanager
def hooked(
    plain: PlainModel, engine: TransformersEngine, site: Site, query: Query, change: Change
) -> Iterator[None]:
    """Change one query's tokens by a hook on the plain model, whatever follows its prompt."""
    prompt = plain.inputs(query)["input_ids"][0]
    if site.module == "connector":
        path, rows = engine.anatomy.connector_path, None
    else:
        path = f"{engine.anatomy.decoder_path}.{site.layer}"
        is_image = (prompt == plain.model.config.image_token_id).nonzero()[:, 0]
        rows = is_image if site.pool == "mean" else torch.tensor([len(prompt) - 1])

    def hook(_module: object, _inputs: object, output: object) -> object:
        states = (output[0] if isinstance(output, tuple) else output).clone()  # type: ignore[index,union-attr]
        if rows is None:
            states = change(states.reshape(-1, states.shape[-1])).reshape(states.shape)
        else:
            states[0, rows] = change(states[0, rows])
        return (states, *output[1:]) if isinstance(output, tuple) else states

    handle = dict(plain.model.named_modules())[path].register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def plain_scores(
    plain: PlainModel, engine: TransformersEngine, site: Site, query: Query, change: Change
) -> list[float]:
    with hooked(plain, engine, site, query, change):
        return [plain.label_score(query, label)[0] for label in query.labels]


def plain_states(plain: PlainModel, engine: TransformersEngine, site: Site, query: Query) -> Tensor:
    seen: list[Tensor] = []

    def keep(rows: Tensor) -> Tensor:
        seen.append(rows.clone())
        return rows

    with hooked(plain, engine, site, query, keep), torch.no_grad():
        plain.model(**plain.inputs(query), use_cache=False)
    return torch.cat(seen)


@architectures
@places
def test_erasing_gives_the_scores_of_a_plain_hook(name, place, tiny_engine, tiny_folder):
    engine, plain = tiny_engine(name), plain_model(tiny_folder(name), name)
    site = site_of(engine, place)
    asked = [q for q in queries() if len({label.split()[0] for label in q.labels}) == len(q.labels)]
    unchanged = engine.score(asked).scores
    with intervene(engine, eraser(site)):
        changed = engine.score(asked).scores
    for query, before, after in zip(asked, unchanged, changed, strict=True):
        expected = plain_scores(plain, engine, site, query, erased(eraser(site)))
        np.testing.assert_allclose(after.raw, expected, atol=2e-4)
        assert np.abs(np.subtract(before.raw, after.raw)).max() > 1e-3


@architectures
@places
def test_patching_gives_the_scores_of_a_plain_hook(name, place, tiny_engine, tiny_folder):
    engine, plain = tiny_engine(name), plain_model(tiny_folder(name), name)
    site, asked = site_of(engine, place), like_queries()
    states = token_states(engine, asked, site)
    recorded = {q.id: plain_states(plain, engine, site, q) for q in asked}
    for query_id, rows in recorded.items():
        torch.testing.assert_close(states[query_id], rows, atol=1e-4, rtol=1e-4)
    donors = {"a": "b", "b": "c", "d": "a"}  # c keeps its own
    unchanged = engine.score(asked).scores
    with intervene(engine, Patch(site, {q: states[donor] for q, donor in donors.items()})):
        changed = engine.score(asked).scores
    for query, before, after in zip(asked, unchanged, changed, strict=True):
        given = recorded[donors.get(query.id, query.id)]
        expected = plain_scores(plain, engine, site, query, lambda rows, given=given: given)
        np.testing.assert_allclose(after.raw, expected, atol=2e-4)
        assert (before.raw == after.raw) is (query.id == "c")


@architectures
def test_what_the_last_layer_makes_of_image_tokens_is_read_by_nothing(name, tiny_engine):
    engine, asked = tiny_engine(name), queries()
    last = curve(engine.sites, "llm", "mean")[-1]
    unchanged = engine.score(asked).scores
    with intervene(engine, eraser(last)):
        assert engine.score(asked).scores == unchanged


@architectures
def test_a_donors_connector_output_gives_the_donors_answer_where_it_is_the_only_way(name, tiny_engine):
    engine, (first, second, *_) = tiny_engine(name), like_queries()
    only_way = connector_is_only_way(engine, first, second)
    assert only_way is (name != "qwen3_vl")  # deep-stack: features enter at three layers more
    site = site_of(engine, "connector.00.mean")
    donor = token_states(engine, [second], site)[second.id]
    with intervene(engine, Patch(site, {first.id: donor})):
        patched = engine.score([first]).scores[0].raw
    assert (patched == engine.score([second]).scores[0].raw) is only_way


@architectures
@places
def test_features_seen_inside_are_the_erased_ones(name, place, tiny_engine):
    engine, asked = tiny_engine(name), queries()
    site = site_of(engine, place)
    before = engine.score(asked, observe=True).features[site.key]
    change = eraser(site)
    with intervene(engine, change):
        after = engine.score(asked, observe=True).features[site.key]
    expected = before - (before - change.mean) @ change.read @ change.removed.T
    np.testing.assert_allclose(after, expected, atol=2e-4)


@architectures
@places
def test_an_eraser_of_nothing_changes_no_bit_and_nothing_stays_behind(name, place, tiny_engine):
    engine, asked = tiny_engine(name), queries()
    site, prepare = site_of(engine, place), engine._prepare
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in engine._model.modules()]
    unchanged = engine.score(asked, observe=True)
    with intervene(engine, eraser(site, rank=0)):
        inside = engine.score(asked, observe=True)
    assert inside.scores == unchanged.scores
    assert all((inside.features[key] == array).all() for key, array in unchanged.features.items())
    with pytest.raises(KeyboardInterrupt), intervene(engine, eraser(site)):
        raise KeyboardInterrupt
    assert engine._prepare == prepare
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in engine._model.modules()] == hooks
    assert engine.score(asked).scores == unchanged.scores


def test_written_answers_are_changed_too_and_only_at_their_prompt(tiny_engine):
    engine, asked = tiny_engine("llava_siglip"), queries()
    site = site_of(engine, "connector.00.mean")
    states = token_states(engine, asked[:1], site)[asked[0].id]
    plain = engine.generate(asked, max_new_tokens=8)
    with intervene(engine, eraser(site)):
        assert engine.generate(asked, max_new_tokens=8) != plain
    with intervene(engine, Patch(site, {asked[0].id: states})):  # its own, so nothing may change
        assert engine.generate(asked, max_new_tokens=8) == plain


def test_pictures_correspond_where_the_model_is_told_the_same_of_them(tiny_engine: Callable) -> None:
    small, other, wide = (
        Query("q", picture(*size, seed), "?", LABELS)
        for seed, size in enumerate([(64, 64), (64, 64), (96, 48)])
    )
    longer = Query("q", picture(64, 64), "what is it?", LABELS)
    for name in ("llava_siglip", *SHOWN):
        engine = tiny_engine(name)
        first = picture_layout(engine, small)
        assert picture_layout(engine, other) == first
        assert picture_layout(engine, longer) != first
        turned = replace(wide, image=wide.image.transpose(Image.Transpose.ROTATE_90))
        as_many = len(set(engine.image_tokens([wide, turned]))) == 1
        square = name in ("llava_clip", "llava_siglip", "gemma3")  # every picture is made one square
        assert (picture_layout(engine, wide) == first) is square
        assert as_many or name == "llava_next"  # with line breaks between rows
        assert (picture_layout(engine, wide) == picture_layout(engine, turned)) is square


def test_what_does_not_fit_is_refused_by_name(tiny_engine: Callable) -> None:
    engine = tiny_engine("qwen2_5_vl")
    assert can_intervene(engine)
    site, asked = site_of(engine, "llm.01.mean"), queries()
    with (
        pytest.raises(ModelError, match=r"has no site llm\.99\.mean"),
        intervene(engine, eraser(Site("llm", 99, "mean", 32))),
    ):
        pass
    with (
        pytest.raises(ModelError, match=r"not before"),
        intervene(engine, eraser(site_of(engine, "vision.01.mean"))),
    ):
        pass
    wrong = Erase(site, np.zeros(site.width), np.zeros((site.width, 2)), np.zeros((site.width, 3)))
    with (
        pytest.raises(ModelError, match=r"llm\.01\.mean: an eraser of shapes .* \(width, rank\)"),
        intervene(engine, wrong),
    ):
        pass
    states = token_states(engine, asked, site)
    with (
        intervene(engine, Patch(site, {"a": states["e"]})),
        pytest.raises(ModelError, match="patch between pictures of one size"),
    ):
        engine.score(asked)


def test_an_engine_without_hidden_states_says_so() -> None:
    class Closed:
        description = ModelDescription("far/away", None, "0", "Far", 0, "openai", "float32", "cpu")
        sites = ()

    closed = Closed()
    assert not can_intervene(closed)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="far/away: the engine openai lets no one into its hidden states"):
        token_states(closed, [], Site("llm", 0, "mean", 8))  # type: ignore[arg-type]
