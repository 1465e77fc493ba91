"""Decode an image file at its own bit depth, hash its pixels, and show it to a model as 8-bit RGB.

Nothing is re-encoded, stretched or guessed. A decoded picture has one of the modes 1, L, LA, RGB, RGBA,
CMYK and I;16 (16-bit grey); palettes are resolved, since a palette's entries are 8-bit colours. The EXIF
orientation is applied.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from harness.data.dataset import DataError

DECODE_VERSION = 1  # raise it with any change of what `decode` returns: indexed hashes are then made anew
MAX_PIXELS = 64_000_000  # larger pictures are refused before they are decoded
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "GIF")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".gif"})

_DECODED_MODES = ("1", "L", "LA", "RGB", "RGBA", "CMYK", "I;16")
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


def decode(file: Path) -> Image.Image:
    """Decode an image file at its own bit depth.

    Raises:
        DataError: if the file is missing, damaged, too large, no image, or of a depth that is not read.
    """
    try:
        return decode_bytes(file.read_bytes(), str(file))
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error


def decode_bytes(data: bytes, name: str) -> Image.Image:
    """Decode the bytes of an image file; `name` stands in messages. See `decode`."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            _check_before_loading(opened, name)
            opened.load()
            _check_depth(opened, name)
            return ImageOps.exif_transpose(_resolved(opened))
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: no image, or cut off in its header; copy the file anew") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{name}: larger than the limit of {MAX_PIXELS} pixels") from error
    except _DAMAGED as error:
        raise DataError(f"{name}: damaged or cut off ({error}); copy the file anew") from error


def _check_before_loading(image: Image.Image, name: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width} x {image.height}"
        raise DataError(f"{name}: {size} pixels is larger than the limit of {MAX_PIXELS} pixels")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a JPEG with previews behind it opens as MPO
        raise DataError(f"{name}: holds {frames} frames; save the wanted one as a file of its own")


def _check_depth(image: Image.Image, name: str) -> None:
    if image.mode in ("I", "F"):
        raise DataError(f"{name}: 32-bit grey ({image.mode}) has no fixed range; save it with 8 or 16 bits")


def _resolved(image: Image.Image) -> Image.Image:
    """Return the picture in one of the decoded modes, without loss."""
    if image.mode.startswith("I;16"):
        return _grey16(image)
    if image.mode in ("P", "PA"):
        transparent = image.mode == "PA" or "transparency" in image.info
        return image.convert("RGBA" if transparent else "RGB")
    if image.mode in ("L", "RGB") and "transparency" in image.info:
        return image.convert("LA" if image.mode == "L" else "RGBA")
    return image if image.mode in _DECODED_MODES else image.convert("RGB")


def _grey16(image: Image.Image) -> Image.Image:
    if image.mode == "I;16":
        return image
    native = Image.fromarray(np.asarray(image).astype(np.uint16))
    native.info.update(image.info)  # the orientation is read from it
    return native


def pixel_hash(image: Image.Image) -> str:
    """Return the sha256 over mode, size and raw pixels at the picture's own depth, row by row."""
    digest = hashlib.sha256(f"{image.mode} {image.width} {image.height}\n".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def to_rgb(image: Image.Image) -> Image.Image:
    """Return the picture in 8-bit RGB, as a model is shown it.

    16-bit grey is scaled by one fixed rule, 0 to 65535 onto 0 to 255, rounded: value / 257. It is never
    stretched to the range of one image, since brightness is part of what is measured; data that uses
    12 of the 16 bits must be scaled by whoever prepares it. Transparent pixels are laid over black, the
    background of medical images. Grey is replicated.
    """
    if image.mode == "RGB":
        return image
    if image.mode == "I;16":
        values = (np.asarray(image).astype(np.uint32) + 128) // 257
        return Image.fromarray(values.astype(np.uint8)).convert("RGB")
    if image.mode in ("LA", "RGBA"):
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")
