"""What probes read from every layer, on the way from the first vision layer to the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report import drawing
from harness.report.drawing import BLACK, BLUE, GREEN, GREY, ORANGE, PALE, PURPLE, SKY, VERMILLION, Drawing
from leaderboard.record.record import ProbePart, Record

# By module and pool: colour, marker, label.
SERIES: dict[str, tuple[str, str, str]] = {
    "vision.mean": (BLUE, "o", "vision encoder, image tokens"),
    "vision.regrouped": (SKY, "P", "the same, regrouped as the connector sees it"),
    "connector.mean": (GREEN, "D", "connector, image tokens"),
    "llm.last": (VERMILLION, "s", "language model, last prompt token"),
    "llm.mean": (PURPLE, "^", "language model, image tokens"),
}
_OTHER = (GREY, "X")
_RANK = {"vision": 0, "connector": 1, "llm": 2}
_GROUPS = {"vision": "vision encoder", "llm": "language model"}
ANSWER = "the model's answers"


def layer_curve(record: Record, readout: str) -> str:
    """Return the layer curve of one readout as SVG text that stands by itself, for a wide page."""
    return drawing.svg(layer_drawing(record, readout), drawing.WIDE, "layers")


def layer_drawing(record: Record, readout: str) -> Drawing:
    """Return the curve of one readout: balanced test accuracy in percent with 95% intervals.

    Beside the layers stand the answers and every floor and ceiling that the record has.
    """
    probes = [p for p in record.probes if p.readout == readout]
    ends = ", ".join(f"{p.site} ({p.pool}) {100 * p.balanced_accuracy.value:.1f}" for p in _landmarks(probes))
    return Drawing(
        "layers",
        f"What a probe reads from each layer, {readout} readout",
        f"Balanced accuracy in percent: {ends}.",
        partial(_draw, record, probes),
    )


def _landmarks(probes: Sequence[ProbePart]) -> list[ProbePart]:
    """Return the first and the last site of every series."""
    series = [[p for p in probes if _series(p) == name] for name in dict.fromkeys(map(_series, probes))]
    return [p for same in series for p in dict.fromkeys((same[0], same[-1]))]


def _series(probe: ProbePart) -> str:
    return f"{probe.module}.{probe.pool}"


def site_order(probes: Sequence[ProbePart]) -> list[tuple[str, int]]:
    """Return module and layer of every site in the order in which an image passes them, each once."""
    ordered = sorted(probes, key=lambda p: (_RANK[p.module], p.layer))
    return list(dict.fromkeys((p.module, p.layer) for p in ordered))


def _draw(record: Record, probes: Sequence[ProbePart], width: float) -> Figure:
    narrow = drawing.is_narrow(width)
    sites = site_order(probes)
    places = {site: place for place, site in enumerate(sites)}
    figure = Figure(figsize=(width, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlim(-0.6, len(sites) + 0.6)
    _draw_null(axes, record, probes, places)
    for name in [n for n in SERIES if n in map(_series, probes)] + _unknown(probes):
        _draw_series(axes, name, [p for p in probes if _series(p) == name], places)
    _draw_consumed(axes, [p for p in probes if p.consumed], places)
    _draw_floors(axes, record, places)
    if record.answers is not None:
        drawing.curve(axes, [len(sites)], [record.answers.balanced_accuracy], (BLACK, "*", ANSWER), 11)
    _dress(axes, sites)
    rows = len(axes.get_legend_handles_labels()[1])
    columns = 1 if narrow else 2
    figure.set_size_inches(width, (3.0 if narrow else 3.7) + 0.17 * -(-rows // columns))
    drawing.legend_below(figure, axes, columns)
    return figure


def _unknown(probes: Sequence[ProbePart]) -> list[str]:
    return [name for name in dict.fromkeys(map(_series, probes)) if name not in SERIES]


def _draw_series(
    axes: Axes,
    name: str,
    probes: Sequence[ProbePart],
    places: Mapping[tuple[str, int], int],
) -> None:
    ordered = sorted(probes, key=lambda p: p.layer)
    look = SERIES.get(name, (*_OTHER, name))
    xs = [places[p.module, p.layer] for p in ordered]
    drawing.curve(axes, xs, [p.balanced_accuracy for p in ordered], look)


def _draw_consumed(axes: Axes, probes: Sequence[ProbePart], places: Mapping[tuple[str, int], int]) -> None:
    """Draw a ring around what the connector reads."""
    if probes:
        axes.plot(
            [places[p.module, p.layer] for p in probes],
            [100 * p.balanced_accuracy.value for p in probes],
            marker="o",
            markersize=11,
            fillstyle="none",
            linestyle="none",
            color=BLACK,
            label="read by the connector",
            zorder=5,
        )


def null_bands(
    record: Record, probes: Sequence[ProbePart], places: Mapping[tuple[str, int], int]
) -> list[tuple[int, float, float, float]]:
    """Return place, quantiles 5%, 50% and 95% in percent of what permuted labels reach, for every place.

    Where a layer has several pools, the widest ends are taken. Empty for a readout that has no permutation
    null of its own.
    """
    if record.permutation is None or all(p.permutation_p is None for p in probes):
        return []
    found: dict[int, list[tuple[float, float, float]]] = {}
    for probe in probes:
        band = record.permutation.bands.get(f"{probe.site}.{probe.pool}")
        if band is not None:
            found.setdefault(places[probe.module, probe.layer], []).append(band)
    return [
        (
            place,
            100 * min(b[0] for b in bands),
            100 * sum(b[1] for b in bands) / len(bands),
            100 * max(b[2] for b in bands),
        )
        for place, bands in sorted(found.items())
    ]


def _draw_null(
    axes: Axes, record: Record, probes: Sequence[ProbePart], places: Mapping[tuple[str, int], int]
) -> None:
    bands = null_bands(record, probes, places)
    if not bands or record.permutation is None:
        return
    xs = [place + side for place, *_ in bands for side in (-0.5, 0.5)]
    low, high = ([band[end] for band in bands for _ in range(2)] for end in (1, 3))
    axes.fill_between(xs, low, high, color=GREY, alpha=0.25, linewidth=0, label="permuted labels, 5% to 95%")
    axes.axhline(
        100 * record.permutation.highest,
        color=GREY,
        linestyle=(0, (1, 1)),
        linewidth=1.2,
        label="permuted labels, best layer, 95%",
    )


def _draw_floors(axes: Axes, record: Record, places: Mapping[tuple[str, int], int]) -> None:
    chance = 100 / len(record.task.classes)
    axes.axhline(chance, color=BLACK, linestyle=(0, (5, 3)), linewidth=1, label="chance, and majority class")
    if record.floors is None:
        return
    ceiling, pixels = record.floors.reference, record.floors.pixels
    axes.axhline(
        100 * ceiling.balanced_accuracy.value, color=BLACK, linewidth=1, label="reference R", zorder=1
    )
    axes.axhline(
        100 * pixels.balanced_accuracy.value,
        color=ORANGE,
        linestyle=(0, (6, 2, 1, 2)),
        linewidth=1.4,
        label="pixels, linear (PCA)",
    )
    by_name = {f"{module}.{layer:02d}": place for (module, layer), place in places.items()}
    floors = [f for f in record.floors.random_vision or () if f.site in by_name]
    if floors:
        xs = [by_name[f.site] for f in floors]
        look = (GREY, "x", "vision encoder, random weights")
        drawing.curve(axes, xs, [f.balanced_accuracy for f in floors], look)


def _dress(axes: Axes, sites: Sequence[tuple[str, int]]) -> None:
    step = max(1, -(-len(sites) // (10 if drawing.is_narrow(drawing.width_of(axes)) else 16)))
    free = [i for i, site in enumerate(sites) if site[0] == "connector"]  # layers' numbers keep off its name
    ticks = [
        i
        for i, (module, layer) in enumerate(sites)
        if i in free or (layer % step == 0 and all(abs(i - place) * 2 >= step for place in free))
    ]
    axes.set_xticks([*ticks, len(sites)], [*(_tick(*sites[i]) for i in ticks), "answer"], fontsize=8)
    for label in axes.get_xticklabels():
        if label.get_text() in ("connector", "answer"):
            label.set_rotation(90)
    for module, name in _GROUPS.items():
        held = [i for i, site in enumerate(sites) if site[0] == module]
        if held:
            middle = (held[0] + held[-1]) / 2
            axes.annotate(
                name,
                (middle, 0),
                xytext=(0, -17),
                xycoords=axes.get_xaxis_transform(),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=8.5,
                color="#444444",
            )
    for i, (before, after) in enumerate(zip(sites, [*sites[1:], ("answer", 0)], strict=True)):
        if before[0] != after[0]:
            axes.axvline(i + 0.5, color=PALE, linewidth=1, zorder=0)
    axes.set_ylabel("balanced accuracy (%)", fontsize=8.5)
    axes.set_ylim(0, 102)
    axes.grid(axis="y", color=PALE, linewidth=0.6)


def _tick(module: str, layer: int) -> str:
    return "connector" if module == "connector" else str(layer)
