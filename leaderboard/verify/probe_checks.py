"""Check the lines of `probes.jsonl`: every prediction follows from its scores, every probe is there once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

import numpy as np

from leaderboard.record.record import RecordError
from leaderboard.record.samples import (
    ANSWER_TARGET,
    CLASS_READOUTS,
    FLOOR,
    FLOORS,
    MAIN_READOUT,
    NO_CLASS,
    NOT_ASKED,
    ProbeLine,
    SampleLine,
)
from leaderboard.record.untrusted import short
from leaderboard.scoring.letters import asked_rows
from leaderboard.verify.sample_checks import HIGHEST_SCORE, LOWEST_SCORE
from probes.sites import MODULES, Module
from tasks.questions import letters_prompt, shuffled_letters_question
from tasks.sources import SplitName
from tasks.spec import TaskSpec

_READOUTS = (*CLASS_READOUTS, FLOOR, ANSWER_TARGET)
_PREDICTED: tuple[SplitName, ...] = ("val", "test")
_MOST_LAYERS, _LARGEST = 10_000, 2**31 - 1
_ROUNDING = 1e-3  # of a sum of shares whose logarithms were rounded to four decimals
_Place = tuple[str, str]  # site and pool
_Key = tuple[str, str, str, int]  # readout, site, pool and seed


_POOLS: Mapping[Module, tuple[str, ...]] = {
    "vision": ("mean",),
    "connector": ("mean",),
    "llm": ("mean", "last"),
}


def check_probes(lines: Sequence[ProbeLine], samples: Sequence[SampleLine], task: TaskSpec) -> None:
    """Refuse probes that are incomplete, stand there twice, or predict what their scores do not say.

    Raises:
        RecordError: naming the line and the field.
    """
    by_split = {name: [line for line in samples if line.split == name] for name in _PREDICTED}
    for number, line in enumerate(lines, start=1):
        place = f"probes.jsonl:{number}"
        _check_site(line, place)
        _check_predictions(line, place, by_split, task)
    _check_whole(lines)
    _check_shown(lines)
    _check_majority(lines, [line.label for line in samples if line.split == "train"], len(task.classes))


def _check_site(line: ProbeLine, place: str) -> None:
    if line.readout not in _READOUTS:
        raise RecordError(
            f"{place}: readout: {short(line.readout)} is none of {', '.join(_READOUTS)}; a board holds no other"
        )
    for name, most in (("layer", _MOST_LAYERS), ("width", _LARGEST), ("seed", _LARGEST)):
        if not 0 <= getattr(line, name) <= most:
            raise RecordError(f"{place}: {name}: {short(getattr(line, name))}, but it must be 0 to {most}")
    if line.readout == FLOOR:
        wanted = (
            line.site if line.site in FLOORS and line.module == "image" else f"one of {', '.join(FLOORS)}"
        )
    else:
        wanted = f"{line.module}.{line.layer:02d}" if line.module in get_args(Module) else "that of a layer"
    if line.site != wanted:
        raise RecordError(f"{place}: site: {short(line.site)}, but it must be {wanted}")


def _check_predictions(
    line: ProbeLine, place: str, by_split: Mapping[SplitName, Sequence[SampleLine]], task: TaskSpec
) -> None:
    if line.split not in by_split:
        raise RecordError(f"{place}: split: {line.split}, but probes are judged on val and test alone")
    asked, classes = by_split[line.split], len(task.classes)
    for name, count in (("predictions", len(line.predictions)), ("scores", len(line.scores))):
        if count != len(asked):
            raise RecordError(f"{place}: {name}: {count}, but {line.split} has {len(asked)} images")
    if {len(row) for row in line.scores} - {classes}:
        raise RecordError(f"{place}: scores: a row has not {classes} numbers, one a class")
    if set(line.predictions) - {NO_CLASS, *range(classes)}:
        raise RecordError(
            f"{place}: predictions: one is neither a class index below {classes} nor {NO_CLASS}"
        )
    found, scores = np.array(line.predictions, dtype=np.int64), np.array(line.scores).reshape(-1, classes)
    if scores.size and not (scores.min() >= LOWEST_SCORE and scores.max() <= HIGHEST_SCORE):
        raise RecordError(f"{place}: scores: one is no log-probability")
    unseen = (found == NO_CLASS) & (scores == 0.0).all(axis=1)  # an image that the model could not be shown
    wrong = np.flatnonzero((found != scores.argmax(axis=1)) & ~unseen)
    if wrong.size:
        row = int(wrong[0])
        raise RecordError(
            f"{place}: predictions[{row}]: {found[row]}, but the highest score is that of "
            f"{scores[row].argmax()}"
        )
    uneven = np.flatnonzero(~unseen & (np.abs(np.logaddexp.reduce(scores, axis=1)) > _ROUNDING))
    if uneven.size:
        raise RecordError(f"{place}: scores[{uneven[0]}]: as shares of the classes they do not add up to 1")
    _check_targets(line, place, asked, task)


def _check_targets(line: ProbeLine, place: str, asked: Sequence[SampleLine], task: TaskSpec) -> None:
    """The letter of the right option follows from the image's own option order."""
    if line.readout != ANSWER_TARGET:
        if line.targets is not None:
            raise RecordError(f"{place}: targets: only the readout {ANSWER_TARGET} has any")
        return
    if line.targets is None or len(line.targets) != len(asked):
        raise RecordError(f"{place}: targets: needs one for each of the {len(asked)} images of {line.split}")
    prompt = letters_prompt(task)
    if prompt is None:
        raise RecordError(f"{place}: readout: {ANSWER_TARGET}, but the task {task.id} asks for no letter")
    for row, (target, sample) in enumerate(zip(line.targets, asked, strict=True)):
        right = shuffled_letters_question(task, prompt, sample.id).order.index(sample.label)
        if target not in (NOT_ASKED, right):
            raise RecordError(f"{place}: targets[{row}]: {short(target)} is not the right option's letter")
    asked_for = set(asked_rows(line.split, asked, task.seed))
    wrong = [row for row, target in enumerate(line.targets) if (target != NOT_ASKED) != (row in asked_for)]
    if wrong:
        raise RecordError(
            f"{place}: targets[{wrong[0]}]: {asked[wrong[0]].id} is "
            f"{'one' if wrong[0] in asked_for else 'none'} of the images that are asked for a letter"
        )


def _check_shown(lines: Sequence[ProbeLine]) -> None:
    """An image that a model could not be shown is missing at all of its layers: at some it could be chosen."""
    first: dict[tuple[bool, SplitName], list[bool]] = {}
    for number, line in enumerate(lines, start=1):
        if line.readout == FLOOR:
            continue
        shown = [predicted != NO_CLASS for predicted in line.predictions]
        known = first.setdefault((line.readout == ANSWER_TARGET, line.split), shown)
        if shown != known:
            row = next(row for row, pair in enumerate(zip(shown, known, strict=True)) if len(set(pair)) > 1)
            raise RecordError(
                f"probes.jsonl:{number}: predictions[{row}]: {short(line.predictions[row])}, but the image was "
                f"{'shown' if known[row] else 'not shown'} at other layers"
            )


def _check_majority(lines: Sequence[ProbeLine], train: Sequence[int], classes: int) -> None:
    """The floor that answers every image alike follows from the training labels, one added to every count."""
    counts = np.bincount(np.array(train, dtype=np.int64), minlength=classes) + 1
    right = np.log(counts / counts.sum())
    for number, line in enumerate(lines, start=1):
        majority = (line.readout, line.site) == (FLOOR, "majority")
        if majority and not np.allclose(
            np.reshape(line.scores, (-1, classes)), right, atol=_ROUNDING, rtol=0
        ):
            raise RecordError(
                f"probes.jsonl:{number}: scores: must be logarithms of the classes' shares of the training images"
            )


def _check_whole(lines: Sequence[ProbeLine]) -> None:
    """Refuse lines unless every probe has both splits, every readout every layer, and a layer one description.

    Layers are counted from 0 without a gap in each module, a single vision layer is consumed, and the floors are
    there. Whether the last layers of a module were left out cannot be seen from the lines.

    Raises:
        RecordError: naming the line or the place, and the field.
    """
    if not lines:
        return
    splits: dict[_Key, list[str]] = defaultdict(list)
    for line in lines:
        splits[line.readout, line.site, line.pool, line.seed].append(line.split)
    for (readout, site, pool, seed), found in splits.items():
        if sorted(found) != sorted(_PREDICTED):
            raise RecordError(
                f"probes.jsonl: split: {readout} at {site}.{pool}, seed {seed}, has {', '.join(found[:5])}, "
                "but val and test are needed, once each"
            )
    _check_seeds(splits)
    _check_layers(lines)
    _check_others(lines)


def _check_seeds(keys: Iterable[_Key]) -> None:
    """A readout has the same seeds at every site, from 0; the linear probe, which no chance enters, 0 alone."""
    seeds: dict[str, dict[_Place, set[int]]] = defaultdict(lambda: defaultdict(set))
    for readout, site, pool, seed in keys:
        seeds[readout][site, pool].add(seed)
    for readout, by_place in seeds.items():
        found = list(by_place.values())
        if any(one != found[0] for one in found):
            raise RecordError(f"probes.jsonl: seed: {readout} has not the same seeds at every site")
        if readout != FLOOR and found[0] != set(range(len(found[0]))):
            raise RecordError(f"probes.jsonl: seed: those of {readout} must be counted from 0")
        if readout in (MAIN_READOUT, ANSWER_TARGET, FLOOR) and len(found[0]) > 1:
            raise RecordError(f"probes.jsonl: seed: {readout} has {len(found[0])} seeds and needs one")


def _check_layers(lines: Sequence[ProbeLine]) -> None:
    """The layers of every readout are all of the model's, described alike."""
    kinds: dict[_Place, tuple[int, bool]] = {}
    places: dict[str, dict[_Place, ProbeLine]] = defaultdict(dict)
    for number, line in enumerate(lines, start=1):
        if line.readout not in CLASS_READOUTS:
            continue
        kind = kinds.setdefault((line.site, line.pool), (line.width, line.consumed))
        if kind != (line.width, line.consumed):
            raise RecordError(
                f"probes.jsonl:{number}: width or consumed: {line.site}.{line.pool} is described otherwise in an "
                "earlier line"
            )
        places[line.readout][line.site, line.pool] = line
    if not places:
        raise RecordError("probes.jsonl: readout: no layer was probed")
    for readout, found in places.items():
        if set(found) != set(kinds):
            raise RecordError(f"probes.jsonl: readout: {' and '.join(places)} are not at the same sites")
        _check_modules(readout, tuple(found.values()))


def _check_modules(readout: str, lines: Sequence[ProbeLine]) -> None:
    found = {(line.site, line.pool) for line in lines}
    consumed = {line.site for line in lines if line.consumed}
    if len(consumed) != 1:
        raise RecordError(
            f"probes.jsonl: consumed: {readout} has it at {len(consumed)} layers, and needs one"
        )
    (source,) = consumed
    wanted = {(source, "regrouped")} & found
    for module in MODULES:
        layers = 1 + max((line.layer for line in lines if line.module == module), default=0)
        wanted |= {(f"{module}.{layer:02d}", pool) for layer in range(layers) for pool in _POOLS[module]}
    for site, pool in sorted(wanted ^ found):
        what = "is missing" if (site, pool) in wanted else "is no place of a model"
        raise RecordError(f"probes.jsonl: site: {readout} at {site}.{pool} {what}")
    for line in lines:
        if line.consumed != (line.site == source) or (line.consumed and line.module != "vision"):
            raise RecordError(f"probes.jsonl: consumed: {line.site}.{line.pool} cannot have it")


def _check_others(lines: Sequence[ProbeLine]) -> None:
    """The floors are there, each as runs write it, and letters were asked at every decoder layer or nowhere."""
    floors = {(line.site, line.pool, line.layer, line.consumed) for line in lines if line.readout == FLOOR}
    if floors != {(name, "mean", 0, False) for name in FLOORS}:
        raise RecordError(
            f"probes.jsonl: site: the floors must be {', '.join(FLOORS)}, of pool mean, layer 0, not consumed"
        )
    asked = {(line.site, line.pool, line.consumed) for line in lines if line.readout == ANSWER_TARGET}
    layers = {
        (line.site, line.pool, False)
        for line in lines
        if line.readout in CLASS_READOUTS and (line.module, line.pool) == ("llm", "last")
    }
    if asked and asked != layers:
        raise RecordError(
            f"probes.jsonl: site: {ANSWER_TARGET} is not at the last token of every decoder layer"
        )
