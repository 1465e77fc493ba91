"""Check that no probe is missing from `probes.jsonl`: what is left out could be chosen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from leaderboard.record.record import RecordError
from leaderboard.record.samples import ANSWER_TARGET, CLASS_READOUTS, FLOOR, FLOORS, MAIN_READOUT, ProbeLine
from probes.sites import MODULES, Module

_Place = tuple[str, str]  # site and pool
_Key = tuple[str, str, str, int]  # readout, site, pool and seed

_SPLITS = ["test", "val"]
_POOLS: Mapping[Module, tuple[str, ...]] = {
    "vision": ("mean",),
    "connector": ("mean",),
    "llm": ("mean", "last"),
}


def check_whole(lines: Sequence[ProbeLine]) -> None:
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
        if sorted(found) != _SPLITS:
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
