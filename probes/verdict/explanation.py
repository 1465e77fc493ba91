"""A diagnosis in two plain sentences: what is wrong and how sure that is, then what would mend it."""

from __future__ import annotations

from probes.verdict.diagnosis import Diagnosis
from probes.verdict.waterfall import Drop, Mode

_WHERE: dict[Mode, str] = {
    "vision": "the vision encoder",
    "connector": "the connector",
    "comprehension": "the language model",
    "mapping": "the step from what the model knows to the label it says",
}
_REMEDIES: dict[Mode, str] = {
    "vision": "Adapt or replace the vision encoder with images of this kind, or raise its input resolution; "
    "training the language model alone cannot bring back what the encoder does not show",
    "connector": "Retrain or widen the connector, leaving the encoder and the language model as they are",
    "comprehension": "Fine-tune the language model on this task: the image tokens it gets carry the class",
    "mapping": "Correct the label scores on a few labelled images, or change the label wording and the "
    "prompt; no weight below the output layer has to change",
}
_REMEDIES_OF_DETAILS: dict[tuple[Mode, str], str] = {
    ("vision", "wrong_layer"): "Let the connector read the vision layer that probes read best: the encoder "
    "finds the class and the model takes another layer",
    ("comprehension", "erased"): "Fine-tune the language model's layers on images: the class fades from the "
    "image tokens on their way through the decoder",
    ("comprehension", "not_routed"): "Fine-tune the language model's attention: the class stays in the image "
    "tokens and does not reach the position of the answer",
    ("comprehension", "not_used"): "Fine-tune the language model's last layers: the class reaches the "
    "position of the answer and the label scores ignore it",
    ("mapping", "label_prior"): "Subtract each label's mean score (calibration): the model favours some "
    "labels whatever the image",
    ("mapping", "label_permutation"): "Relabel the answers: the model tells the classes apart and calls them "
    "by each other's names",
}


def explain(diagnosis: Diagnosis) -> str:
    """Return two sentences for a reader who knows the model and not the method."""
    return " ".join(sentences(diagnosis))


def sentences(diagnosis: Diagnosis) -> tuple[str, str]:
    """Return what is wrong and how sure that is, and what would mend it: one sentence each."""
    return f"{_finding(diagnosis)}.", f"{_remedy(diagnosis)}."


def _finding(diagnosis: Diagnosis) -> str:
    verdict = diagnosis.verdict
    if verdict == "no_signal":
        return f"No stage can be blamed, because {diagnosis.reason}"
    if verdict == "healthy":
        return (
            f"No stage loses the class by {diagnosis.delta:.2f} or more in chance-corrected accuracy; a loss "
            f"of {diagnosis.smallest_visible_gap:.2f} would have been seen in 80% of cases"
        )
    if verdict == "undetermined":
        return f"No single stage can be named: {diagnosis.reason}{_candidates(diagnosis)}"
    drop = next((drop for drop in diagnosis.drops if drop.mode == verdict), None)
    ceiling = (
        f", measured against the reference ({diagnosis.reference})" if verdict == "vision" and drop else ""
    )
    size = f", {_size(drop)}" if drop else ""
    certainty = _certainty(diagnosis, verdict)
    return f"What tells the classes apart is lost in {_WHERE[verdict]}{ceiling}{size}; {certainty}"


def _certainty(diagnosis: Diagnosis, verdict: Mode) -> str:
    share = diagnosis.probabilities.get(verdict, 0.0)
    if share < diagnosis.rule.agreement:  # named by its permutation test
        return diagnosis.reason
    return f"{_percent(share)} of resampled test sets agree on the stage"


def _remedy(diagnosis: Diagnosis) -> str:
    verdict = diagnosis.verdict
    if verdict == "no_signal":
        return "Check that labels and images belong together before any model is judged on them"
    notes = []
    if "parse_loss" in diagnosis.details:
        notes.append("the free text also needs a form that a reader of answers understands")
    if not diagnosis.vision_assessed:
        notes.append("the vision encoder was not assessed, because no reference classifier was run")
    if verdict == "healthy":
        advice = f"Nothing has to be mended below the ceiling of the reference ({diagnosis.reference})"
    elif verdict == "undetermined":
        advice = _next_step(diagnosis)
    else:
        specific = [_REMEDIES_OF_DETAILS.get((verdict, detail)) for detail in diagnosis.details]
        advice = next((remedy for remedy in specific if remedy), _REMEDIES[verdict])
    return "; ".join([advice, *notes])


def _next_step(diagnosis: Diagnosis) -> str:
    gap = diagnosis.smallest_visible_gap
    if gap > diagnosis.delta:
        return (
            f"More test images would help: these show a loss of {gap:.2f} in 80% of cases, where "
            f"{diagnosis.delta:.2f} counts"
        )
    if diagnosis.stages or diagnosis.vision_assessed:
        return "More test images, or a second readout at the stages in question, would separate them"
    return "A reference classifier trained on the same images would tell whether the model is healthy"


def _candidates(diagnosis: Diagnosis) -> str:
    if not diagnosis.stages:
        return ""
    likely = sorted(diagnosis.probabilities.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{mode} {_percent(share)}" for mode, share in likely if share >= 0.05)
    return f" (share of resampled test sets: {shown})"


def _size(drop: Drop) -> str:
    gap = drop.gap
    interval = f"95% interval {gap.low:.2f} to {gap.high:.2f}"
    return f"{gap.points:.1f} points of accuracy (A {gap.value:.2f}, {interval})"


def _percent(share: float) -> str:
    return "more than 99%" if share > 0.995 else f"{100 * share:.0f}%"
