"""Pooling equals a plain loop over images, for every layout that models have."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from probes.capture import CaptureError, ImageLayout, TokenLayout, Watched, capture, pool_images

units = st.lists(st.integers(1, 5), min_size=1, max_size=6).map(tuple)
seeds = st.integers(0, 2**31)


@settings(max_examples=60, deadline=None)
@given(units, st.integers(1, 6), st.booleans(), seeds)
def test_tiles_are_averaged_over_all_tokens_of_an_image(counts, tokens, drop_first, seed):
    tokens += drop_first
    output = torch.randn(sum(counts), tokens, 3, generator=torch.Generator().manual_seed(seed)) * 10
    rows = output.numpy()
    start, expected = 0, []
    for count in counts:
        tiles = rows[start : start + count, 1 if drop_first else 0 :]
        expected.append(tiles.reshape(-1, 3).mean(0))
        start += count
    np.testing.assert_allclose(pool_images(output, counts, drop_first=drop_first), expected, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(units, st.integers(1, 4), st.booleans(), seeds)
def test_packed_tokens_are_shared_out_in_proportion(counts, merged, batch_axis, seed):
    # Patches come in multiples of `merged`; the connector leaves one token for each multiple.
    patches = tuple(count * merged for count in counts)
    output = torch.randn(sum(counts), 3, generator=torch.Generator().manual_seed(seed))
    ends = np.cumsum(counts)
    expected = [part.mean(0) for part in np.split(output.numpy(), ends[:-1])]
    given_output = output[None] if batch_axis and sum(patches) != 1 else output
    np.testing.assert_allclose(pool_images(given_output, patches), expected, atol=1e-5)


def test_means_of_half_precision_are_taken_in_single_precision():
    output = torch.full((2, 5000, 1), 1.0, dtype=torch.float16)
    output[:, ::2] = 1.001
    expected = output.double().mean(1)
    np.testing.assert_allclose(pool_images(output, (1, 1)), expected, atol=1e-6)


class Doubling(nn.Module):
    def forward(self, states):
        return (states * 2,)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6).filter(any), min_size=1, max_size=4), seeds)
def test_decoder_means_are_over_image_tokens_only(mask, seed):
    layer, states = Doubling(), torch.randn(len(mask), 6, 4, generator=torch.Generator().manual_seed(seed))
    layout = ImageLayout((1,) * len(mask)), TokenLayout(torch.tensor(mask))
    with capture([Watched("llm", 2, layer)], *layout) as features:
        layer(states)
    seen = features.arrays()
    expected = [2 * rows[np.array(row)].mean(0) for rows, row in zip(states.numpy(), mask, strict=True)]
    np.testing.assert_allclose(seen["llm.02.mean"], expected, atol=1e-5)
    np.testing.assert_array_equal(seen["llm.02.last"], 2 * states[:, -1].numpy())


def test_what_is_kept_does_not_change_when_the_layer_output_does():
    layer, states = nn.Identity(), torch.ones(1, 3, 2)
    layout = ImageLayout((1,)), TokenLayout(torch.tensor([[True, False, False]]))
    with capture([Watched("llm", 0, layer)], *layout) as features:
        layer(states)
        states.zero_()  # models may reuse a buffer
    assert features.arrays()["llm.00.last"].tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("shape", "counts", "message"),
    [((7, 3), (2, 1), "cannot be shared"), ((3, 4, 2), (2, 3), "cannot be shared")],
)
def test_outputs_that_do_not_fit_are_refused_by_name(shape, counts, message):
    with pytest.raises(CaptureError, match=rf"vision\.01\.mean: .*{message}"):
        pool_images(torch.zeros(shape), counts, where="vision.01.mean")


def run_twice(watched, layer, layout):
    with capture(watched, *layout):
        layer(torch.ones(1, 2, 3))
        layer(torch.ones(1, 2, 3))


def test_hooks_are_gone_after_an_error_and_a_second_pass_is_refused():
    layer = nn.Identity()
    layout = ImageLayout((1,)), TokenLayout(torch.tensor([[True]]))
    with pytest.raises(CaptureError, match="ran twice"):
        run_twice([Watched("vision", 0, layer)], layer, layout)
    assert not layer._forward_hooks


def test_a_prompt_without_image_tokens_is_refused():
    layout = ImageLayout((1, 1)), TokenLayout(torch.tensor([[True], [False]]))
    with pytest.raises(CaptureError, match="row 1 of the batch has no image tokens"):
        run_twice([], nn.Identity(), layout)
