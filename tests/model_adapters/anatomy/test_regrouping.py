"""The consumed layer is regrouped as the connector merges it: every token's reach is tried, one by one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from model_adapters.anatomy.receptive_field import find_merge
from probes.capture import CaptureError, Merge, pool_groups, pool_images
from tests.model_adapters.tiny.models import BUILDERS, WITH_OWN_CODE
from tests.model_adapters.tiny.plain import plain_model, queries

CONCATENATING = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl", "idefics3", "smolvlm")
OTHERS = tuple(name for name in (*BUILDERS, *WITH_OWN_CODE) if name not in CONCATENATING)


def vision_pass(plain, anatomy, query, change=None):
    """Return the consumed layer's tokens (tokens, width), without a class token, and the connector's output.

    `change` is the index of one token to alter on its way to the connector.
    """
    seen = {}

    def consumed(_module, _inputs, output):
        states = output[0] if isinstance(output, tuple) else output
        kept = states[:, 1:] if anatomy.drops_class_token else states
        seen["tokens"] = kept.reshape(-1, kept.shape[-1]).clone()
        if change is not None:
            tokens = kept.reshape(-1, kept.shape[-1])
            tokens[change] = torch.linspace(-3, 5, kept.shape[-1]) ** 2
            kept.copy_(tokens.reshape(kept.shape))

    def connected(_module, _inputs, output):
        seen["connected"] = output.reshape(-1, output.shape[-1]).clone()

    blocks = plain.model.get_submodule(anatomy.vision_path)
    hooks = [
        blocks[anatomy.consumed_layer].register_forward_hook(consumed),
        plain.model.get_submodule(anatomy.connector_path).register_forward_hook(connected),
    ]
    with torch.no_grad():
        plain.model(**plain.inputs(query), use_cache=False)
    for hook in hooks:
        hook.remove()
    return seen["tokens"], seen["connected"]


def groups_by_trial(plain, anatomy, query):
    """Alter every token in turn and gather those that reach the same output token of the connector."""
    tokens, before = vision_pass(plain, anatomy, query)
    found = {}
    for index in range(len(tokens)):
        after = vision_pass(plain, anatomy, query, change=index)[1]
        reached = ((after - before).abs().amax(1) > 1e-4).nonzero()[:, 0].tolist()
        assert len(reached) == 1
        found.setdefault(reached[0], []).append(index)
    return tokens, list(found.values())


@pytest.mark.parametrize("name", CONCATENATING)
def test_regrouped_features_are_the_mean_of_what_the_connector_puts_side_by_side(
    name, tiny_engine, tiny_folder
):
    engine, plain, asked = tiny_engine(name), plain_model(tiny_folder(name), name), queries()
    seen = engine.score(asked, observe=True).features
    key = f"vision.{engine.anatomy.consumed_layer:02d}.regrouped"
    for row in (1, 2):  # wide and high: other grids, other numbers of tiles
        tokens, groups = groups_by_trial(plain, engine.anatomy, asked[row])
        assert {len(group) for group in groups} == {4}
        expected = np.mean([np.concatenate([tokens[i].numpy() for i in group]) for group in groups], axis=0)
        np.testing.assert_allclose(seen[key][row], expected, atol=1e-4)


@pytest.mark.parametrize("name", CONCATENATING)
def test_the_regrouped_site_is_one_more_and_averages_to_the_plain_mean(name, tiny_engine):
    engine = tiny_engine(name)
    (site,) = [site for site in engine.sites if site.pool == "regrouped"]
    (mean,) = [s for s in engine.sites if s.name == site.name and s.pool == "mean"]
    assert (site.module, site.consumed, site.width) == ("vision", True, 4 * mean.width)
    seen = engine.score(queries(), observe=True).features
    parts = seen[site.key].reshape(len(queries()), 4, mean.width)
    np.testing.assert_allclose(parts.mean(1), seen[mean.key], atol=1e-5)


@pytest.mark.parametrize("name", OTHERS)
def test_single_tokens_and_averages_need_no_regrouping(name, tiny_engine):
    assert all(site.pool != "regrouped" for site in tiny_engine(name).sites)


@pytest.mark.parametrize("name", [name for name in CONCATENATING if name.startswith("qwen")])
def test_four_patches_in_a_row_are_a_square_of_the_picture(name, tiny_folder):
    """A picture whose pixels say where they are: red grows to the right, green downwards."""
    plain = plain_model(tiny_folder(name), name)
    down, right = np.mgrid[0:16, 0:32]
    picture = Image.fromarray(np.stack([right * 8, down * 16, right * 0], axis=2).astype(np.uint8))
    made = plain.processor.image_processor(images=[picture], return_tensors="pt")
    patch = plain.model.config.vision_config.patch_size
    (_, rows, columns) = made["image_grid_thw"][0].tolist()
    assert (rows * patch, columns * patch) == (16, 32)  # not resized
    pixels = made["pixel_values"].reshape(rows * columns, 3, -1).mean(2)
    order = {float(v): place for place, v in enumerate(sorted({round(float(v), 3) for v in pixels[:, 0]}))}
    across = [order[round(float(v), 3)] for v in pixels[:, 0]]
    order = {float(v): place for place, v in enumerate(sorted({round(float(v), 3) for v in pixels[:, 1]}))}
    below = [order[round(float(v), 3)] for v in pixels[:, 1]]
    for start in range(0, rows * columns, 4):
        square = sorted(zip(below[start : start + 4], across[start : start + 4], strict=True))
        top, left = square[0]
        assert square == [(top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)]
        assert top % 2 == left % 2 == 0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple),
    st.sampled_from([(2, 2), (4, 2), (6, 3), (3, 3)]),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_blocks_of_a_grid_equal_a_plain_loop(units, shape, drop_first, seed):
    side, edge = shape
    generator = torch.Generator().manual_seed(seed)
    output = torch.randn(sum(units), side**2 + drop_first, 3, generator=generator)
    tiles = output.numpy()[:, int(drop_first) :].reshape(-1, side, side, 3)
    start, expected = 0, []
    for count in units:
        blocks = [
            tile[y : y + edge, x : x + edge].reshape(-1)
            for tile in tiles[start : start + count]
            for y in range(0, side, edge)
            for x in range(0, side, edge)
        ]
        expected.append(np.mean(blocks, axis=0))
        start += count
    pooled = pool_groups(output, units, Merge(edge**2, "grid"), drop_first=drop_first)
    np.testing.assert_allclose(pooled, expected, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple), st.integers(2, 5), st.integers(0, 2**31)
)
def test_consecutive_groups_equal_a_plain_loop(counts, size, seed):
    patches = tuple(count * size for count in counts)
    output = torch.randn(sum(patches), 3, generator=torch.Generator().manual_seed(seed))
    rows, start, expected = output.numpy(), 0, []
    for count in counts:
        groups = [rows[start + size * g : start + size * (g + 1)].reshape(-1) for g in range(count)]
        expected.append(np.mean(groups, axis=0))
        start += count * size
    pooled = pool_groups(output, patches, Merge(size, "consecutive"))
    np.testing.assert_allclose(pooled, expected, atol=1e-5)
    np.testing.assert_allclose(
        pooled.reshape(len(counts), size, 3).mean(1), pool_images(output, patches), atol=1e-5
    )


@pytest.mark.parametrize(
    ("shape", "merge", "units"),
    [
        ((2, 9, 3), Merge(4, "grid"), (1, 1)),
        ((2, 12, 3), Merge(4, "grid"), (1, 1)),
        ((2, 16, 3), Merge(4, "grid"), (1,)),
        ((7, 3), Merge(4, "consecutive"), (7,)),
    ],
)
def test_tokens_that_cannot_be_grouped_are_refused_by_name(shape, merge, units):
    with pytest.raises(CaptureError, match=r"vision\.01\.regrouped: .*cannot be cut into"):
        pool_groups(torch.zeros(shape), units, merge, where="vision.01.regrouped")


class Merging(nn.Module):
    """A connector that puts the tokens of given groups side by side, or averages them."""

    def __init__(self, groups, width, *, averages=False):
        super().__init__()
        self.groups, self.averages = groups, averages
        self.first = nn.Linear(width if averages else width * len(groups[0]), 4 * width)
        self.second = nn.Linear(4 * width, 5)

    def forward(self, tokens):
        gathered = tokens[torch.tensor(self.groups)]  # groups x members x width
        merged = gathered.mean(1) if self.averages else gathered.flatten(1)
        return self.second(self.first(merged).relu())


ROWS = [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)]
ELSEWHERE = [(0, 6, 2, 9), (1, 3, 5, 7), (4, 8, 10, 11)]


@pytest.mark.parametrize(
    ("groups", "averages", "expected"),
    [(ROWS, False, Merge(4, "consecutive")), (ELSEWHERE, False, None), (ROWS, True, None)],
)
def test_an_arrangement_counts_only_if_it_is_the_connectors_own(groups, averages, expected):
    torch.manual_seed(0)
    layer, connector = nn.Identity(), Merging(groups, 3, averages=averages)
    tokens = torch.randn(12, 3)
    anatomy = SimpleNamespace(
        vision_blocks=(layer,),
        connector=connector,
        consumed_layer=0,
        drops_class_token=False,
        vision_path="vision",
        connector_path="connector",
    )
    with torch.no_grad():
        assert find_merge(anatomy, lambda: connector(layer(tokens))) == expected
    assert not layer._forward_hooks
    assert not connector._forward_hooks
    assert not connector.first._forward_pre_hooks
