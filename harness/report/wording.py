"""The report's words, beside those that it shares with the board's page, and what a record lacks."""

from __future__ import annotations

from leaderboard.record.record import Record
from leaderboard.words import DETAILS as DETAILS
from leaderboard.words import MINUS as MINUS
from leaderboard.words import MODES as MODES
from leaderboard.words import VERDICTS as VERDICTS
from leaderboard.words import interval as interval
from leaderboard.words import number as number
from leaderboard.words import p_value as p_value
from leaderboard.words import percent as percent
from leaderboard.words import points as points
from leaderboard.words import usage as usage

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
