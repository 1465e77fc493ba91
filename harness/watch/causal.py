"""The causal check (`--causal`): what the answers depend on, seen by changing hidden states on the way.

At each place the class is erased (LEACE) and, for the null, 20 random subspaces of equal rank; then each
image's tokens are replaced by those of an image of another class and, for the null, of its own. A probe says
what a place holds, this says whether the answers are made of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from harness.console import Advance
from harness.passes.answers import scored
from harness.passes.asking import Pass, ask
from harness.passes.context import Run
from harness.passes.engines import inner_engine
from harness.passes.prompts import query_of
from harness.watch.causal_images import IMAGES, CheckedImages, Donors, choose_donors, choose_images
from harness.watch.fitting import StoredFeatures
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


def causal_check(run: Run) -> CausalCheck:
    """Change hidden states at every place of `causal_sites`, ask the primary prompt, and score what changes.

    The answers go into the store batch by batch, so that a check that is cut off goes on where it was. The
    store holds the features of the observed images.
    """
    from model_adapters.inside.intervention import can_intervene

    engine, seed = inner_engine(run.engine), run.options.seed
    if not can_intervene(engine):
        return CausalCheck(None, f"the engine {engine.description.engine} lets no one into its hidden states")
    stored = StoredFeatures.of(run.store, run.images.observed, engine.sites[0])
    test = stored.split("test").of_seen()
    checked = choose_images(engine, run.dataset, [stored.images[row] for row in test.rows], seed)
    if not checked.samples:
        return CausalCheck(None, "no test image could be shown to the model")
    question = label_question(run.dataset.task, run.dataset.task.primary)
    changes = _Changes(engine, question, causal_sites(engine.sites), checked, stored, seed)
    answers = ask(run, changes.as_pass())
    return CausalCheck(_scored(answers, checked, changes.sites, seed, _only_way(run, engine, checked)))


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


@dataclass(frozen=True, eq=False)
class _Changes:
    """Asks a question about images unchanged and changed in every way; see `scoring.causal.score_locus`."""

    engine: Engine
    question: Question
    sites: tuple[Site, ...]
    checked: CheckedImages
    stored: StoredFeatures
    seed: int

    def as_pass(self) -> Pass:
        return Pass(
            step=CAUSAL,
            title="causal check",
            images=self.checked.samples,
            questions=lambda _: (self.question,),
            line=lambda _, answers: dict(answers[0][1]),
            put=self._put,
            rounds=len(self.sites),
        )

    def _put(self, queries: Sequence[Query], advance: Advance) -> list[dict[str, Any]]:
        from model_adapters.inside.intervention import Erase, intervene
        from model_adapters.inside.shared_encoding import shared_encoding

        samples, layouts = self.checked.of([query.id for query in queries])
        donors = choose_donors(samples, layouts, self.seed)
        with shared_encoding(self.engine):
            answers: list[dict[str, Any]] = [
                {"plain": plain, "donor_class": pair and samples[pair.across].label, "loci": {}}
                for plain, pair in zip(self._scores(queries), donors, strict=True)
            ]
            for site in self.sites:
                erased = []
                for eraser in self._erasers[site]:
                    with intervene(self.engine, Erase(site, eraser.mean, eraser.read, eraser.removed)):
                        erased.append(self._scores(queries))
                patched = self._patched(queries, donors, site)
                for row, answer in enumerate(answers):
                    answer["loci"][site.key] = {
                        "rank": self._erasers[site][0].rank,
                        "erased": [scores[row] for scores in erased],
                        **{name: scores[row] for name, scores in patched.items()},
                    }
                advance(len(queries))
        return answers

    @cached_property
    def _erasers(self) -> dict[Site, tuple[Eraser, ...]]:
        """The eraser of the class, then the random ones, fitted on the training features of each place."""
        train = self.stored.split("train").of_seen()
        found = {}
        for site in self.sites:
            (features,) = self.stored.read((site,), train)
            # Shrunk, because a layer is often wider than there are training images.
            eraser, null = erasers_with_null(
                features, train.labels, count=ERASURES, seed=self.seed, shrinkage=None
            )
            found[site] = (eraser, *null)
        return found

    def _patched(
        self, queries: Sequence[Query], donors: Sequence[Donors | None], site: Site
    ) -> dict[str, list[list[float] | None]]:
        """Return the scores with the donors' tokens, None for an image without donors."""
        from model_adapters.inside.intervention import Patch, intervene, token_states

        nothing: list[list[float] | None] = [None] * len(queries)
        if not any(donors):
            return {"across": nothing, "within": nothing}
        states = token_states(self.engine, queries, site)
        given: dict[str, dict[str, Any]] = {"across": {}, "within": {}}
        for query, pair in zip(queries, donors, strict=True):
            if pair is not None and {queries[pair.across].id, queries[pair.within].id} <= set(states):
                given["across"][query.id] = states[queries[pair.across].id]
                given["within"][query.id] = states[queries[pair.within].id]
        found = {}
        for name, by_query in given.items():
            with intervene(self.engine, Patch(site, by_query)):
                scores = self._scores(queries)
            found[name] = [s if q.id in by_query else None for q, s in zip(queries, scores, strict=True)]
        return found

    def _scores(self, queries: Sequence[Query]) -> list[list[float] | None]:
        return [scored(self.question, found)["scores"] for found in self.engine.score(queries).scores]


def _only_way(run: Run, engine: Engine, checked: CheckedImages) -> bool | None:
    """Tell whether images reach the answers through the connector alone; None without two like pictures."""
    from model_adapters.inside.intervention import connector_is_only_way

    pair = checked.like_pair()
    if pair is None:
        return None
    question = label_question(run.dataset.task, run.dataset.task.primary)
    first, second = (query_of(question, sample.id, run.dataset.read(sample)) for sample in pair)
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
