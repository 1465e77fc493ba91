"""Pictures keep their bit depth until a model is shown them, and damaged files are refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.dataset import DataError
from harness.data.decode import MAX_PIXELS, decode, pixel_hash, to_rgb

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (5, 7), dtype=np.uint8)
COLOUR = RANDOM.integers(0, 256, (5, 7, 3), dtype=np.uint8)
ALPHA = RANDOM.integers(0, 256, (5, 7), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65536, (5, 7), dtype=np.uint16)


def saved(folder: Path, image: Image.Image, name: str = "a.png", **options: Any) -> Image.Image:
    image.save(folder / name, **options)
    return decode(folder / name)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey_keeps_its_depth_and_is_scaled_by_the_full_range(tmp_path: Path, name: str) -> None:
    edges = np.array([[0, 128, 129, 257, 65407, 65535, 30000]], np.uint16)
    for values in (DEEP, edges):
        image = saved(tmp_path, Image.fromarray(values), name)
        assert image.mode == "I;16"
        np.testing.assert_array_equal(np.asarray(image), values)
        expected = np.rint(values / 65535 * 255).astype(np.uint8)
        np.testing.assert_array_equal(np.asarray(to_rgb(image)), np.repeat(expected[..., None], 3, axis=2))


def test_big_endian_16_bit_tiff_reads_as_the_same_pixels(tmp_path: Path) -> None:
    little = saved(tmp_path, Image.fromarray(DEEP), "a.tif")
    entries = [(256, 3, 7), (257, 3, 5), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 134), (277, 3, 1),
               (278, 3, 5), (279, 4, 70), (284, 3, 1)]  # fmt: skip
    directory = b"".join(
        struct.pack(">HHI", tag, kind, 1)
        + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
        for tag, kind, value in entries
    )
    head = (
        b"MM" + struct.pack(">HI", 42, 8) + struct.pack(">H", len(entries)) + directory + struct.pack(">I", 0)
    )
    (tmp_path / "big.tif").write_bytes(head + DEEP.astype(">u2").tobytes())
    big = decode(tmp_path / "big.tif")
    assert big.mode == "I;16"
    assert pixel_hash(big) == pixel_hash(little)


def test_grey_and_colour(tmp_path: Path) -> None:
    np.testing.assert_array_equal(np.asarray(saved(tmp_path, Image.fromarray(COLOUR))), COLOUR)
    grey = saved(tmp_path, Image.fromarray(GREY))
    assert grey.mode == "L"
    np.testing.assert_array_equal(np.asarray(to_rgb(grey)), np.repeat(GREY[..., None], 3, axis=2))


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    image = saved(tmp_path, Image.fromarray(GREY > 127))
    assert image.mode == "1"
    np.testing.assert_array_equal(np.asarray(to_rgb(image))[..., 0], (GREY > 127) * 255)


def test_a_palette_is_resolved_into_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(GREY % 4)
    image.putpalette([9, 8, 7, 100, 0, 0, 0, 200, 0, 1, 2, 255])
    colours = np.array([[9, 8, 7], [100, 0, 0], [0, 200, 0], [1, 2, 255]], np.uint8)
    decoded = saved(tmp_path, image)
    np.testing.assert_array_equal(np.asarray(to_rgb(decoded)), colours[GREY % 4])
    other = image.copy()
    other.putpalette([0] * 12)
    assert pixel_hash(saved(tmp_path, other)) != pixel_hash(decoded)


def test_transparent_pixels_lie_over_black(tmp_path: Path) -> None:
    expected = COLOUR * (ALPHA[..., None] / 255)
    rgba = saved(tmp_path, Image.fromarray(np.dstack([COLOUR, ALPHA])))
    assert rgba.mode == "RGBA"
    np.testing.assert_allclose(np.asarray(to_rgb(rgba)), expected, atol=1)
    la = saved(tmp_path, Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)]))
    assert la.mode == "LA"
    np.testing.assert_allclose(np.asarray(to_rgb(la))[..., 1], GREY * (ALPHA / 255), atol=1)


def test_a_transparent_palette_entry_is_black(tmp_path: Path) -> None:
    image = Image.fromarray(GREY % 2)
    image.putpalette([255, 255, 255, 10, 20, 30])
    decoded = to_rgb(saved(tmp_path, image, transparency=0))
    np.testing.assert_array_equal(np.asarray(decoded), np.array([[0, 0, 0], [10, 20, 30]])[GREY % 2])


def test_cmyk(tmp_path: Path) -> None:
    inks = RANDOM.integers(0, 256, (5, 7, 4), dtype=np.uint8)
    image = saved(tmp_path, Image.fromarray(inks, "CMYK"), "a.tif")
    assert image.mode == "CMYK"
    expected = (255 - inks[..., :3].astype(float)) * (255 - inks[..., 3:].astype(float)) / 255
    np.testing.assert_allclose(np.asarray(to_rgb(image)), expected, atol=1)


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda a: a),
        (2, np.fliplr),
        (3, lambda a: np.rot90(a, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (8, np.rot90),
    ],
)
@pytest.mark.parametrize("pixels", [COLOUR, DEEP], ids=["rgb", "16-bit"])
def test_orientation_is_applied(
    tmp_path: Path, orientation: int, turned: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = saved(tmp_path, Image.fromarray(pixels), exif=exif)
    np.testing.assert_array_equal(np.asarray(image), turned(pixels))
    assert pixel_hash(image) == pixel_hash(Image.fromarray(np.ascontiguousarray(turned(pixels))))


def test_the_hash_tells_mode_size_and_pixels() -> None:
    black = np.zeros((4, 6), np.uint8)
    dotted = black.copy()
    dotted[3, 5] = 1
    arrays = [black, black.T, dotted, np.repeat(black[..., None], 3, axis=2), black.astype(np.uint16)]
    images = [Image.fromarray(np.ascontiguousarray(a)) for a in arrays]
    assert len({pixel_hash(image) for image in images}) == len(images)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp"])
def test_a_truncated_file_is_refused_at_any_length(tmp_path: Path, name: str) -> None:
    large = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(large).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    for length in (0, 3, 20, len(data) // 2, len(data) * 9 // 10):
        (tmp_path / name).write_bytes(data[:length])
        with pytest.raises(DataError, match=name) as caught:
            decode(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_damaged_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(COLOUR).save(path)
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 8] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.png"):
        decode(path)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    for side in (9_000, 60_000):  # above this limit, and above Pillow's own
        header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
        body = b"".join(
            struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
        )
        (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
        with pytest.raises(DataError, match=rf"bomb\.png.*larger than the limit of {MAX_PIXELS} pixels"):
            decode(tmp_path / "bomb.png")


def test_several_frames_and_32_bit_grey_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(tmp_path / "two.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"two\.tif: holds 2 frames"):
        decode(tmp_path / "two.tif")
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match=r"float\.tif: 32-bit grey"):
        decode(tmp_path / "float.tif")


def test_no_image_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(DataError, match=r"text\.png: no image"):
        decode(tmp_path / "text.png")
    with pytest.raises(DataError, match=r"gone\.png: cannot be read"):
        decode(tmp_path / "gone.png")


def test_jpeg_pixels_are_those_of_the_file(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(COLOUR).save(buffer, "JPEG", quality=80)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(np.asarray(decode(tmp_path / "a.jpg")), np.asarray(Image.open(buffer)))
