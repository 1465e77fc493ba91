"""Figures of a report, as SVG text that stands by itself."""

from __future__ import annotations

import io
from collections.abc import Sequence

from leaderboard.record import Interval, ProbePart, Record

# Okabe and Ito's palette: told apart by colour-blind readers, and the markers differ as well.
COLOURS = {"vision": "#0072B2", "connector": "#009E73", "llm.last": "#D55E00", "llm.mean": "#CC79A7"}
LABELS = {
    "vision": "vision encoder, image tokens",
    "connector": "connector, image tokens",
    "llm.last": "language model, last prompt token",
    "llm.mean": "language model, image tokens",
}
MARKERS = {"vision": "o", "connector": "D", "llm.last": "s", "llm.mean": "^"}


def layer_curve(record: Record, readout: str) -> str:
    """Draw probe accuracy along the model, layer by layer, to the answer.

    Points are test accuracies in percent with 95% intervals. The dashed line is the majority class,
    the star at the right the model's own answers. Returns SVG text.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    probes = [p for p in record.probes if p.readout == readout]
    names = _axis(probes)
    places = {name: place for place, name in enumerate(names)}
    figure = Figure(figsize=(max(7.0, 0.32 * len(names) + 3.2), 4.8), layout="constrained")
    axes = figure.add_subplot()
    for series in COLOURS:
        _draw_series(axes, series, [p for p in probes if _series(p) == series], places)
    if record.answers is not None:
        end = len(names)
        _draw_points(axes, [end], [record.answers.accuracy], "#000000", "*", "the model's answers")
        axes.axhline(100 * record.answers.majority_accuracy, color="#666666", linestyle="--", linewidth=1)
        axes.text(
            -0.4,
            100 * record.answers.majority_accuracy,
            "majority class",
            va="bottom",
            fontsize=8,
            color="#444",
        )
    _dress(axes, names)
    with mpl.rc_context({"svg.hashsalt": "harness", "svg.fonttype": "path"}):
        stream = io.StringIO()
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None})
    svg = stream.getvalue()
    return svg[svg.index("<svg") :]


def _series(probe: ProbePart) -> str:
    return f"llm.{probe.pool}" if probe.module == "llm" else probe.module


def _axis(probes: Sequence[ProbePart]) -> list[str]:
    """Return the sites in the order in which an image passes them, each once."""
    rank = {"vision": 0, "connector": 1, "llm": 2}
    return list(dict.fromkeys(p.site for p in sorted(probes, key=lambda p: (rank[p.module], p.layer))))


def _draw_series(axes, series: str, probes: Sequence[ProbePart], places: dict[str, int]) -> None:  # type: ignore[no-untyped-def]
    if not probes:
        return
    ordered = sorted(probes, key=lambda p: p.layer)
    xs = [places[p.site] for p in ordered]
    _draw_points(axes, xs, [p.accuracy for p in ordered], COLOURS[series], MARKERS[series], LABELS[series])
    for x, probe in zip(xs, ordered, strict=True):
        if probe.consumed:
            axes.annotate(
                "read by the\nconnector",
                (x, 100 * probe.accuracy.low),
                xytext=(0, -8),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=8,
                color=COLOURS[series],
            )


def _draw_points(  # type: ignore[no-untyped-def]
    axes, xs: Sequence[int], values: Sequence[Interval], colour: str, marker: str, label: str
) -> None:
    middle = [100 * v.value for v in values]
    below = [100 * (v.value - v.low) for v in values]
    above = [100 * (v.high - v.value) for v in values]
    axes.errorbar(
        xs,
        middle,
        yerr=[[max(b, 0.0) for b in below], [max(a, 0.0) for a in above]],
        color=colour,
        marker=marker,
        markersize=9 if marker == "*" else 5,
        linewidth=1.5,
        elinewidth=1,
        capsize=2,
        label=label,
    )


def _dress(axes, names: Sequence[str]) -> None:  # type: ignore[no-untyped-def]
    ticks = [*names, "answer"]
    step = max(1, len(ticks) // 40)
    shown = [i for i in range(len(ticks)) if i % step == 0 or i == len(ticks) - 1]
    axes.set_xticks(shown, [ticks[i] for i in shown], rotation=60, ha="right", fontsize=8)
    axes.set_ylabel("test accuracy (%), 95% interval")
    axes.set_ylim(0, 102)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
