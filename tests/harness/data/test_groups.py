"""Near-duplicates are found, different pictures are kept apart, and groups are what links connect."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from harness.data.groups import group, join, near_duplicate_links, thumbnail


def scene(seed: int, size: int = 128) -> Image.Image:
    """Draw speckle with lumps in it, different for every seed, somewhat like ultrasound."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 200, (10, 10), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), float)
    return Image.fromarray((smooth * random.rayleigh(0.6, (size, size))).clip(0, 255).astype(np.uint8))


def resaved(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return Image.open(io.BytesIO(buffer.getvalue()))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "re-saved": resaved,
    "smaller": lambda image: image.resize((90, 97), Image.Resampling.LANCZOS),
    "larger": lambda image: image.resize((224, 224), Image.Resampling.BICUBIC),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.8),
    "with a mark": lambda image: _marked(image),
    "in colour": lambda image: image.convert("RGB"),
}


def _marked(image: Image.Image) -> Image.Image:
    marked = image.copy()
    marked.paste(255, (60, 60, 66, 66))
    return marked


def thumbnails(images: list[Image.Image]) -> np.ndarray:
    return np.stack([thumbnail(image) for image in images])


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_nothing_else(change: str) -> None:
    originals = [scene(seed) for seed in range(150)]
    copies = [CHANGES[change](image) for image in originals]
    found = set(near_duplicate_links(thumbnails(originals + copies)))
    wanted = {(i, i + 150) for i in range(150)}
    assert found <= wanted
    assert len(found) >= 148


def test_independent_noise_is_not_merged() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3000, 16, 16), dtype=np.uint8)
    assert near_duplicate_links(noise) == []


def test_nearly_uniform_images_are_not_merged() -> None:
    random = np.random.default_rng(0)
    background = np.full((400, 16, 16), 235) + random.integers(-1, 2, (400, 16, 16))
    slope = np.full((50, 16, 16), 200) + np.arange(16)
    assert near_duplicate_links(background.astype(np.uint8)) == []
    assert near_duplicate_links(slope.astype(np.uint8)) == []


def test_a_shared_coarse_layout_does_not_make_duplicates() -> None:
    """As in chest X-rays: all correlate in grey values, none in their details."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[0:16, 0:16]
    layout = 120 + 90 * np.sin(rows / 5) * np.cos(columns / 4)
    images = (layout + random.normal(0, 12, (500, 16, 16))).clip(0, 255).astype(np.uint8)
    assert np.corrcoef(images.reshape(500, -1))[np.triu_indices(500, 1)].mean() > 0.85
    assert near_duplicate_links(images) == []


def test_links_connect_what_a_plain_loop_over_all_pairs_finds() -> None:
    random = np.random.default_rng(3)
    base = random.integers(0, 256, (40, 16, 16))
    spread = random.uniform(2, 45, (200, 1, 1))  # so that pairs lie on both sides of the line
    images = base[random.integers(0, 40, 200)] + random.normal(0, spread, (200, 16, 16))
    images = images.clip(0, 255).astype(np.uint8)
    wanted = set()
    for i in range(200):
        for j in range(i + 1, 200):
            first, second = (
                np.concatenate([np.diff(grey, axis=0).ravel(), np.diff(grey, axis=1).ravel()])
                for grey in (images[i].astype(float), images[j].astype(float))
            )
            if first @ second / np.linalg.norm(first) / np.linalg.norm(second) >= 0.9:
                wanted.add((i, j))
    found = near_duplicate_links(images)
    sets, wanted_sets = join(200, found), join(200, wanted)
    assert all(wanted_sets[i] == wanted_sets[j] for i, j in found)
    assert sum(sets[i] == sets[j] for i, j in wanted) >= 0.97 * len(wanted) > 50


def test_large_sets_take_seconds_also_when_all_are_alike() -> None:
    random = np.random.default_rng(0)
    different = random.integers(0, 256, (10_000, 16, 16), dtype=np.uint8)
    alike = (different[:1] * 0.9 + random.normal(0, 4, (2500, 16, 16))).clip(0, 255).astype(np.uint8)
    same = np.repeat(different[:1], 5000, axis=0)
    started = time.perf_counter()
    assert near_duplicate_links(different) == []
    assert set(join(2500, near_duplicate_links(alike))) == {0}  # one bucket, larger than is compared at once
    assert set(join(5000, near_duplicate_links(same))) == {0}
    assert time.perf_counter() - started < 15


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))
    )
)
def test_joined_items_are_those_that_links_connect(case: tuple[int, list[tuple[int, int]]]) -> None:
    count, links = case
    reach = np.eye(count, dtype=bool)
    for i, j in links:
        reach[i, j] = reach[j, i] = True
    for _ in range(count):
        reach = reach @ reach
    assert join(count, links) == [int(np.flatnonzero(row)[0]) for row in reach]


UNLIKE = np.random.default_rng(5).integers(0, 256, (6, 16, 16), dtype=np.uint8)
HASHES = [f"{i}" * 64 for i in range(6)]


def test_patients_are_groups_whatever_their_images_look_like() -> None:
    names, by = group(["a", "b", "a", "c", "b", "d"], HASHES, np.repeat(UNLIKE[:1], 6, axis=0))
    assert by == "patient_id"
    assert [names.index(name) for name in names] == [0, 1, 0, 3, 1, 5]


def test_an_unknown_patient_may_be_a_known_one() -> None:
    images = UNLIKE.copy()
    images[3] = images[0]
    names, by = group(["a", "b", "a", None, None, "c"], HASHES, images)
    assert by == "patient_id and near-duplicates"
    assert [names.index(name) for name in names] == [0, 1, 0, 0, 4, 5]


def test_identical_pixels_are_one_group_even_of_two_patients() -> None:
    hashes = [*HASHES[:5], HASHES[3]]
    names, _ = group(["a", "b", "c", "d", "e", "a"], hashes, UNLIKE)
    assert [names.index(name) for name in names] == [0, 1, 2, 0, 4, 0]


@settings(deadline=None, max_examples=50)
@given(st.permutations(range(6)))
def test_groups_do_not_depend_on_the_order(order: list[int]) -> None:
    patients = ["a", "b", "a", None, "b", None]
    names, _ = group(patients, HASHES, UNLIKE)
    again, _ = group([patients[i] for i in order], [HASHES[i] for i in order], UNLIKE[list(order)])
    assert list(again) == [names[i] for i in order]
