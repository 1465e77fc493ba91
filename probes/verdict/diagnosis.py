"""The verdict: which stage loses the class, how sure that is, and what would mend it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from probes.verdict.bottleneck import ISOTONIC, Finding, Rule, find_bottleneck
from probes.verdict.mapping import PERMUTATION_LEVEL
from probes.verdict.waterfall import LEVEL, Drop, Mode, Waterfall

Verdict = Literal["vision", "connector", "comprehension", "mapping", "healthy", "no_signal", "undetermined"]

NULL_LEVEL = 0.01  # below this a locus beats its permutation null
DEFAULT_RULE = ISOTONIC

_DETAILS: dict[Mode, tuple[str, ...]] = {
    "vision": ("wrong_layer",),
    "connector": (),
    "comprehension": ("erased", "not_routed", "not_used"),
    "mapping": ("label_prior", "label_permutation"),
}


@dataclass(frozen=True)
class SignalTests:
    """Group-permutation p-values against the null of no class in the image; None where not tested.

    `vision` is the smallest of the vision layers' max-statistic p-values, `consumed_vision` that of the
    layer that the connector reads.
    """

    reference: float | None = None
    pixels: float | None = None
    vision: float | None = None
    consumed_vision: float | None = None

    @property
    def tested(self) -> bool:
        """Whether any of the three that decide about a signal was tested."""
        return any(p is not None for p in (self.reference, self.pixels, self.vision))

    @property
    def found(self) -> bool:
        """Whether the reference, the pixels or a vision layer beats its null."""
        return any(_beats(p) for p in (self.reference, self.pixels, self.vision))

    @property
    def lost_before_connector(self) -> bool:
        """Whether the reference, or the raw pixels, beats its null and the consumed layer does not."""
        unread = self.consumed_vision is not None and not _beats(self.consumed_vision)
        return unread and (_beats(self.reference) or _beats(self.pixels))


def _beats(p: float | None) -> bool:
    return p is not None and p < NULL_LEVEL


@dataclass(frozen=True)
class Diagnosis:
    """A verdict and what it rests on.

    `stages` are the significant terms in order. `details` name the kinds of fault: those of the named and
    of the significant stages, "parse_loss" whatever the verdict, and "readability" where a stage's plain
    term is significant and its corrected one is not. `probabilities` hold the share of draws that pick
    each mode. `reference` says which R was the ceiling; without one `vision_assessed` is False and the
    verdict never "healthy". `reason` says in a few words why this verdict was given.
    """

    verdict: Verdict
    reason: str
    stages: tuple[Mode, ...]
    details: tuple[str, ...]
    drops: tuple[Drop, ...]
    probabilities: Mapping[Mode, float]
    healthy_probability: float
    rule: Rule
    reference: str | None
    smallest_visible_gap: float
    delta: float

    @property
    def vision_assessed(self) -> bool:
        """Whether the first mode could be assessed: it needs the reference."""
        return any(drop.mode == "vision" for drop in self.drops)


def diagnose(
    waterfall: Waterfall,
    *,
    reference: str | None = None,
    signal: SignalTests | None = None,
    permutation_p: float | None = None,
    rule: Rule = DEFAULT_RULE,
) -> Diagnosis:
    """Give the verdict.

    In this order: `no_signal` if something was tested against its permutation null and nothing beats it;
    `vision` if the reference or the pixels do and the consumed layer does not; the bottleneck that the
    rule names; `undetermined` if a corrected term is significant and the draws do not agree; `healthy` if
    the reference was there, enough draws stay below delta at every stage, and the test set would have
    shown a drop of twice delta with 80% power; else `undetermined`. Asking the draws for "healthy" makes
    it a finding of its own and not the absence of one: a small test set cannot give it.

    Args:
        waterfall: from `probes.verdict.waterfall.waterfall`.
        reference: the name of R, None where the waterfall has none.
        signal: permutation p-values; without them `no_signal` is never given.
        permutation_p: of `probes.verdict.mapping.permutation_p`; without it no permutation is named.
        rule: names the bottleneck.

    Raises:
        ValueError: a reference is named and was not measured, or the other way round.
    """
    if (reference is not None) != ("reference" in waterfall.level):
        raise ValueError(f"reference {reference!r}, but the waterfall measured {', '.join(waterfall.level)}")
    finding = find_bottleneck(waterfall, rule)
    verdict, reason = _verdict(waterfall, finding, signal or SignalTests(), rule)
    blind = verdict == "no_signal"
    return Diagnosis(
        verdict=verdict,
        reason=reason,
        stages=() if blind else waterfall.stages,
        details=() if blind else _details(waterfall, finding, verdict, permutation_p),
        drops=waterfall.drops,
        probabilities=finding.agreement,
        healthy_probability=finding.healthy,
        rule=rule,
        reference=reference,
        smallest_visible_gap=waterfall.smallest_visible_gap,
        delta=waterfall.delta,
    )


def _verdict(waterfall: Waterfall, finding: Finding, signal: SignalTests, rule: Rule) -> tuple[Verdict, str]:
    if signal.tested and not signal.found:
        return "no_signal", "neither the reference, the pixels nor any vision layer beats permuted labels"
    if signal.lost_before_connector and _loses_at_vision(waterfall):
        return "vision", "the images hold the class, the vision layer that the connector reads does not"
    if finding.bottleneck is not None:
        return finding.bottleneck, "most draws agree on one stage whose loss is significant"
    if finding.significant:
        return "undetermined", "there is a loss, but the draws do not agree on its stage"
    if "reference" not in waterfall.level:
        return "undetermined", "no later stage loses the class, and vision was not assessed"
    if waterfall.smallest_visible_gap > 2 * waterfall.delta:
        return "undetermined", "no loss was found, but the test set is too small to see one"
    if finding.healthy < rule.healthy_agreement:
        return "undetermined", "a loss is likely but not established"
    return "healthy", "no stage loses the class"


def _loses_at_vision(waterfall: Waterfall) -> bool:
    """A test that fails to reject is no evidence of a loss: where R was measured, ask for its size too."""
    first = waterfall.drops[0]
    return first.mode != "vision" or first.gap.value >= waterfall.delta


def _details(
    waterfall: Waterfall, finding: Finding, verdict: Verdict, permutation_p: float | None
) -> tuple[str, ...]:
    blamed = [mode for mode in _DETAILS if mode == verdict or mode in waterfall.stages]
    wanted = [name for mode in blamed for name in _DETAILS[mode]] + ["parse_loss"]
    named = [name for name in wanted if _established(waterfall, name, permutation_p)]
    if {"label_prior", "label_permutation"} <= set(named):
        gain = {name: waterfall.parts[name].value for name in ("label_prior", "label_permutation")}
        named.remove(min(gain, key=gain.__getitem__))  # two repairs of one fault: the better one names it
    unsupported = set(waterfall.stages) - set(finding.significant) - {verdict}
    return (*named, *(["readability"] if unsupported else []))


def _established(waterfall: Waterfall, name: str, permutation_p: float | None) -> bool:
    part = waterfall.parts.get(name)
    if part is None or part.value < waterfall.delta or part.p >= LEVEL:
        return False
    return name != "label_permutation" or (permutation_p is not None and permutation_p < PERMUTATION_LEVEL)
