"""Figures read back: where a mark lies, what it says, and how a browser sets the words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from playwright.sync_api import Page


def parsed(svg: str) -> ElementTree.Element:
    """Return the root of a drawing's content, with or without names of the SVG format."""
    plain = re.sub(r' xmlns="[^"]*"', "", svg)
    return ElementTree.fromstring(plain if plain.startswith("<svg") else f"<svg>{plain}</svg>")


def of_class(svg: str, kind: str) -> list[ElementTree.Element]:
    return [e for e in parsed(svg).iter() if e.get("class") == kind]


def paths(svg: str, kind: str) -> list[list[tuple[float, float]]]:
    """Return the corners of every path of this class that is written in absolute points."""
    found = [e.get("d") or "" for e in of_class(svg, kind)]
    return [[(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", d)] for d in found]


def marks(svg: str) -> dict[str, tuple[str, float, float]]:
    """Return kind and place of every marker by what its title says."""
    found = {}
    for mark in of_class(svg, "mark"):
        for drawn in mark.iter("use"):
            at = (float(drawn.get("x") or 0), float(drawn.get("y") or 0))
            found[mark.findtext("title") or ""] = ((drawn.get("href") or "").removeprefix("#dot-"), *at)
    return found


def words(svg: str) -> list[str]:
    """Return every text that stands there without a pointer on anything."""
    root = parsed(svg)
    hidden = {id(e) for mark in root.iter() if mark.get("class") == "mark" for e in mark.iter()}
    return ["".join(e.itertext()) for e in root.iter("text") if id(e) not in hidden]


def value_at(svg: str, place: float, along: str = "y") -> float:
    """Return the number at a pixel by the labels of the axis: percent from bottom to top, or along the foot."""
    if along == "y":
        ticks = {
            float(text.removesuffix("%")): float(e.get("y") or 0) - 3.5
            for e in parsed(svg).iter("text")
            if (text := e.text or "").endswith("%") and e.get("text-anchor") == "end"
        }
    else:
        ticks = {
            float(text.replace("−", "-").removesuffix("%")): float(e.get("x") or 0)
            for e in parsed(svg).iter("text")
            if re.fullmatch(r"−?[\d.]+%?", text := e.text or "") and e.get("text-anchor") == "middle"
        }
        if "%" in {(e.text or "")[-1:] for e in parsed(svg).iter("text") if e.get("text-anchor") == "middle"}:
            ticks = {k: v for k, v in ticks.items() if f"{k:g}%" in words(svg)}
    (a, at_a), (b, at_b) = sorted(ticks.items())[0], sorted(ticks.items())[-1]
    return a + (place - at_a) / (at_b - at_a) * (b - a)


_LAID_OUT = """
() => {
  const svg = document.querySelector("svg"), edge = svg.getBoundingClientRect(), found = [];
  const texts = [...svg.querySelectorAll("text")].map(e => [e.textContent.trim(), e.getBoundingClientRect()])
    .filter(([said, box]) => said && box.width > 0);
  texts.forEach(([said, box], place) => {
    if (box.left < edge.left - 1 || box.right > edge.right + 1) found.push(`${said} sticks out at a side`);
    if (box.top < edge.top - 1 || box.bottom > edge.bottom + 1) found.push(`${said} sticks out above or below`);
    for (const [other, its] of texts.slice(place + 1)) {
      const across = Math.min(box.right, its.right) - Math.max(box.left, its.left);
      const down = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
      if (across > 1 && down > 4) found.push(`${said} covers ${other}`);
    }
  });
  return found;
}
"""


def crowded(page: Page, svg: str) -> list[str]:
    """Return every word of a figure that a browser cuts off or lays over another one."""
    page.set_content(svg)
    found: list[str] = page.evaluate(_LAID_OUT)
    return found
