"""A record as the page's tables need it: rows of numbers, in order, with their names, and what it lacks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from leaderboard.record.checks import CausalLocusPart
from leaderboard.record.parts import TuningPart
from leaderboard.record.record import Drop, GapPart, Record
from leaderboard.words import MODES, PARTS, STEPS

# A place is used by the answers where its p is below this, in the causal check.
_ALPHA = 0.05


@dataclass(frozen=True)
class Loss:
    """One row of the waterfall's table; `gap` in A, null columns where a part has no such number.

    `scaled` holds value and interval in points of balanced accuracy.
    """

    name: str
    label: str
    gap: Drop | GapPart
    scaled: tuple[float, float, float]
    named: bool
    significant: bool | None
    largest: float | None
    visible_gap: float | None


@dataclass(frozen=True)
class ConfusionCell:
    """One cell of the confusion matrix: images, their share of the true class, and whether it is the right one."""

    count: int
    share: float
    right: bool


def losses(record: Record) -> tuple[Loss, ...]:
    """Return the four terms, as far as they were assessed."""
    found = record.diagnosis
    if found is None:
        return ()
    return tuple(
        Loss(
            drop.mode,
            MODES.get(drop.mode, drop.mode),
            drop,
            _scaled(drop, record),
            drop.mode == found.verdict,
            drop.significant,
            drop.probability_largest,
            drop.visible_gap,
        )
        for drop in found.drops
    )


def parts(record: Record) -> tuple[Loss, ...]:
    """Return what is reported beside the terms, from the whole loss to the paper's own fourth mode."""
    if record.diagnosis is None:
        return ()
    found = record.diagnosis.parts
    names = [*(n for n in PARTS if n in found), *(n for n in found if n not in PARTS)]
    return tuple(
        Loss(
            name,
            PARTS.get(name, name),
            found[name],
            _scaled(found[name], record),
            False,
            None,
            None,
            None,
        )
        for name in names
    )


def _scaled(gap: Drop | GapPart, record: Record) -> tuple[float, float, float]:
    factor = 100 * (1 - 1 / len(record.task.classes))
    return factor * gap.value, factor * gap.low, factor * gap.high


def picks(record: Record) -> tuple[tuple[str, float], ...]:
    """Return how often each stage is picked among resampled test sets, the likeliest first."""
    found = record.diagnosis.probabilities if record.diagnosis else {}
    return tuple(sorted(found.items(), key=lambda item: -item[1]))


def confusion(record: Record) -> tuple[tuple[str, tuple[ConfusionCell, ...]], ...]:
    """Return a row of cells for each true class; the last cell counts the images that got no class."""
    if record.answers is None or record.answers.confusion is None:
        return ()
    rows = []
    for true, counts in enumerate(record.answers.confusion):
        total = sum(counts)
        cells = tuple(
            ConfusionCell(count, count / total if total else 0.0, predicted == true)
            for predicted, count in enumerate(counts)
        )
        rows.append((class_name(record, true), cells))
    return tuple(rows)


def class_name(record: Record, index: int) -> str:
    """Return the name of a class, or its number where the task does not know it."""
    classes = record.task.classes
    return classes[index] if 0 <= index < len(classes) else f"class {index}"


def label_rows(record: Record) -> tuple[tuple[str, float | None, float | None, str | None], ...]:
    """Return for each class its mean probability, that for a blank image, and what G2 takes it to mean."""
    answers, blank = record.answers, record.floors.blank if record.floors else None
    prior = answers.label_prior if answers else None
    if prior is None and blank is None:
        return ()
    meant = answers.relabelling if answers else None
    return tuple(
        (
            name,
            prior[k] if prior and k < len(prior) else None,
            blank.probabilities[k] if blank and k < len(blank.probabilities) else None,
            class_name(record, meant[k]) if meant and k < len(meant) else None,
        )
        for k, name in enumerate(record.task.classes)
    )


def seconds(record: Record) -> tuple[tuple[str, float, float], ...]:
    """Return what each step took: its name, seconds, and share of the total; the longest first."""
    spent: Mapping[str, float] = record.cost.seconds
    total = spent.get("total") or math.fsum(spent.values()) or 1.0
    steps = [(name, value) for name, value in spent.items() if name != "total" and value > 0]
    return tuple(
        (STEPS.get(name, name), value, value / total)
        for name, value in sorted(steps, key=lambda item: -item[1])
    )


def provenance(record: Record) -> tuple[tuple[str, str, bool], ...]:
    """Return where a record comes from: names, words, and whether these are code."""
    found, model, task = record.provenance, record.model, record.task
    data = "the published data, byte for byte" if task.official_data else "not the published data"
    left_out = f"{task.dropped_train} training and {task.dropped_val} validation images left out for it"
    rows = (
        ("Command", found.command, True),
        ("Seed", str(found.seed), False),
        ("Begun", found.started, False),
        ("Finished", found.finished, False),
        ("Harness", f"version {found.harness_version}", False),
        ("Commit", found.git or "not known", found.git is not None),
        ("Python", found.python, False),
        ("Model", model.hub_id or "no hub id", model.hub_id is not None),
        ("Revision of the model", model.revision, True),
        ("Task", f"{task.name}, version {task.version}", False),
        ("Images", data, False),
        ("Fingerprint of the images", task.dataset_fingerprint, True),
        ("Splits kept apart by", f"{task.grouped_by}; {left_out}", False),
    )
    return rows if record.tuning is None else (*rows, ("Tuned on", _tuning(record.tuning), False))


def _tuning(part: TuningPart) -> str:
    shared = (
        "none of which, nor of its patient, is in" if part.disjoint else f"{part.n_shared} of which are in"
    )
    return (
        f"{part.n_tuning} images of {part.task} version {part.task_version} ({part.part} part, {part.kept} of "
        f"{part.steps} steps kept), {shared} the probes' training; {part.n_test_shared} test images shared"
    )


def place(locus: CausalLocusPart) -> str:
    """Return the name of a place whose hidden states were changed, as it is read in a sentence."""
    if locus.module == "connector":
        return "the connector's output"
    tokens = "the image tokens" if locus.pool == "mean" else "the last prompt token"
    return f"{tokens} after {locus.site}"


def causal_sentences(record: Record) -> tuple[str, ...]:
    """Return what the causal check means: where the answers use the class, and where they follow a donor."""
    loci = record.causal.loci if record.causal else ()
    if not loci:
        return ()
    erased = [one for one in loci if one.erasure.p < _ALPHA and one.erasure.margin_drop.value > 0]
    patched = [(one, one.patching) for one in loci if one.patching]
    followed = [one for one, part in patched if part.p < _ALPHA and part.shift.value > 0]
    sentences = [
        f"The answers use the class at {_places(erased)}: without it the right label loses more there than "
        "under any random erasure of equal rank."
        if erased
        else "Nowhere does erasing the class cost the right label more than random erasures of equal rank do: "
        "no use of what a linear probe could read at these places was seen."
    ]
    if patched:
        sentences.append(
            f"They follow the tokens of another class at {_places(followed)}."
            if followed
            else "They follow the tokens of another class at none of these places."
        )
    return tuple(sentences)


def _places(loci: list[CausalLocusPart]) -> str:
    """Name places together, the decoder's layers by what is changed in them."""
    tokens: dict[str, list[str]] = {}
    for locus in loci:
        what, _, layer = place(locus).partition(" after ")
        tokens.setdefault(what, []).append(layer)
    return _listed([f"{what} after {_listed(at)}" if at[0] else what for what, at in tokens.items()])


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


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
