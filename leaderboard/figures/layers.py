"""What probes read from every layer, on the way from the first vision layer to the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from leaderboard.figures import svg
from leaderboard.figures.svg import Axes, Drawing, Figure, Scale, Table
from leaderboard.record.checks import AnswerTargetPart
from leaderboard.record.parts import Interval
from leaderboard.record.record import ProbePart, Record
from leaderboard.words import ends, points

# By module and pool: words. `theme` has a colour and a marker for each.
SERIES = {
    "vision.mean": "vision encoder, image tokens",
    "vision.regrouped": "the same, regrouped as the connector sees it",
    "connector.mean": "connector, image tokens",
    "llm.last": "language model, last prompt token",
    "llm.mean": "language model, image tokens",
}
ANSWER = "the model's answers"
_RANK = {"vision": 0, "connector": 1, "llm": 2}
_GROUPS = {"vision": "vision encoder", "llm": "language model"}
_TOP, _BOTTOM, _LEFT, _RIGHT = 32, 72, 40, 8
_SIZES = ((svg.WIDE, 356.0), (svg.NARROW, 316.0))
# Where each module of two results stands: its layers spread evenly over this stretch, the first on the left.
_STRETCHES = {"vision": (0.0, 1.0), "connector": (1.25, 1.25), "llm": (1.5, 2.5)}
_AT_ANSWER = 2.75
_PLACES = {0.5: "vision\nencoder", 1.25: "con-\nnector", 2.0: "language\nmodel", _AT_ANSWER: "answer"}
_PAIR = ("blue", "vermillion")

Site = tuple[str, int]


def readouts(record: Record) -> list[str]:
    """Return the readouts that a record was probed with, each once."""
    return list(dict.fromkeys(probe.readout for probe in record.probes))


def main_probes(record: Record) -> tuple[ProbePart, ...]:
    """Return the probes of the readout that the verdict uses."""
    found = readouts(record)
    main = record.health.readout if record.health and record.health.readout in found else None
    return probes_of(record, main or found[0]) if found else ()


def probes_of(record: Record, readout: str) -> tuple[ProbePart, ...]:
    """Return the probes of a readout."""
    return tuple(probe for probe in record.probes if probe.readout == readout)


def site_order(probes: Sequence[ProbePart]) -> list[Site]:
    """Return module and layer of every site in the order in which an image passes them, each once."""
    ordered = sorted(probes, key=lambda p: (_RANK[p.module], p.layer))
    return list(dict.fromkeys((p.module, p.layer) for p in ordered))


def layer_figure(record: Record, readout: str | None = None) -> Figure | None:
    """Return the curves of a readout, by default the verdict's: balanced test accuracy with 95% intervals.

    Beside the layers stand the answers and every floor and ceiling that the record has. None without probes.
    """
    probes = main_probes(record) if readout is None else probes_of(record, readout)
    if not probes:
        return None
    said = "; ".join(_in_words(name, _of(name, probes)) for name in SERIES if _of(name, probes))
    wide, narrow = (
        Drawing(width, height, _panel(record, probes, width, height).drawn()) for width, height in _SIZES
    )
    return Figure(
        f"What a probe reads from each layer, {probes[0].readout} readout",
        f"Balanced accuracy in percent. {said}.",
        wide,
        narrow,
        legend([(record, probes)]),
        ("Bands and bars: 95% intervals.",),
        _table(probes),
    )


def _panel(record: Record, probes: tuple[ProbePart, ...], width: float, height: float) -> _Panel:
    sites = site_order(probes)
    x = Scale(-0.6, len(sites) + 0.6, _LEFT, width - _RIGHT)
    return _Panel(record, probes, Axes(x, Scale(0, 100, height - _BOTTOM, _TOP)))


def _of(name: str, probes: Sequence[ProbePart]) -> list[ProbePart]:
    """Return a series' probes by layer."""
    return sorted((p for p in probes if f"{p.module}.{p.pool}" == name), key=lambda p: p.layer)


def _in_words(name: str, found: Sequence[ProbePart]) -> str:
    first, last = (points(100 * p.balanced_accuracy.value) for p in (found[0], found[-1]))
    return f"{SERIES[name]}: {last if len(found) == 1 else f'first layer {first}, last {last}'}"


def _table(probes: Sequence[ProbePart]) -> Table:
    """Return the curves in numbers: a column for each, and a row for each site."""
    names = [name for name in SERIES if _of(name, probes)]
    found: dict[tuple[Site, str], Interval] = {
        ((p.module, p.layer), f"{p.module}.{p.pool}"): p.balanced_accuracy for p in probes
    }
    read = {(p.module, p.layer) for p in probes if p.consumed}
    rows = tuple(
        (
            f"{module}.{layer:02d}{' (read by the connector)' if (module, layer) in read else ''}",
            *(_cell(found.get(((module, layer), name))) for name in names),
        )
        for module, layer in site_order(probes)
    )
    return ("site", *(SERIES[name] for name in names)), rows


def _cell(value: Interval | None) -> str:
    return "–" if value is None else f"{points(100 * value.value)} ({ends(value)})"


def legend(
    drawn: Sequence[tuple[Record, Sequence[ProbePart]]], *, floors: bool = True
) -> tuple[tuple[str, str], ...]:
    """Return symbols and words of what stands in the panels of these records, and of nothing else."""
    probes = [probe for _, held in drawn for probe in held]
    rows = [(name.replace(".", "-"), words) for name, words in SERIES.items() if _of(name, probes)]
    if any(p.consumed for p in probes):
        rows.append(("consumed", "read by the connector"))
    measured = [record.floors for record, _ in drawn if record.floors and floors]
    if any(held.random_vision for held in measured):
        rows.append(("random", "vision encoder, random weights"))
    if any(record.answers for record, _ in drawn):
        rows.append(("answer", ANSWER))
    if measured:
        rows += [("ceiling", "reference R"), ("pixels", "pixels, linear (PCA)")]
    rows.append(("chance", "chance, and majority class"))
    if any(has_null(*one) for one in drawn):
        rows.append(("null", "permuted labels, 5% to 95%"))
        rows += [("highest", "permuted labels, best layer, 95%")] if floors else []
    return tuple(rows)


def has_null(record: Record, probes: Sequence[ProbePart]) -> bool:
    """Whether this readout has a permutation null of its own."""
    return record.permutation is not None and any(p.permutation_p is not None for p in probes)


def grid_figure(
    title: str,
    rows: Sequence[tuple[str, Sequence[tuple[Record, tuple[ProbePart, ...]] | None]]],
    columns: Sequence[str],
    *,
    height: float = 158,
) -> Figure:
    """Return layer curves side by side for print.

    Args:
        title: what all panels are of.
        rows: a name, and for every column a record with its probes of one readout, without probes where its
            layers were not probed, or None where there is no result.
        columns: names of what the columns hold; not written where there is one.
        height: of a row in pixels.
    """
    width = 691.0 if len(columns) > 1 else 480.0
    across = (width - 46) / len(columns)
    content = svg.text(svg.fitted(title, 90, 1), width / 2, 26, class_="strong", text_anchor="middle")
    top = 34.0
    if len(columns) > 1:
        top += 14
        for place, name in enumerate(columns):
            content += svg.text(name, 46 + across * (place + 0.5), 43, class_="strong", text_anchor="middle")
    content += svg.text("balanced accuracy (%)", 0, 0, transform=f"rotate(-90) translate({-top - 120} 11)")
    for place, (name, cells) in enumerate(rows):
        above = top + place * height
        content += svg.text(svg.fitted(name, 80, 1), 46, above + 11)
        y = Scale(0, 100, above + height - 18, above + 30)
        for column, cell in enumerate(cells):
            left = 46 + across * column
            if cell is None or not cell[1]:
                said, x = "not run" if cell is None else "layers not probed", left + across / 2
                content += svg.text(said, x, above + height / 2, class_="soft", text_anchor="middle")
                continue
            x_axis = Scale(-0.7, len(site_order(cell[1])) + 0.7, left + 26, left + across - 6)
            content += _Panel(*cell, Axes(x_axis, y), small=True).drawn()
    held = [cell for _, cells in rows for cell in cells if cell is not None and cell[1]]
    note = "Bands and bars: 95% intervals. Numbers below a panel: layers. C: connector, A: answer."
    whole = Drawing(width, top + height * len(rows), content)
    return Figure(title, note, whole, None, legend(held, floors=False), (note,))


@dataclass(frozen=True)
class _Panel:
    """The curves of these probes on these axes; a `small` one has no floors, and letters for words."""

    record: Record
    probes: tuple[ProbePart, ...]
    axes: Axes
    small: bool = False

    def drawn(self) -> str:
        sites = site_order(self.probes)
        xs = {site: self.axes.x.at(place) for place, site in enumerate(sites)}
        modules = [*(module for module, _ in sites), "answer"]
        borders = [place + 0.5 for place, (one, other) in enumerate(pairwise(modules)) if one != other]
        drawn = (
            self.axes.grid(25 if self.axes.y.start - self.axes.y.end > 70 else 50)
            if self.small
            else self.axes.grid(20, "balanced accuracy")
        )
        drawn += self._null(xs) + self.axes.uprights(map(self.axes.x.at, borders)) + self._levels()
        drawn += "" if self.small else self._random(xs)
        for name in SERIES:
            found = _of(name, self.probes)
            names = [f"{p.site} {p.pool}" for p in found]
            spots = [xs[p.module, p.layer] for p in found]
            kind = name.replace(".", "-")
            drawn += self.axes.curve(spots, [p.balanced_accuracy for p in found], names, kind)
        drawn += self._consumed(xs)
        if self.record.answers is not None:
            value = self.record.answers.balanced_accuracy
            drawn += self.axes.curve([self.axes.x.at(len(sites))], [value], [ANSWER], "answer")
        return drawn + self._ticks(sites)

    def _levels(self) -> str:
        floors, found = self.record.floors, [("chance", 1 / len(self.record.task.classes))]
        if floors and not self.small:
            found += [
                ("ceiling", floors.reference.balanced_accuracy.value),
                ("pixels", floors.pixels.balanced_accuracy.value),
            ]
        return "".join(self.axes.level(share, kind) for kind, share in found)

    def _null(self, xs: Mapping[Site, float]) -> str:
        null = self.record.permutation
        if null is None or not has_null(self.record, self.probes):
            return ""
        found: dict[float, list[tuple[float, float, float]]] = {}
        for probe in self.probes:
            held = null.bands.get(f"{probe.site}.{probe.pool}")
            if held is not None:
                found.setdefault(xs[probe.module, probe.layer], []).append(held)
        highest = "" if self.small else self.axes.level(null.highest, "highest")
        if not found:
            return highest
        half = (self.axes.x.at(1) - self.axes.x.at(0)) / 2
        rows = sorted(found.items())
        # Up to the layer's upper end and along it, layer by layer, then back along the lower ends.
        there = [(x - half, self.axes.height(max(b[2] for b in bands))) for x, bands in rows]
        back = [(x + half, self.axes.height(min(b[0] for b in bands))) for x, bands in reversed(rows)]
        first = (there[0][0], back[-1][1])
        return svg.path(svg.stairs([first, *there, *back]) + "Z", "null") + highest

    def _random(self, xs: Mapping[Site, float]) -> str:
        by_name = {f"{module}.{layer:02d}": x for (module, layer), x in xs.items()}
        floors = self.record.floors.random_vision if self.record.floors else None
        found = [floor for floor in floors or () if floor.site in by_name]
        names = [f"{floor.site} random weights" for floor in found]
        values = [floor.balanced_accuracy for floor in found]
        return self.axes.curve([by_name[floor.site] for floor in found], values, names, "random")

    def _consumed(self, xs: Mapping[Site, float]) -> str:
        """Draw a ring around what the connector reads."""
        read = [p for p in self.probes if p.consumed]
        spots = [(xs[p.module, p.layer], self.axes.height(p.balanced_accuracy.value)) for p in read]
        return "".join(svg.element("circle", cx=x, cy=y, r=7, class_="consumed") for x, y in spots)

    def _ticks(self, sites: Sequence[Site]) -> str:
        x, y = self.axes.x, self.axes.y.start
        step = max(1, round(len(sites) * 26 / (x.end - x.start) + 0.49))
        # The layers' numbers keep off the names.
        free = [
            place for place, site in enumerate([*sites, ("answer", 0)]) if site[0] in ("connector", "answer")
        ]
        written = ""
        for i, (module, layer) in enumerate(sites):
            if module == "connector":
                written += self._turned("connector", x.at(i), y)
            elif layer % step == 0 and all(abs(i - place) * 2 >= step for place in free):
                written += svg.text(str(layer), x.at(i), y + 14, text_anchor="middle")
        written += self._turned("answer", x.at(len(sites)), y)
        for module, name in _GROUPS.items():
            held = [i for i, site in enumerate(sites) if site[0] == module]
            if held:
                middle, below = x.at((held[0] + held[-1]) / 2), self.axes.y.end - 6 if self.small else y + 30
                written += svg.text(name, middle, below, text_anchor="middle", class_="soft small")
        return written

    def _turned(self, said: str, x: float, y: float) -> str:
        if self.small:
            return svg.text(said[0].upper(), x, y + 14, text_anchor="middle")
        turned = f"rotate(-90 {svg.digits(x + 3.5)} {svg.digits(y + 6)})"
        return svg.text(said, x + 3.5, y + 6, text_anchor="end", transform=turned)


def pair_figure(records: tuple[Record, Record], names: tuple[str, str], readout: str) -> Figure:
    """Return the curves of one readout of two results, one over the other, though their models differ in depth.

    Args:
        records: of one task.
        names: what the legend calls the two.
        readout: one that both have.
    """
    held = [probes_of(record, readout) for record in records]
    ways = [_way(record, probes) for record, probes in zip(records, held, strict=True)]
    said = "; ".join(
        f"{name} from {points(100 * way[0][2].value)} at the first layer to {points(100 * way[-1][2].value)}"
        for name, way in zip(names, ways, strict=True)
        if way
    )
    rows = tuple(
        (name, place, _cell(value)) for name, way in zip(names, ways, strict=True) for _, place, value in way
    )
    null = any(has_null(record, probes) for record, probes in zip(records, held, strict=True))
    legend = [(kind, svg.fitted(name, 44, 1)) for kind, name in zip(_PAIR, names, strict=True)]
    legend += [("tokens", "its image tokens"), ("chance", "chance")]
    legend += [("highest", "permuted labels, best layer, 95%")] if null else []
    wide, narrow = (
        Drawing(width, height, _overlaid(records, held, ways, names, width, height))
        for width, height in _SIZES
    )
    return Figure(
        f"What a probe reads from each layer of the two models, {readout} readout",
        f"Balanced accuracy in percent: {said}.",
        wide,
        narrow,
        tuple(legend),
        (),
        (("result", "place", "balanced accuracy in percent"), rows),
    )


def _way(
    record: Record, probes: Sequence[ProbePart], pool: str = "last"
) -> list[tuple[float, str, Interval]]:
    """Return place, name and value on the way: vision layers, connector, decoder layers, and the answer.

    With the pool "mean" of the decoder, the image tokens, there are its layers alone.
    """
    series = ["vision.mean", "connector.mean", "llm.last"] if pool == "last" else ["llm.mean"]
    found = []
    for name in series:
        same = _of(name, probes)
        start, end = _STRETCHES[name.partition(".")[0]]
        last = max((p.layer for p in same), default=0)
        found += [
            (
                start + (p.layer / last if last else 0.5) * (end - start),
                f"{p.site}.{p.pool}",
                p.balanced_accuracy,
            )
            for p in same
        ]
    if pool == "last" and record.answers is not None:
        found.append((_AT_ANSWER, "answer", record.answers.balanced_accuracy))
    return found


def _overlaid(
    records: Sequence[Record],
    held: Sequence[Sequence[ProbePart]],
    ways: Sequence[Sequence[tuple[float, str, Interval]]],
    names: Sequence[str],
    width: float,
    height: float,
) -> str:
    axes = Axes(
        Scale(-0.08, _AT_ANSWER + 0.22, _LEFT, width - _RIGHT),
        Scale(0, 100, height - _BOTTOM + 20, _TOP),
    )
    drawn = axes.grid(20, "balanced accuracy") + axes.uprights(map(axes.x.at, (1.125, 1.375, 2.625)))
    drawn += axes.level(1 / len(records[0].task.classes), "chance")
    for number, (record, probes, way, name) in enumerate(zip(records, held, ways, names, strict=True)):
        kind, called = _PAIR[number], svg.fitted(name, 24, 1)
        if record.permutation is not None and has_null(record, probes):
            drawn += axes.level(record.permutation.highest, f"highest {kind}")
        tokens = [(axes.x.at(x), axes.height(value.value)) for x, _, value in _way(record, probes, "mean")]
        drawn += svg.path(svg.polyline(tokens), f"tokens {kind}") if tokens else ""
        layers = [one for one in way if one[0] < _AT_ANSWER]
        beside = 6 if number else -6  # so that two equal answers are both seen
        for part, aside in ((layers, 0), (way[len(layers) :], beside)):
            xs = [axes.x.at(x) + aside for x, _, _ in part]
            said = [f"{called}, {place}" for _, place, _ in part]
            drawn += axes.curve(xs, [value for *_, value in part], said, kind)
    for x, place in _PLACES.items():
        drawn += svg.lines(place, axes.x.at(x), axes.y.start + 18, text_anchor="middle", class_="soft")
    return drawn


def answer_target_figure(parts: Sequence[AnswerTargetPart] | None) -> Figure | None:
    """Return how well each decoder layer tells the right option's letter; None where not measured."""
    if not parts:
        return None
    ordered = sorted(parts, key=lambda part: part.layer)
    said = "; ".join(f"layer {p.layer} {points(100 * p.accuracy.value)}" for p in ordered)
    most = points(100 * ordered[0].majority)
    wide, narrow = (Drawing(width, 270, _letters(ordered, width)) for width, _ in _SIZES)
    prompts = ", ".join(dict.fromkeys(part.prompt for part in ordered))
    return Figure(
        "How well the last prompt token tells the letter of the right option",
        f"Accuracy in percent by decoder layer: {said}. The commonest letter reaches {most}.",
        wide,
        narrow,
        (("llm-last", f"right letter, prompt {svg.fitted(prompts, 24, 1)}"), ("chance", "commonest letter")),
        (),
        (("layer", "accuracy in percent"), tuple((str(p.layer), _cell(p.accuracy)) for p in ordered)),
    )


def _letters(parts: Sequence[AnswerTargetPart], width: float) -> str:
    last = parts[-1].layer
    x = Scale(-0.4, last + 0.4, _LEFT, width - _RIGHT)
    axes = Axes(x, Scale(0, 100, 270 - 36, _TOP))
    drawn = axes.grid(20, "accuracy") + axes.level(parts[0].majority, "chance")
    for prompt in dict.fromkeys(part.prompt for part in parts):
        same = [part for part in parts if part.prompt == prompt]
        names = [f"{part.site}, {part.prompt}" for part in same]
        drawn += axes.curve([x.at(p.layer) for p in same], [p.accuracy for p in same], names, "llm-last")
    for layer in x.ticks(10 if width < svg.WIDE else 18):
        if layer == int(layer):
            drawn += svg.text(svg.tick(layer), x.at(layer), axes.y.start + 14, text_anchor="middle")
    return drawn + svg.text("decoder layer", (x.start + x.end) / 2, axes.y.start + 30, text_anchor="middle")
