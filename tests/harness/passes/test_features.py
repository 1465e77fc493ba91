from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from harness.passes.features import FeatureFile

SHAPES = st.dictionaries(
    st.from_regex(r"(vision|connector|llm)\.[0-9]{2}\.(mean|last)", fullmatch=True),
    st.integers(1, 9),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(widths=SHAPES, images=st.integers(1, 40), batch=st.integers(1, 16), data=st.data())
def test_what_is_written_in_any_order_is_what_any_reader_finds(
    tmp_path_factory, widths: dict[str, int], images: int, batch: int, data
) -> None:
    path = tmp_path_factory.mktemp("features") / "features.safetensors"
    shapes = {key: (images, width) for key, width in widths.items()}
    seed = data.draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    truth = {key: generator.standard_normal(shape).astype(np.float32) for key, shape in shapes.items()}
    batches = [slice(first, min(first + batch, images)) for first in range(0, images, batch)]
    file = FeatureFile.create(path, shapes)
    for rows in data.draw(st.permutations(batches)):
        file.write({key: array[rows] for key, array in truth.items()}, rows)
    file.close()
    assert FeatureFile.fits(path, shapes)
    loaded = load_file(path)
    assert loaded.keys() == truth.keys()
    again = FeatureFile.open(path, shapes)
    for key, array in truth.items():
        np.testing.assert_array_equal(loaded[key], array)
        first = data.draw(st.integers(0, images))
        rows = slice(first, data.draw(st.integers(first, images)))
        np.testing.assert_array_equal(again.read(key, rows), array[rows])
    again.close()


def test_half_precision_is_stored_as_the_same_numbers(tmp_path: Path) -> None:
    file = FeatureFile.create(tmp_path / "f.safetensors", {"a": (2, 3)})
    half = np.array([[1, 2, 3], [0.1, -0.2, 6e4]], dtype=np.float16)
    file.write({"a": half}, slice(0, 2))
    read = file.read("a", slice(0, 2))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, half.astype(np.float32))


@pytest.mark.parametrize(
    ("features", "what"),
    [
        ({"a": np.zeros((1, 3)), "b": np.zeros((2, 1))}, r"a: features of shape \(1, 3\), wanted \(2, 3\)"),
        ({"a": np.zeros((2, 1)), "b": np.zeros((2, 1))}, "a: features of shape"),
        ({"a": np.zeros((2, 3))}, "other sites than were reserved: b"),
        ({"a": np.zeros((2, 3)), "b": np.zeros((2, 1)), "c": np.zeros((2, 1))}, "reserved: c"),
    ],
)
def test_features_of_another_shape_are_refused_and_not_spread_over_rows(
    tmp_path: Path, features: dict[str, np.ndarray], what: str
) -> None:
    file = FeatureFile.create(tmp_path / "f.safetensors", {"a": (4, 3), "b": (4, 1)})
    before = (tmp_path / "f.safetensors").read_bytes()
    with pytest.raises(ValueError, match=what):
        file.write(features, slice(0, 2))
    assert (tmp_path / "f.safetensors").read_bytes() == before


def test_another_layout_or_length_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"
    shapes = {"a": (4, 3), "b": (4, 1)}
    assert not FeatureFile.fits(path, shapes)
    FeatureFile.create(path, shapes).close()
    assert FeatureFile.fits(path, shapes)
    assert not FeatureFile.fits(path, {"a": (4, 1), "b": (4, 3)})
    assert not FeatureFile.fits(path, {"a": (5, 3), "b": (5, 1)})
    path.write_bytes(path.read_bytes()[:-1])
    assert not FeatureFile.fits(path, shapes)


def test_room_is_reserved_when_the_file_is_made(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"
    FeatureFile.create(path, {"a": (1024, 1024)}).close()
    assert path.stat().st_blocks * 512 >= 4 * 2**20
    assert list(tmp_path.iterdir()) == [path]
