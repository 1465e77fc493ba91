"""The pages' words: names of verdicts, places and states, numbers as text, and a record's strings made plain.

Escaping is the part of templates and figures. Here a name of ten megabytes is cut, and characters that cannot be
seen, or that reorder what stands around them, are written out as their codes.
"""

from __future__ import annotations

import re
import unicodedata

from leaderboard.record.parts import Interval, UsagePart
from leaderboard.record.record import DiagnosisPart

MINUS = "−"
NAME, TEXT, LONG = 72, 1_000, 4_000  # letters that are shown of a name, a sentence, a citation

_ACCENT = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_STACKED = re.compile(f"({_ACCENT}{{3}}){_ACCENT}+")

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
PARTS = {
    "total": "All four: reference to answers",
    "wrong_layer": "Another vision layer would show more (wrong layer)",
    "lost_in_decoder": "Comprehension, first half: connector's output to last prompt token",
    "erased": "of this, erased: connector's output to the image tokens' last layer",
    "not_routed": "of this, not routed: the image tokens' to the last prompt token's last layer",
    "not_used": "Comprehension, second half: last prompt token to label scores (not used)",
    "label_prior": "Mapping: favoured labels (gain by subtracting each label's mean score)",
    "label_permutation": "Mapping: swapped labels (gain by the best relabelling)",
    "parse_loss": "Answers by label scores to answers read from the text",
    "paper_mapping": "Fourth mode as in arXiv 2604.08333: last prompt token to the headline answers",
}
MAPS = {
    "plain": "as they are (G0)",
    "without_prior": "less each label's mean score (G1)",
    "relabelled": "best one-to-one relabelling (G2)",
    "logistic": "logistic regression on the scores (G3)",
}
STEPS = {
    "load": "loading the model",
    "data": "reading the images",
    "answer": "answers",
    "observe": "answers and features together",
    "letters": "answer-target questions",
    "floors": "reference and pixel floor",
    "blank": "blank image",
    "random_vision": "vision encoder with random weights",
    "probe": "probes and permuted labels",
    "checks": "similarity and projection checks",
    "causal": "causal check",
    "scores": "scores and intervals",
    "verdict": "waterfall and verdict",
}
STATES = {
    "recomputed": "every score was computed anew from the answers and probe predictions that came with the entry",
    "rerun": "a keeper of the board ran the model again and got the same answers",
}


def plain(text: str, most: int = TEXT) -> str:
    """Return at most `most` letters of a text and, where it was longer, its length; unseen characters as codes.

    Line feeds and tabs stay. Of accents piled up on one letter the first three do.
    """
    cut = text if len(text) <= most else text[:most]
    shown = _STACKED.sub(r"\1", cut if cut.isprintable() else "".join(map(_seen, cut)))
    return shown if cut is text else f"{shown}… ({len(text):,} characters)"


def _seen(letter: str) -> str:
    if letter in "\n\t" or unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return letter
    return f"\\u{ord(letter):04x}"


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
