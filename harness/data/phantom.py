"""Draw ultrasound-like phantom images with a known lesion: a data set that needs no download.

A scene is an echogenicity map in decibels (tissue layers, fat lobules, vessels, reflectors, shadows and
at most one lesion) multiplied by fully developed speckle, the magnitude of filtered complex Gaussian
noise, and compressed logarithmically, as a scanner shows it. Five classes differ in the lesion alone;
everything else is drawn alike for all. A few images are atypical: they look like another class.

Image i depends on `GENERATOR_VERSION` and i only. All arithmetic is float64, so that the rounding to
8 bits gives the same pixels on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

GENERATOR_VERSION = 2
CLASSES: tuple[str, ...] = ("normal", "cyst", "benign", "malignant", "calcified")
NORMAL, CYST, BENIGN, MALIGNANT, CALCIFIED = range(len(CLASSES))

_CHUNK = 32  # images drawn together; small enough for the cache
_GRID = 64.0  # scenes are laid out on a field of 64 x 64 units whatever the pixel size
_LOOKS = 3  # speckle patterns averaged, as in spatial compounding
_DYNAMIC_RANGE = 48.0  # dB shown between black and white
_LOBULES, _VESSELS, _REFLECTORS, _SHADOWS = 5, 2, 4, 2
_SPICULES, _GRAINS = 9, 7
_GRAIN_RADIUS = 1.8
_ATYPICAL = 0.08  # share of images that look like another class than the one they are of


@dataclass(frozen=True)
class PhantomBatch:
    """Drawn images: `images` uint8 (n, size, size), `labels` int64 (n,), `masks` bool (n, size, size).

    A mask marks the lesion's pixels; it is empty where the image shows none.
    """

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray


def generate(first: int, count: int, *, size: int = 64) -> PhantomBatch:
    """Draw the images with the indices `first` to `first + count - 1`.

    Args:
        first: index of the first image, 0 or more.
        count: number of images, 1 or more.
        size: side of the square images in pixels, at least 16. The scenes are the same at every size.

    Raises:
        ValueError: if an argument is out of range.
    """
    if first < 0 or count < 1 or size < 16:
        raise ValueError(f"phantom: first {first}, count {count}, size {size}: need >= 0, >= 1, >= 16")
    images = np.empty((count, size, size), np.uint8)
    labels = np.empty(count, np.int64)
    masks = np.empty((count, size, size), bool)
    for start in range(0, count, _CHUNK):
        part = slice(start, min(start + _CHUNK, count))
        indices = np.arange(first + part.start, first + part.stop)
        labels[part] = [label_of(int(index)) for index in indices]
        shown = np.array([appearance_of(int(index)) for index in indices])
        images[part], masks[part] = _draw(indices, shown, size)
    return PhantomBatch(images, labels, masks)


def label_of(index: int) -> int:
    """Return the class of image `index`; every five images from a multiple of five hold each class once."""
    block, place = divmod(index, len(CLASSES))
    order = np.random.Generator(np.random.PCG64([GENERATOR_VERSION, 0, block])).permutation(len(CLASSES))
    return int(order[place])


def appearance_of(index: int) -> int:
    """Return the class that image `index` looks like: its own, or for one in twelve any other.

    No reader can know those, as in a clinic; it keeps every classifier, however good, away from 100%.
    """
    generator = np.random.Generator(np.random.PCG64([GENERATOR_VERSION, 2, index]))
    label = label_of(index)
    if generator.random() >= _ATYPICAL:
        return label
    return int((label + generator.integers(1, len(CLASSES))) % len(CLASSES))


class _Draws:
    """Random numbers of n images: a row of uniforms an image, handed out column by column."""

    def __init__(self, indices: np.ndarray, size: int) -> None:
        self._next = 0
        uniforms, noise = [], []
        for index in indices:
            generator = np.random.Generator(np.random.PCG64([GENERATOR_VERSION, 1, int(index)]))
            uniforms.append(generator.random(160))
            noise.append(generator.standard_normal((2 * _LOOKS, size, size)))
        self._uniforms = np.stack(uniforms)
        self.noise = np.stack(noise)  # (n, 2 * looks, size, size)

    def uniform(self, low: float, high: float, count: int = 1) -> np.ndarray:
        """Return (n, 1, 1) numbers between `low` and `high`, or (count, n, 1, 1) where count > 1."""
        columns = self._uniforms[:, self._next : self._next + count]
        if columns.shape[1] != count:
            raise AssertionError("the row of uniforms is too short")
        self._next += count
        values = low + (high - low) * columns.T[:, :, None, None]
        return values[0] if count == 1 else values


def _draw(indices: np.ndarray, shown: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images uint8 and lesion masks bool, both (n, size, size)."""
    draws = _Draws(indices, size)
    axis = (np.arange(size) + 0.5) * (_GRID / size)
    depth, lateral = axis[None, :, None], axis[None, None, :]
    echo = _tissue(draws, depth, lateral)
    echo = _lobules(echo, draws, depth, lateral)
    echo, mask = _lesion(echo, shown, draws, depth, lateral)
    echo = _vessels(echo, draws, depth, lateral)
    echo = _reflectors(echo, draws, depth, lateral)
    echo = _shadows(echo, draws, depth, lateral)
    power = 10.0 ** (echo / 10.0) * _speckle(draws.noise, size / _GRID) + 10.0**-3.1
    brightness = 10.0 * np.log10(power) + draws.uniform(25.0, 35.0)
    images = np.clip(np.rint(brightness * (255.0 / _DYNAMIC_RANGE)), 0, 255).astype(np.uint8)
    return images, mask


def _tissue(draws: _Draws, depth: np.ndarray, lateral: np.ndarray) -> np.ndarray:
    """Skin, fat, gland and muscle as wavy layers, darker with depth; echogenicity in dB (n, size, size)."""
    phase = draws.uniform(0.0, 2.0 * np.pi, 3)
    waves = [
        np.sin(lateral * (2.0 * np.pi / _GRID) * turns + phase[k]) for k, turns in enumerate((0.7, 1.3, 0.9))
    ]
    skin = draws.uniform(2.0, 4.0) + 0.5 * waves[0]
    gland = draws.uniform(9.0, 17.0) + draws.uniform(0.5, 2.5) * waves[0]
    muscle = draws.uniform(50.0, 60.0) + draws.uniform(0.5, 2.5) * waves[1]
    echo = -8.0 + 14.0 * _step(skin - depth) + draws.uniform(4.0, 9.0) * _step(depth - gland)
    stripes = 3.0 * np.sin((depth + 1.5 * waves[2]) * draws.uniform(1.2, 1.8) + phase[2])
    echo = echo + _step(depth - muscle) * (draws.uniform(-7.0, -3.0) + stripes)
    return echo - depth * draws.uniform(0.02, 0.11) + draws.uniform(-1.5, 1.5) * waves[2]


def _lobules(echo: np.ndarray, draws: _Draws, depth: np.ndarray, lateral: np.ndarray) -> np.ndarray:
    """Darken fat lobules: blurred ellipses, wider than tall, weaker in contrast than a lesion."""
    y, x = draws.uniform(8.0, 58.0, _LOBULES), draws.uniform(0.0, 64.0, _LOBULES)
    height, width = draws.uniform(2.5, 6.0, _LOBULES), draws.uniform(4.0, 13.0, _LOBULES)
    contrast = draws.uniform(-7.0, 4.0, _LOBULES)
    for k in range(_LOBULES):
        distance = ((depth - y[k]) / height[k]) ** 2 + ((lateral - x[k]) / width[k]) ** 2
        echo = echo + contrast[k] * _step(2.0 * (1.0 - distance))
    return echo


def _lesion(
    echo: np.ndarray, shown: np.ndarray, draws: _Draws, depth: np.ndarray, lateral: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Put each image's lesion in: outline, interior, what lies behind it; return echo and mask."""
    cyst, benign, malignant, calcified = (
        (shown == k)[:, None, None].astype(np.float64) for k in (CYST, BENIGN, MALIGNANT, CALCIFIED)
    )
    present = (shown != NORMAL)[:, None, None]
    y, x = draws.uniform(18.0, 46.0), draws.uniform(13.0, 51.0)
    radius = draws.uniform(7.5, 12.0)
    aspect = draws.uniform(0.6, 0.9) + malignant * draws.uniform(0.2, 0.6)  # height over width
    dy, dx = (depth - y) / np.sqrt(aspect), (lateral - x) * np.sqrt(aspect)
    distance = np.sqrt(dy**2 + dx**2) + 1e-9
    outline = radius * _outline(shown == MALIGNANT, draws, dy / distance, dx / distance)
    softness = 0.45 + draws.uniform(0.0, 0.5) + malignant * draws.uniform(0.0, 0.5)
    inside = _step((outline - distance) / softness) * present

    darkness = draws.uniform(0.0, 1.0)
    level = (
        cyst * (-19.0 - 9.0 * darkness)
        + benign * (-8.0 - 5.0 * darkness)
        + malignant * (-10.5 - 6.0 * darkness)
        + calcified * (-8.0 - 5.0 * darkness)
    )
    behind = _step(depth - y - 0.6 * radius) * np.exp(-(((lateral - x) / (0.75 * radius)) ** 4))
    trail = draws.uniform(0.0, 1.0)
    below = cyst * (3.0 + 4.0 * trail) + benign * (3.0 * trail - 0.5) - malignant * (4.5 + 6.5 * trail)
    below = below - calcified * 3.0 * trail
    echo = echo + below * behind * (1.0 - inside)
    capsule = (benign + calcified) * draws.uniform(0.0, 3.0)
    echo = echo + capsule * np.exp(-(((distance - outline) / 1.1) ** 2))
    echo = echo + level * inside
    echo = echo + _grains(draws, dy / radius, dx / radius, radius / _GRAIN_RADIUS, shown == CALCIFIED)
    return echo, (distance < outline) & present


def _outline(malignant: np.ndarray, draws: _Draws, sine: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """Radius over mean radius by direction: gently lobed, with spicules where `malignant` (n,) is true."""
    second, third = draws.uniform(0.0, 0.08), draws.uniform(0.0, 0.07)
    phase = draws.uniform(0.0, 2.0 * np.pi, 2)
    outline = 1.0 + second * (
        np.cos(phase[0]) * (2.0 * cosine**2 - 1.0) + np.sin(phase[0]) * 2.0 * sine * cosine
    )
    outline = outline + third * np.cos(phase[1]) * (4.0 * cosine**3 - 3.0 * cosine)
    position = draws.uniform(-0.25, 0.25, _SPICULES)
    length = draws.uniform(0.1, 1.0, _SPICULES)
    turn = draws.uniform(0.0, 2.0 * np.pi)
    for k in range(_SPICULES):
        centre = (turn + (k + position[k]) * (2.0 * np.pi / _SPICULES))[malignant]
        towards = cosine[malignant] * np.cos(centre) + sine[malignant] * np.sin(centre)
        outline[malignant] += length[k][malignant] * np.exp(22.0 * (towards - 1.0))
    outline[malignant] -= 0.2
    return outline


def _grains(
    draws: _Draws, dy: np.ndarray, dx: np.ndarray, sharpness: np.ndarray, calcified: np.ndarray
) -> np.ndarray:
    """Bright calcium grains inside the lesions where `calcified` (n,) is true, in dB.

    `dy` and `dx` are in lesion radii, `sharpness` is the lesion's radius over that of a grain.
    """
    turn, reach = draws.uniform(0.0, 2.0 * np.pi, _GRAINS), draws.uniform(0.0, 0.75, _GRAINS)
    gain = draws.uniform(12.0, 26.0, _GRAINS)
    grains = np.zeros(np.broadcast_shapes(dy.shape, dx.shape))
    dy, dx, sharpness = dy[calcified], dx[calcified], sharpness[calcified]
    for k in range(_GRAINS):
        y, x = reach[k] * np.sin(turn[k]), reach[k] * np.cos(turn[k])
        apart = (dy - y[calcified]) ** 2 + (dx - x[calcified]) ** 2
        grains[calcified] = np.maximum(grains[calcified], gain[k][calcified] * np.exp(-apart * sharpness**2))
    return grains


def _vessels(echo: np.ndarray, draws: _Draws, depth: np.ndarray, lateral: np.ndarray) -> np.ndarray:
    """Draw small anechoic vessels, round or cut lengthwise; some scenes have none."""
    y, x = draws.uniform(8.0, 60.0, _VESSELS), draws.uniform(2.0, 62.0, _VESSELS)
    calibre, stretch = draws.uniform(0.9, 2.3, _VESSELS), draws.uniform(1.0, 4.5, _VESSELS)
    slope = draws.uniform(-0.5, 0.5, _VESSELS)
    contrast = np.minimum(0.0, draws.uniform(-20.0, 8.0, _VESSELS))
    for k in range(_VESSELS):
        across = (depth - y[k] - slope[k] * (lateral - x[k])) / calibre[k]
        along = (lateral - x[k]) / (calibre[k] * stretch[k])
        echo = echo + contrast[k] * _step(3.0 * (1.0 - across**2 - along**2))
    return echo


def _reflectors(echo: np.ndarray, draws: _Draws, depth: np.ndarray, lateral: np.ndarray) -> np.ndarray:
    """Draw bright fascia and single specular spots, which are no calcifications."""
    y, x = draws.uniform(6.0, 62.0, _REFLECTORS), draws.uniform(0.0, 64.0, _REFLECTORS)
    length, slope = draws.uniform(0.9, 9.0, _REFLECTORS), draws.uniform(-0.35, 0.35, _REFLECTORS)
    gain = np.maximum(0.0, draws.uniform(-6.0, 13.0, _REFLECTORS))
    for k in range(_REFLECTORS):
        across = (depth - y[k] - slope[k] * (lateral - x[k])) / 0.9
        along = (lateral - x[k]) / length[k]
        echo = echo + gain[k] * np.exp(-(across**2) - along**4)
    return echo


def _shadows(echo: np.ndarray, draws: _Draws, depth: np.ndarray, lateral: np.ndarray) -> np.ndarray:
    """Darken streaks below a start depth, as behind poor contact or ligaments; some scenes have none."""
    top, x = draws.uniform(0.0, 40.0, _SHADOWS), draws.uniform(0.0, 64.0, _SHADOWS)
    width = draws.uniform(2.0, 6.0, _SHADOWS)
    loss = np.minimum(0.0, draws.uniform(-8.0, 4.0, _SHADOWS))
    for k in range(_SHADOWS):
        echo = echo + loss[k] * _step((depth - top[k]) / 3.0) * np.exp(-(((lateral - x[k]) / width[k]) ** 2))
    return echo


def _speckle(noise: np.ndarray, scale: float) -> np.ndarray:
    """Return speckle power with mean about 1, (n, size, size), from noise (n, 2 * looks, size, size)."""
    axial, across = 0.8 * scale, 1.5 * scale
    field = gaussian_filter1d(
        gaussian_filter1d(noise, axial, axis=-2, truncate=3.0), across, axis=-1, truncate=3.0
    )
    gain = 4.0 * np.pi * axial * across  # the filter lowers the variance by this factor
    return (field**2).sum(axis=1) * (gain / (2.0 * _LOOKS))


def _step(value: np.ndarray) -> np.ndarray:
    """A smooth step from 0 to 1 around 0."""
    return 0.5 + 0.5 * np.tanh(value)
