"""Shares as lengths and areas: small figures in a table's rows, outcomes, and how sure is how right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from leaderboard.figures import svg
from leaderboard.figures.svg import Axes, Drawing, Figure, Scale
from leaderboard.record.parts import Interval
from leaderboard.record.record import AnswersPart, Outcomes, Record, ReliabilityBin
from leaderboard.words import percent

_WIDTH, _HEIGHT = 150, 16
_SHARE = Scale(0, 1, 5, _WIDTH - 5)
_LEVEL = Scale(-0.2, 1, 5, _WIDTH - 5)  # an A a little below chance is common, one far below it is not
_KINDS = {"vision": "vision-mean", "connector": "connector-mean", "llm": "llm-last"}
_LOWEST, _HIGHEST = -0.5, 1.5  # of the scores that are shown in their place


def accuracy_symbol(key: str, value: Interval, *, chance: float, majority: float) -> Markup:
    """Return a symbol for `accuracy_copy`: a share with its 95% interval, chance and the majority class marked."""
    marks = _upright(_SHARE.at(chance), "chance") + _upright(_SHARE.at(majority), "majority")
    return svg.symbol((_WIDTH, _HEIGHT), _track(_SHARE) + marks + _value(value, _SHARE), key)


def accuracy_copy(key: str) -> Markup:
    """Return what `accuracy_symbol` keeps under this key."""
    return svg.copy_of((_WIDTH, _HEIGHT), key, "bar")


def accuracy_bar(value: Interval) -> Markup:
    """Return a share with its 95% interval on the same scale from 0 to 1."""
    return svg.ornament((_WIDTH, _HEIGHT), _track(_SHARE) + _value(value, _SHARE), "bar")


def level_bar(value: Interval) -> Markup:
    """Return a chance-corrected accuracy A with its 95% interval on a scale from -0.2 to 1, 0 marked."""
    content = _track(_LEVEL) + _upright(_LEVEL.at(0), "chance") + _value(value, _LEVEL)
    return svg.ornament((_WIDTH, _HEIGHT), content, "bar")


def outcomes_bar(outcomes: Outcomes) -> Markup:
    """Return the four outcomes as shares of all test images."""
    total = max(outcomes.correct + outcomes.wrong + outcomes.no_answer + outcomes.error, 1)
    scale, at, content = Scale(0, total, 0, 300), 0, ""
    for name in ("correct", "wrong", "no_answer", "error"):
        count = getattr(outcomes, name)
        width = scale.at(at + count) - scale.at(at)
        if width > 0:
            content += svg.rectangle(scale.at(at), 0, (width, 14), f"outcome {name}")
        at += count
    return svg.ornament((300, 14), content, "outcomes")


def profile_scale(records: Iterable[Record]) -> tuple[float, float]:
    """Return the ends of the one scale on which the profiles of all these records are drawn."""
    held = [record.health for record in records if record.health is not None]
    shown = [value for health in held for value in health.profile]
    return max(min([0.0, *shown]), _LOWEST), min(max([1.0, *shown]), _HIGHEST)


def profile_chart(record: Record, ends: tuple[float, float]) -> Markup | None:
    """Return the health profile as four points, those limited by noise hollow; None where there is none."""
    health = record.health
    if health is None:
        return None
    margin = 0.06 * (ends[1] - ends[0])
    scale = Scale(ends[0] - margin, ends[1] + margin, 39, 3)
    xs = [14, 44, 74, 104]
    points = [(x, scale.at(value)) for x, value in zip(xs, health.profile, strict=True)]
    content = "".join(svg.path(f"M4,{svg.digits(scale.at(level))}H114", "grid") for level in (0, 1))
    content += svg.path(svg.polyline(points), "profile-line")
    for (x, y), module in zip(points, _KINDS, strict=False):
        part = getattr(health, module)
        content += svg.path(
            svg.whisker(x, scale.at(part.low), scale.at(part.high), 2), f"ends {_KINDS[module]}"
        )
        hollow = " hollow" if part.noise_limited else ""
        content += svg.element("circle", cx=x, cy=y, r=3.4, class_=f"point {_KINDS[module]}{hollow}")
    x, y = points[-1]
    content += svg.path(svg.diamond(x, y, 4.6), "point answer")
    return svg.ornament((118, 42), content, "profile")


def _track(scale: Scale) -> str:
    middle = svg.digits(_HEIGHT / 2)
    line = f"M{svg.digits(scale.start)},{middle}H{svg.digits(scale.end)}"
    caps = "".join(f"M{svg.digits(x)},5v6" for x in (scale.start, scale.end))
    return svg.path(line + caps, "grid")


def _upright(x: float, kind: str) -> str:
    return svg.path(f"M{svg.digits(x)},1V{_HEIGHT - 1}", kind)


def _value(value: Interval, scale: Scale) -> str:
    middle = _HEIGHT / 2
    ends = svg.flat_whisker(middle, scale.at(value.low), scale.at(value.high), 4)
    point = svg.path(svg.diamond(scale.at(value.value), middle, 4.2), "point answer")
    return svg.path(ends, "ends answer") + point


def reliability_figure(answers: AnswersPart | None) -> Figure | None:
    """Return how often the model is right where it is how sure; None where the record has no bins."""
    if answers is None or not answers.reliability:
        return None
    bins = answers.reliability
    said = "; ".join(
        f"{b.count} images at {100 * b.confidence:.0f}: {100 * b.accuracy:.0f} right" for b in bins
    )
    wide, narrow = (_reliability(bins, side) for side in (420.0, 346.0))
    rows = tuple((str(b.count), percent(b.confidence), percent(b.accuracy)) for b in bins)
    return Figure(
        "How often the model is right where it is how sure",
        f"Confidence and accuracy in percent: {said}.",
        wide,
        narrow,
        (("chance", "as sure as right"),),
        (),
        (("images", "how sure: probability of the answer", "how often right"), rows),
    )


def _reliability(bins: Sequence[ReliabilityBin], side: float) -> Drawing:
    axes = Axes(Scale(0, 1, 44, side - 22), Scale(0, 100, side - 40, 52))
    total = sum(b.count for b in bins)
    drawn = axes.grid(20) + svg.text("how often right (%); numbers: images", 2, 24, class_="soft")
    for share in (0, 0.2, 0.4, 0.6, 0.8, 1):
        drawn += svg.text(f"{100 * share:.0f}%", axes.x.at(share), side - 26, text_anchor="middle")
    drawn += svg.path(svg.polyline([(axes.x.start, axes.y.start), (axes.x.end, axes.y.end)]), "chance")
    for one in bins:
        x, y, radius = (
            axes.x.at(one.confidence),
            axes.height(one.accuracy),
            3 + 12 * (one.count / total) ** 0.5,
        )
        circle = svg.element("circle", cx=x, cy=y, r=radius, class_="bubble blue")
        said = f"{one.count} images, {percent(one.confidence)} sure: {percent(one.accuracy)} right"
        drawn += svg.mark(circle, said)
        drawn += svg.text(str(one.count), x, y - radius - 3, text_anchor="middle", class_="small")
    name = "how sure: probability of the answer (%)"
    drawn += svg.text(name, (axes.x.start + axes.x.end) / 2, side - 8, text_anchor="middle", class_="soft")
    return Drawing(side, side, drawn)


def share_bar(share: float) -> Markup:
    """Return a share as a bar, the whole 128 pixels long."""
    return svg.ornament((128, 11), svg.rectangle(0, 0, (128 * share, 11), "bubble blue"), "share")
