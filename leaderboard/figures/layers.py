"""What probes read from every layer, on the way from the first vision layer to the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from leaderboard.figures import svg
from leaderboard.figures.svg import Figure, Scale
from leaderboard.record.parts import Interval
from leaderboard.record.record import ProbePart, Record
from leaderboard.words import points

# By module and pool: words. The style sheet has a colour for each, `symbols.html` a marker.
SERIES = {
    "vision.mean": "vision encoder, image tokens",
    "vision.regrouped": "the same, regrouped as the connector sees it",
    "connector.mean": "connector, image tokens",
    "llm.last": "language model, last prompt token",
    "llm.mean": "language model, image tokens",
}
_RANK = {"vision": 0, "connector": 1, "llm": 2}
_GROUPS = {"vision": "vision encoder", "llm": "language model"}
_DENSE = 15  # pixels between two layers below which whiskers become a band
_TOP, _BOTTOM, _LEFT, _RIGHT = 8, 72, 40, 8
_WIDE, _NARROW = (740.0, 330.0), (346.0, 290.0)


def main_probes(record: Record) -> tuple[ProbePart, ...]:
    """Return the probes of the readout that the verdict uses."""
    readouts = list(dict.fromkeys(probe.readout for probe in record.probes))
    if not readouts:
        return ()
    main = record.health.readout if record.health and record.health.readout in readouts else readouts[0]
    return tuple(probe for probe in record.probes if probe.readout == main)


def series(probe: ProbePart) -> str:
    """Return the name of the curve that a probe belongs to."""
    return f"{probe.module}.{probe.pool}"


def site_order(probes: Sequence[ProbePart]) -> list[tuple[str, int]]:
    """Return module and layer of every site in the order in which an image passes them, each once."""
    ordered = sorted(probes, key=lambda p: (_RANK[p.module], p.layer))
    return list(dict.fromkeys((p.module, p.layer) for p in ordered))


def layer_figure(record: Record, key: str) -> Figure | None:
    """Return the curves of the readout that the verdict uses: balanced test accuracy with 95% intervals.

    Beside the layers stand the answers and every floor and ceiling that the record has. None without probes.
    """
    probes = main_probes(record)
    if not probes:
        return None
    said = "; ".join(_in_words(name, probes) for name in SERIES if any(series(p) == name for p in probes))
    title = f"What a probe reads from each layer, {probes[0].readout} readout"
    description = f"Balanced accuracy in percent. {said}. The table below the figure has every layer."
    wide, narrow = (
        svg.picture(
            size,
            _Curves(record, probes, size).drawn(),
            key=f"{key}-layers-{kind}",
            title=title,
            description=description,
            kind=kind,
        )
        for size, kind in ((_WIDE, "wide"), (_NARROW, "narrow"))
    )
    return Figure(wide, narrow, _legend(record, probes))


def _in_words(name: str, probes: Sequence[ProbePart]) -> str:
    found = sorted((p for p in probes if series(p) == name), key=lambda p: p.layer)
    first, last = (points(100 * p.balanced_accuracy.value) for p in (found[0], found[-1]))
    values = last if len(found) == 1 else f"first layer {first}, last {last}"
    return f"{SERIES[name]}: {values}"


def _legend(record: Record, probes: Sequence[ProbePart]) -> tuple[tuple[str, str], ...]:
    present = {series(p) for p in probes}
    rows = [(name.replace(".", "-"), words) for name, words in SERIES.items() if name in present]
    if any(p.consumed for p in probes):
        rows.append(("consumed", "read by the connector"))
    if record.floors and record.floors.random_vision:
        rows.append(("random", "vision encoder, random weights"))
    if record.answers:
        rows.append(("answer", "the model's answers"))
    if record.floors:
        rows += [("ceiling", "reference R"), ("pixels", "pixels, linear (PCA)")]
    rows.append(("chance", "chance, and majority class"))
    if _has_null(record, probes):
        rows += [("null", "permuted labels, 5% to 95%"), ("highest", "permuted labels, best layer, 95%")]
    return tuple(rows)


def _has_null(record: Record, probes: Sequence[ProbePart]) -> bool:
    """Whether this readout has a permutation null of its own."""
    return record.permutation is not None and any(p.permutation_p is not None for p in probes)


@dataclass(frozen=True)
class _Curves:
    """One drawing of these probes, `size` pixels wide and high."""

    record: Record
    probes: tuple[ProbePart, ...]
    size: tuple[float, float]

    @property
    def y(self) -> Scale:
        return Scale(0, 100, self.size[1] - _BOTTOM, _TOP)

    def x(self, sites: Sequence[tuple[str, int]]) -> Scale:
        return Scale(-0.6, len(sites) + 0.6, _LEFT, self.size[0] - _RIGHT)

    def drawn(self) -> str:
        sites = site_order(self.probes)
        scale = self.x(sites)
        xs = {site: scale.at(place) for place, site in enumerate(sites)}
        dense = scale.at(1) - scale.at(0) < _DENSE
        parts = [self._grid(), self._null(xs, scale), self._borders(sites, scale), self._levels()]
        parts += [self._random(xs, dense)]
        for name in SERIES:
            found = sorted((p for p in self.probes if series(p) == name), key=lambda p: p.layer)
            kind = name.replace(".", "-")
            spots = [xs[p.module, p.layer] for p in found]
            parts.append(self._curve(spots, [p.balanced_accuracy for p in found], kind, dense))
        parts += [self._consumed(xs), self._answer(scale.at(len(sites)))]
        return "".join(parts) + self._ticks(sites, scale)

    def _height(self, share: float) -> float:
        return self.y.at(100 * share)

    def _grid(self) -> str:
        right, lines, labels = svg.digits(self.size[0] - _RIGHT), "", ""
        for level in range(0, 101, 20):
            y = self.y.at(level)
            lines += f"M{_LEFT},{svg.digits(y)}H{right}"
            labels += svg.text(f"{level}%", _LEFT - 4, y + 3.5, text_anchor="end")
        return svg.element("path", d=lines, class_="grid") + labels

    def _levels(self) -> str:
        floors, found = self.record.floors, [("chance", 1 / len(self.record.task.classes))]
        if floors:
            found += [
                ("ceiling", floors.reference.balanced_accuracy.value),
                ("pixels", floors.pixels.balanced_accuracy.value),
            ]
        return "".join(self._level(share, kind) for kind, share in found)

    def _level(self, share: float, kind: str) -> str:
        d = f"M{_LEFT},{svg.digits(self._height(share))}H{svg.digits(self.size[0] - _RIGHT)}"
        return svg.element("path", d=d, class_=kind)

    def _null(self, xs: Mapping[tuple[str, int], float], scale: Scale) -> str:
        null = self.record.permutation
        if null is None or not _has_null(self.record, self.probes):
            return ""
        found: dict[float, list[tuple[float, float, float]]] = {}
        for probe in self.probes:
            held = null.bands.get(f"{probe.site}.{probe.pool}")
            if held is not None:
                found.setdefault(xs[probe.module, probe.layer], []).append(held)
        highest = self._level(null.highest, "highest")
        if not found:
            return highest
        half = (scale.at(1) - scale.at(0)) / 2
        rows = sorted(found.items())
        # Up to the layer's upper end and along it, layer by layer, then back along the lower ends.
        there = [(x - half, self._height(max(b[2] for b in bands))) for x, bands in rows]
        back = [(x + half, self._height(min(b[0] for b in bands))) for x, bands in reversed(rows)]
        first = (there[0][0], back[-1][1])
        d = svg.stairs([first, *there, *back]) + "Z"
        return svg.element("path", d=d, class_="null") + highest

    def _random(self, xs: Mapping[tuple[str, int], float], dense: bool) -> str:
        by_name = {f"{module}.{layer:02d}": x for (module, layer), x in xs.items()}
        floors = self.record.floors.random_vision if self.record.floors else None
        found = [floor for floor in floors or () if floor.site in by_name]
        spots = [by_name[floor.site] for floor in found]
        return self._curve(spots, [floor.balanced_accuracy for floor in found], "random", dense)

    def _curve(self, xs: Sequence[float], values: Sequence[Interval], kind: str, dense: bool) -> str:
        """Draw values with 95% intervals: whiskers, or a band where they would run into each other."""
        if not xs:
            return ""
        spots = [(x, self._height(v.value)) for x, v in zip(xs, values, strict=True)]
        lows, highs = [self._height(v.low) for v in values], [self._height(v.high) for v in values]
        if dense and len(xs) > 1:
            ends = svg.element("path", d=svg.band(xs, lows, highs), class_=f"band {kind}")
        else:
            d = "".join(svg.whisker(*one, cap=2.5) for one in zip(xs, lows, highs, strict=True))
            ends = svg.element("path", d=d, class_=f"ends {kind}")
        every = max(1, round(_DENSE / max(xs[1] - xs[0], 1))) if len(xs) > 1 else 1
        line = svg.element("path", d=svg.polyline(spots), class_=f"line {kind}") if len(xs) > 1 else ""
        return ends + line + svg.element("path", d=svg.places(spots[::every]), class_=f"dots {kind}")

    def _consumed(self, xs: Mapping[tuple[str, int], float]) -> str:
        """Draw a ring around what the connector reads."""
        return "".join(
            svg.element(
                "circle",
                cx=xs[p.module, p.layer],
                cy=self._height(p.balanced_accuracy.value),
                r=7,
                class_="consumed",
            )
            for p in self.probes
            if p.consumed
        )

    def _answer(self, x: float) -> str:
        answers = self.record.answers
        return "" if answers is None else self._curve([x], [answers.balanced_accuracy], "answer", False)

    def _borders(self, sites: Sequence[tuple[str, int]], scale: Scale) -> str:
        modules = [*(module for module, _ in sites), "answer"]
        ends = [place for place, (one, other) in enumerate(pairwise(modules)) if one != other]
        top, bottom = _TOP, svg.digits(self.size[1] - _BOTTOM)
        d = "".join(f"M{svg.digits(scale.at(i + 0.5))},{top}V{bottom}" for i in ends)
        return svg.element("path", d=d, class_="grid")

    def _ticks(self, sites: Sequence[tuple[str, int]], scale: Scale) -> str:
        step = max(1, -(-len(sites) // (10 if self.size == _NARROW else 18)))
        # The layers' numbers keep off the connector's name.
        free = [place for place, site in enumerate(sites) if site[0] == "connector"]
        y, written = self.size[1] - _BOTTOM, ""
        for i, (module, layer) in enumerate(sites):
            if module == "connector":
                written += _turned("connector", scale.at(i), y)
            elif layer % step == 0 and all(abs(i - place) * 2 >= step for place in free):
                written += svg.text(str(layer), scale.at(i), y + 14, text_anchor="middle")
        written += _turned("answer", scale.at(len(sites)), y)
        for module, name in _GROUPS.items():
            held = [i for i, site in enumerate(sites) if site[0] == module]
            if held:
                middle = scale.at((held[0] + held[-1]) / 2)
                written += svg.text(name, middle, y + 30, text_anchor="middle")
        return written


def _turned(said: str, x: float, y: float) -> str:
    turned = f"rotate(-90 {svg.digits(x + 3.5)} {svg.digits(y + 6)})"
    return svg.text(said, x + 3.5, y + 6, text_anchor="end", transform=turned)
