"""The page's words: names of verdicts, places and states, and numbers as text."""

from __future__ import annotations

from leaderboard.record.parts import Interval, UsagePart
from leaderboard.record.record import DiagnosisPart

MINUS = "−"

VERDICTS = {
    "vision": "the class is lost in the vision encoder",
    "connector": "the class is lost in the connector",
    "comprehension": "the class is lost in the language model",
    "mapping": "the class is lost between the language model and its answer",
    "healthy": "no stage loses the class",
    "no_signal": "the images show no class",
    "undetermined": "no single stage can be named",
}
DETAILS = {
    "wrong_layer": "the connector reads a vision layer that is not the best one",
    "erased": "the class fades from the image tokens inside the decoder",
    "not_routed": "the class stays in the image tokens and does not reach the answer's position",
    "not_used": "the class reaches the answer's position and the label scores ignore it",
    "label_prior": "some labels are favoured whatever the image",
    "label_permutation": "classes are told apart and called by each other's names",
    "parse_loss": "the written answers cannot all be read",
    "readability": "a stage's loss may be one of readability alone: a later place shows the class again",
}
MODES = {
    "vision": "Vision: reference to the layer that the connector reads",
    "connector": "Connector: that layer to the connector's output",
    "comprehension": "Comprehension: connector's output to what any map of the label scores reads",
    "mapping": "Mapping: that to the answers given",
}
STATES = {
    "recomputed": "every score was computed anew from the answers and probe predictions that came with the entry",
    "rerun": "a keeper of the board ran the model again and got the same answers",
}


def percent(value: float | None) -> str:
    """Write a share as a percentage with one decimal."""
    return "not measured" if value is None else f"{points(100 * value)}%"


def interval(value: Interval | None) -> str:
    """Write a measured share with its 95% interval."""
    return "not measured" if value is None else f"{percent(value.value)} ({ends(value)})"


def ends(value: Interval) -> str:
    """Write the ends of a measured share's 95% interval, in percent."""
    return f"{points(100 * value.low)} to {points(100 * value.high)}"


def points(value: float) -> str:
    """Write a number with one decimal, a true minus sign and no negative zero."""
    return number(value, 1)


def number(value: float, decimals: int = 2) -> str:
    """Write a number with a true minus sign and no negative zero."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", MINUS)


def p_value(p: float | None) -> str:
    """Write a p-value with three decimals, or that it is below the smallest such."""
    if p is None:
        return "not tested"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def size(parameters: int) -> str:
    """Write a number of parameters in millions or billions."""
    millions = parameters / 1e6
    if millions >= 999.5:
        return f"{millions / 1000:.3g}B" if millions < 1e6 else f"{millions / 1000:,.0f}B"
    return f"{millions:.3g}M" if millions >= 0.1 else f"{parameters:,}"


def largest_drop(found: DiagnosisPart) -> str:
    """Write the drop that the verdict names, else the largest one, in points of accuracy; empty without drops."""
    if not found.drops:
        return ""
    named = [drop for drop in found.drops if drop.mode == found.verdict]
    drop = named[0] if named else max(found.drops, key=lambda d: d.value)
    where = "" if named else f"{drop.mode} "
    return f"{where}{-drop.points:+.1f}".replace("-", MINUS)


def usage(usage: UsagePart) -> str:
    """Say what a server was asked for, and what that cost where prices are known."""
    cost = "cost not known" if usage.cost is None else f"{usage.cost:.4f} {usage.currency}"
    return (
        f"{usage.requests} requests ({usage.retries} again, {usage.failures} failed), "
        f"{usage.input_tokens} tokens in, {usage.output_tokens} out, {cost}"
    )
