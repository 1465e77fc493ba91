"""Open a page in a real Chromium, note what it complains about and what it asks for, and measure it.

Tests that use this are marked `browser`. They are skipped where no Chromium is installed, and fail there where
HARNESS_REQUIRE_BROWSER is set, as it is in CI. HARNESS_CHROMIUM names a Chromium in an unusual place.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DESKTOP, PHONE = 1280, 390  # widths of a window in pixels
READABLE = 4.5  # the least contrast of text and background (WCAG 2.2, criterion 1.4.3)

_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass(frozen=True)
class Opened:
    """A page in a browser.

    `complaints` are errors on the console and uncaught ones, `requests` those for anything but the file itself.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def chromium_path() -> str | None:
    """Return where a Chromium is installed; None where there is none."""
    named = os.environ.get("HARNESS_CHROMIUM")
    if named:
        return named
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """Start a Chromium; skip the test where none is installed, or fail it with HARNESS_REQUIRE_BROWSER."""
    path = chromium_path()
    if path is None:
        reason = "no Chromium is installed; install one, or name it in HARNESS_CHROMIUM"
        if os.environ.get("HARNESS_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Browser,
    file: Path,
    *,
    width: int = DESKTOP,
    height: int = 900,
    scheme: Literal["light", "dark"] = "light",
    fragment: str = "",
) -> Iterator[Opened]:
    """Open a file in a context of its own, in a window of this size in pixels and this colour scheme.

    `fragment` is what stands behind # in the address.
    """
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    try:
        found = Opened(context.new_page())
        page, address = found.page, file.resolve().as_uri()

        def note(request: Request) -> None:
            target = request.url.partition("#")[0]
            if target != address and not target.startswith(("data:", "blob:")):
                found.requests.append(request.url)

        page.on("request", note)
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.on("console", lambda said: found.complaints.append(said.text) if said.type == "error" else None)
        page.goto(f"{address}#{fragment}" if fragment else address)
        yield found
    finally:
        context.close()


def overflow(page: Page) -> int:
    """Return by how many pixels the page is wider than its window; 0 where it needs no sideways scrolling."""
    wider: int = page.evaluate(
        "() => Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"
        " - document.documentElement.clientWidth"
    )
    return max(wider, 0)


def contrast(page: Page, selector: str) -> float:
    """Return the contrast, from 1 to 21, of text and what is painted behind it: the least of all such elements.

    By the relative luminance of WCAG 2.2. Backgrounds that let something through are laid over each other, from
    the element up to the page's own, white where there is none.
    """
    pairs = page.locator(selector).evaluate_all(_COLOURS)
    assert pairs, f"nothing on the page is {selector!r}"
    return min(_ratio(pair["text"], pair["behind"]) for pair in pairs)


def _ratio(one: list[float], other: list[float]) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: list[float]) -> float:
    """Return the relative luminance of red, green and blue from 0 to 255."""
    shares = [value / 255 for value in colour]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# A canvas resolves every way to write a colour; it is painted pixel by pixel, so a page's rules do not touch it.
_COLOURS = """
elements => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parts = colour => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = context.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]));
  const base = getComputedStyle(document.documentElement).colorScheme.includes("dark")
    && matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
  return elements.map(element => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parts(getComputedStyle(at).backgroundColor));
    const behind = layers.reduceRight((below, top) => over(top, below), base);
    return { text: over(parts(getComputedStyle(element).color), behind), behind };
  });
}
"""
