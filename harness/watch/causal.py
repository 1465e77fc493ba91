"""The causal check (`--causal`): what the answers depend on, seen by changing hidden states on the way.

At each place the class is erased (LEACE) and, for the null, 20 random subspaces of equal rank; then each
image's tokens are replaced by those of an image of another class and, for the null, of its own. A probe says
what a place holds, this says whether the answers are made of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.console import Advance, Console
from harness.data.dataset import Dataset, Sample
from harness.passes.ask import scored
from harness.passes.prompts import query_of
from harness.passes.store import RunStore
from harness.watch.causal_images import IMAGES, CheckedImages, Donors, choose_donors, choose_images
from leaderboard.record.checks import CausalPart
from leaderboard.scoring.causal import score_locus
from model_adapters.interface import Engine, Query
from probes.causal.erasure import Eraser, erasers_with_null
from probes.sites import Site, curve
from tasks.questions import Question, label_question

CAUSAL = "causal"  # the step in the run store
ERASURES = 20
LAYERS = 3  # of the decoder, evenly spaced, for each way of pooling


@dataclass(frozen=True)
class CausalCheck:
    """The check's part of a record, or None and why there is none."""

    part: CausalPart | None
    detail: str | None = None


def causal_settings() -> dict[str, int]:
    """Return what the check's numbers depend on beside model, data and seed."""
    return {"images": IMAGES, "erasures": ERASURES, "layers": LAYERS}


def causal_check(
    store: RunStore,
    engine: Engine,
    dataset: Dataset,
    images: Sequence[Sample],
    *,
    seed: int,
    console: Console,
) -> CausalCheck:
    """Change hidden states at every place of `causal_sites`, ask the primary prompt, and score what changes.

    The answers go into the store batch by batch, so that a check that is cut off goes on where it was.

    Args:
        store: with the features of `images`.
        engine: whose layers were watched.
        dataset: the run's.
        images: in the order in which their features were stored.
        seed: of the images, the random erasures, the donors and the bootstrap.
        console: for progress.
    """
    from model_adapters.inside.intervention import can_intervene

    description = engine.description
    if not can_intervene(engine):
        return CausalCheck(None, f"the engine {description.engine} lets no one into its hidden states")
    seen = np.isfinite(store.features(engine.sites[0].key, slice(0, len(images)))).all(axis=1)
    test = [s for s, visible in zip(images, seen, strict=True) if visible and s.split == "test"]
    checked = choose_images(engine, dataset, test, seed)
    if not checked.samples:
        return CausalCheck(None, "no test image could be shown to the model")
    sites = causal_sites(engine.sites)
    with console.step("causal check", len(checked.samples) * len(sites)) as advance:
        pending = list(store.pending(CAUSAL, len(checked.samples)))
        erasers = {site.key: _erasers(store, site, images, seen, seed) for site in sites if pending}
        for number, rows in pending:
            batch = checked.samples[rows]
            donors = choose_donors(batch, checked.layouts[rows], seed)
            store.append(CAUSAL, number, _ask(engine, dataset, batch, donors, sites, erasers, advance))
    answers = store.answers(CAUSAL, len(checked.samples))
    return CausalCheck(_scored(answers, checked, sites, seed, _only_way(engine, dataset, checked)))


def causal_sites(sites: Sequence[Site]) -> tuple[Site, ...]:
    """Choose the places: the connector, and `LAYERS` decoder layers for image tokens and last token each.

    The first, the last and those evenly between. What the last layer makes of the image tokens is read by
    nothing, so for the image tokens the layer before it counts as the last.
    """
    image_tokens = curve(sites, "llm", "mean")[:-1]
    return (
        *curve(sites, "connector", "mean"),
        *_spaced(image_tokens),
        *_spaced(curve(sites, "llm", "last")),
    )


def _spaced(sites: Sequence[Site]) -> tuple[Site, ...]:
    count = min(LAYERS, len(sites))
    places = np.linspace(0, len(sites) - 1, count).round().astype(int)
    return tuple(sites[place] for place in places)


def _erasers(
    store: RunStore, site: Site, images: Sequence[Sample], seen: np.ndarray, seed: int
) -> tuple[Eraser, ...]:
    """Return the eraser of the class, then the random ones, fitted on the training features."""
    rows = [row for row, sample in enumerate(images) if sample.split == "train" and seen[row]]
    features = store.features(site.key, slice(rows[0], rows[-1] + 1))[np.array(rows) - rows[0]]
    labels = [images[row].label for row in rows]
    # Shrunk, because a layer is often wider than there are training images.
    eraser, null = erasers_with_null(features, labels, count=ERASURES, seed=seed, shrinkage=None)
    return (eraser, *null)


def _ask(
    engine: Engine,
    dataset: Dataset,
    samples: Sequence[Sample],
    donors: Sequence[Donors | None],
    sites: Sequence[Site],
    erasers: dict[str, tuple[Eraser, ...]],
    advance: Advance,
) -> list[dict[str, Any]]:
    """Ask a batch unchanged and changed in every way; see `leaderboard.scoring.causal.score_locus`."""
    from model_adapters.inside.intervention import Erase, intervene
    from model_adapters.inside.shared_encoding import shared_encoding

    question = label_question(dataset.task, dataset.task.primary)
    queries = [query_of(question, s.id, dataset.read(s)) for s in samples]
    with shared_encoding(engine):
        answers: list[dict[str, Any]] = [
            {"plain": plain, "donor_class": pair and samples[pair.across].label, "loci": {}}
            for plain, pair in zip(_scores(engine, question, queries), donors, strict=True)
        ]
        for site in sites:
            erased = []
            for eraser in erasers[site.key]:
                with intervene(engine, Erase(site, eraser.mean, eraser.read, eraser.removed)):
                    erased.append(_scores(engine, question, queries))
            patched = _patched(engine, question, queries, donors, site)
            for row, answer in enumerate(answers):
                answer["loci"][site.key] = {
                    "rank": erasers[site.key][0].rank,
                    "erased": [scores[row] for scores in erased],
                    **{name: scores[row] for name, scores in patched.items()},
                }
            advance(len(samples))
    return answers


def _patched(
    engine: Engine,
    question: Question,
    queries: Sequence[Query],
    donors: Sequence[Donors | None],
    site: Site,
) -> dict[str, list[list[float] | None]]:
    """Return the scores with the donors' tokens, None for an image without donors."""
    from model_adapters.inside.intervention import Patch, intervene, token_states

    nothing: list[list[float] | None] = [None] * len(queries)
    if not any(donors):
        return {"across": nothing, "within": nothing}
    states = token_states(engine, queries, site)
    given: dict[str, dict[str, Any]] = {"across": {}, "within": {}}
    for query, pair in zip(queries, donors, strict=True):
        if pair is not None and {queries[pair.across].id, queries[pair.within].id} <= set(states):
            given["across"][query.id] = states[queries[pair.across].id]
            given["within"][query.id] = states[queries[pair.within].id]
    found = {}
    for name, by_query in given.items():
        with intervene(engine, Patch(site, by_query)):
            scores = _scores(engine, question, queries)
        found[name] = [s if q.id in by_query else None for q, s in zip(queries, scores, strict=True)]
    return found


def _scores(engine: Engine, question: Question, queries: Sequence[Query]) -> list[list[float] | None]:
    return [scored(question, found)["scores"] for found in engine.score(queries).scores]


def _only_way(engine: Engine, dataset: Dataset, checked: CheckedImages) -> bool | None:
    """Tell whether images reach the answers through the connector alone; None without two like pictures."""
    from model_adapters.inside.intervention import connector_is_only_way

    pair = checked.like_pair()
    if pair is None:
        return None
    question = label_question(dataset.task, dataset.task.primary)
    first, second = (query_of(question, sample.id, dataset.read(sample)) for sample in pair)
    return connector_is_only_way(engine, first, second)


def _scored(
    answers: Sequence[Mapping[str, Any]],
    checked: CheckedImages,
    sites: Sequence[Site],
    seed: int,
    only_way: bool | None,
) -> CausalPart:
    labels, groups = np.array([s.label for s in checked.samples]), [s.group for s in checked.samples]
    found = [score_locus(site, answers, labels, groups, seed=seed) for site in sites]
    return CausalPart(
        images=len(checked.samples),
        seed=seed,
        erasures=ERASURES,
        connector_is_only_way=only_way,
        detail=_detail(len(answers), sum(a["donor_class"] is not None for a in answers), only_way),
        loci=tuple(locus for locus in found if locus is not None),
    )


def _detail(images: int, with_donors: int, only_way: bool | None) -> str:
    connector = {
        True: "all that the answers know of an image goes through the connector's output",
        False: "image features also enter the decoder elsewhere than through the connector's output, so what is "
        "changed there can come in again",
        None: "whether images enter the decoder elsewhere than through the connector could not be tried",
    }[only_way]
    patched = f"{with_donors} of them with donors of another class and of their own"
    if not with_donors:
        patched = (
            "none of them patched: no two pictures of different groups, of another class and of the own, give "
            "image tokens that correspond"
        )
    return f"{images} test images, {patched}; {connector}"
