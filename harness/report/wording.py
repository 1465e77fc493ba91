"""The report's words: names of verdicts, places and faults, numbers as text, and what a record lacks."""

from __future__ import annotations

from leaderboard.record import Interval, Record

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


def percent(value: float | None) -> str:
    """Write a share as a percentage with one decimal."""
    return "not measured" if value is None else f"{points(100 * value)}%"


def interval(value: Interval | None) -> str:
    """Write a measured share with its 95% interval."""
    if value is None:
        return "not measured"
    return f"{percent(value.value)} ({points(100 * value.low)} to {points(100 * value.high)})"


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


def absent(record: Record) -> dict[str, str]:
    """Return one line for each part of the report that this record has no numbers for, by part."""
    answers, found, floors = record.answers, record.diagnosis, record.floors
    unanswered = "" if answers else ": the record has no answers"
    old = "an earlier version wrote the record, or it was not asked for"
    needs = "" if record.probes else ": the layers were not watched (answers only)"
    lines = {
        "diagnosis": None if found else f"Verdict and waterfall: not measured{needs or f' ({old})'}.",
        "levels": "Waterfall figure: the record has no level of accuracy for every place."
        if found and not {"vision", "connector", "logistic", "answers"} <= set(found.levels)
        else None,
        "sentences": None if found is None or found.sentences else "Explanation in words: not recorded.",
        "probes": None if record.probes else "Layer curves: not measured; the layers were not watched.",
        "permutation": None
        if record.permutation and record.permutation.bands
        else f"Permuted-label bands: not measured{needs or f' ({old})'}.",
        "floors": None if floors else f"Reference, pixel floor and blank image: not measured ({old}).",
        "blank": _reason("Blank image", floors.blank_detail) if floors and floors.blank is None else None,
        "random_vision": _reason("Vision encoder with random weights", floors.random_vision_detail)
        if floors and not floors.random_vision
        else None,
        "answers": None if answers else "Answers: none in this record.",
        "orders": None
        if answers and answers.order_accuracies
        else f"Accuracy by option order: not measured{unanswered}.",
        "confusion": None
        if answers and answers.confusion
        else f"Confusion matrix: not recorded{unanswered}.",
        "reliability": None
        if answers and answers.reliability
        else f"Reliability diagram: no label scores, or not recorded{unanswered}.",
        "mapped": None
        if answers and answers.mapped
        else f"Repairs of the label scores: not measured{unanswered}.",
        "health": None if record.health else f"Feature health: not measured{needs}.",
        "answer_target": None
        if record.answer_target
        else f"Answer-target probe (does the last prompt token tell the right letter?): not measured{needs}.",
        "similarity": None
        if record.similarity
        else f"Similarity of the connector's input and output: not measured{needs}.",
        "projection": None
        if record.projection
        else f"Projection check: not needed where all layers have one small width, else not measured{needs}.",
    }
    return {name: line for name, line in lines.items() if line}


def _reason(what: str, detail: str | None) -> str:
    return f"{what}: not measured ({detail})." if detail else f"{what}: not measured."
