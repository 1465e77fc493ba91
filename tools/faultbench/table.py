"""The fault bench's page, written from the results file alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from probes.stats.metrics import Estimate
from tools.faultbench import scoring
from tools.faultbench.cases import CHOOSING_SEEDS, Case
from tools.faultbench.results import Result, latest
from tools.faultbench.scoring import Counts, outcome, said

VERDICTS = (*scoring.STAGES, "healthy", "no_signal", "undetermined")


@dataclass(frozen=True)
class Sorted:
    """The results that a page is about, and how far answers dropped by case name."""

    every: tuple[Result, ...]
    drops: Mapping[str, float]

    @classmethod
    def of(cls, results: Iterable[Result]) -> Sorted:
        """Take each case's latest result."""
        found = tuple(latest(results))
        return cls(found, scoring.answer_drops(found))

    def where(self, wanted: Callable[[Case], bool], *, reported: bool | None = None) -> list[Result]:
        """Return the results of the cases wanted, where that is said of the reported or choosing seeds."""
        return [r for r in self.every if wanted(r.case) and (reported is None or r.case.reported == reported)]


def page(
    results: Iterable[Result], *, command: str, planned: int | None = None, figure: str | None = None
) -> str:
    """Write the page in Markdown.

    `command` made it, `planned` is the number of cases of the whole bench, `figure` the picture's file.
    """
    data = Sorted.of(results)
    if not data.every:
        return f"# Fault bench\n\nNo case is finished yet; `{command}` runs them.\n"
    sections = [
        _head(data, command, planned),
        _summary(data),
        _faults(data),
        _innocent(data),
        _limit(data, figure),
        _rules(data),
        _confusion(data),
        _mismatches(data),
        _reference(data),
        _times(data),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Return a Markdown table; the first `left` columns are words, the others numbers."""
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def percent(estimate: Estimate | None) -> str:
    """Write a share with its interval, for example `95.8% (88.1–100.0)`."""
    if estimate is None:
        return "no case yet"
    return f"{100 * estimate.value:.1f}% ({100 * estimate.low:.1f}–{100 * estimate.high:.1f})"


def _head(data: Sorted, command: str, planned: int | None) -> str:
    finished = max(r.finished for r in data.every)[:10]
    versions = sorted({_versions(r) for r in data.every})
    codes = sorted({r.judged.code for r in data.every})
    models = len({r.case.model for r in data.every})
    of = f" of {planned}" if planned else ""
    rules = sorted({r.judged.default for r in data.every})
    lines = [
        "# Fault bench",
        "",
        f"Made by `{command}` from {len(data.every)}{of} cases on {models} healthy models; the last one was "
        f"finished on {finished}. Versions: {'; '.join(versions)}. The judging code is {', '.join(codes)}, "
        f"its rule `{', '.join(rules)}`.",
        "",
        "Small multimodal models are trained from scratch, and each gets siblings with one planted fault. "
        "`harness eval` judges every one of them on freshly drawn images (1,000 to train probes, 400 to "
        "choose, 1,000 to test; 2,000 for mild faults), and its verdict is compared with what was planted. "
        "A verdict is *right* if it is one that the fault allows, *undetermined* if it says so itself, else "
        "*wrong*: a fault that is called healthy is wrong. "
        f"The rule was chosen on the models of seed {_seeds()}; unless another seed is named, figures are of "
        "the other seeds. Intervals are 95% and clustered by healthy model: a t interval over the models' "
        "totals, or, where all models agree to the last case, Wilson's interval with each model as one "
        "observation. The draws of a model are shared by its siblings.",
    ]
    if len(versions) > 1 or len(codes) > 1:
        lines += ["", "**The cases were made by different versions: run the bench again before using this.**"]
    if planned and len(data.every) < planned:
        lines += ["", f"**Not finished: {planned - len(data.every)} cases are still to run.**"]
    return "\n".join(lines)


def _seeds() -> str:
    return ", ".join(map(str, CHOOSING_SEEDS))


def _versions(result: Result) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(result.versions.items()) if name != "recipe")


def _is_fault(case: Case) -> bool:
    return case.role == "fault"


def _is_innocent(case: Case) -> bool:
    return case.role in ("healthy", "trap")


def _right(result: Result) -> bool:
    return outcome(result.case, said(result)) == "right"


def _wrong(result: Result) -> bool:
    return outcome(result.case, said(result)) == "wrong"


def _summary(data: Sorted) -> str:
    strong = data.where(lambda c: _is_fault(c) and c.severity == "strong", reported=True)
    mild = scoring.mild_in_range([r for r in data.every if r.case.reported], data.drops)
    innocent = data.where(_is_innocent, reported=True)
    shuffled = data.where(lambda c: c.kind == "shuffled_labels")
    rows = [
        ("strong faults named right", "at least 95%", strong, _right),
        ("mild faults (answers down 5 to 10 points) named right", "at least 75%", mild, _right),
        ("mild faults (answers down 5 to 10 points) named wrong", "at most 5%", mild, _wrong),
        (
            "healthy models and traps blamed",
            "at most 5%",
            innocent,
            lambda r: scoring.blames(r.case, said(r)),
        ),
        ("shuffled labels called `no_signal` (all seeds)", "at least 95%", shuffled, _right),
    ]
    return "## In short\n\n" + table(
        ("", "aim", "cases", "models", "measured"),
        [
            (
                title,
                aim,
                f"{sum(map(counted, cases))} of {len(cases)}",
                str(len({r.case.model for r in cases})),
                percent(scoring.share(cases, counted)),
            )
            for title, aim, cases, counted in rows
        ],
        left=2,
    )


def _counted(results: Sequence[Result]) -> tuple[str, str, str]:
    found: Counts = scoring.count(results)
    return str(found.right), str(found.wrong), str(found.undetermined)


def _mean_drop(results: Sequence[Result], drops: Mapping[str, float]) -> str:
    known = [drops[r.case.name] for r in results if r.case.name in drops]
    return f"{fmean(known):.1f} ({min(known):.1f} to {max(known):.1f})" if known else "not known"


def _faults(data: Sorted) -> str:
    kinds = dict.fromkeys((r.case.kind, r.case.severity, r.case.expected) for r in data.where(_is_fault))
    order = sorted(kinds, key=lambda k: (["strong", "mild"].index(k[1]), k[2], k[0]))
    rows = []
    for kind, severity, expected in order:

        def same(case: Case, kind: str = kind, severity: str = severity) -> bool:
            return _is_fault(case) and (case.kind, case.severity) == (kind, severity)

        reported, choosing = data.where(same, reported=True), data.where(same, reported=False)
        rows.append(
            (
                kind.replace("_", " "),
                severity,
                " or ".join(expected),
                _mean_drop(reported or choosing, data.drops),
                *_counted(reported),
                " / ".join(_counted(choosing)),
            )
        )
    if not rows:
        return ""
    return (
        "## Planted faults\n\n"
        "The drop is that of the answers' accuracy against the healthy model on the same images, in points: "
        f"mean (smallest to largest). The last column is seed {_seeds()}, where the rule was chosen: right / "
        "wrong / undetermined.\n\n"
        + table(
            ("fault", "severity", "expected", "drop", "right", "wrong", "undetermined", f"seed {_seeds()}"),
            rows,
            left=3,
        )
    )


def _innocent(data: Sorted) -> str:
    kinds = dict.fromkeys(r.case.kind for r in sorted(data.where(_is_innocent), key=lambda r: r.case.role))
    rows = []
    for kind in kinds:
        everyone = data.where(lambda c, kind=kind: _is_innocent(c) and c.kind == kind)  # type: ignore[misc]
        for title, cases in (
            (kind.replace("_", " "), [r for r in everyone if r.case.reported]),
            (f"{kind.replace('_', ' ')}, seed {_seeds()}", [r for r in everyone if not r.case.reported]),
        ):
            if cases:
                blamed = sum(scoring.blames(r.case, said(r)) for r in cases)
                rows.append((title, str(len(cases)), str(blamed), *_counted(cases)))
    if not rows:
        return ""
    return (
        "## Healthy models and traps\n\n"
        "*Blamed* counts verdicts that name a stage without a fault. *Shuffled labels*: the labels were "
        "dealt anew over all images, so nothing is to be found. *Pass through*: the images are labelled by "
        "the healthy model's own answers, so that it is always right and nothing can be lost. *Strong "
        "reference*: the reference learns from 5,000 images; to say `vision` is allowed there.\n\n"
        + table(("case", "cases", "blamed", "right", "wrong", "undetermined"), rows)
    )


def _limit(data: Sorted, figure: str | None) -> str:
    reported = [r for r in data.every if r.case.reported]
    limit = scoring.detection_limit(reported, data.drops)
    title = "## Detection limit\n\n"
    if limit is None:
        return title + "Not to be had yet: all verdicts on planted faults ended alike, or there are none."
    smallest = min(
        data.drops[r.case.name]
        for r in reported
        if _is_fault(r.case) and r.case.name in data.drops and "healthy" not in r.case.expected
    )
    rows = [
        (
            f"{100 * found.probability:.0f}%",
            f"{found.drop:.1f}" if found.drop >= smallest else f"below {smallest:.1f}",
            "not to be had" if found.low is None else f"{found.low:.1f} to {found.high:.1f}",
        )
        for found in limit.limits
    ]
    return (
        title + "Logistic regression (Firth) of *right* on the drop of the answers, over "
        f"{limit.cases} strong and mild faults of {limit.models} healthy models; intervals resample whole "
        f"models. No fault that was planted cost less than {smallest:.1f} points, so no lower limit is told.\n\n"
        + table(("named right in", "drop in points", "95% interval"), rows)
        + (f"\n\n![Outcomes over the drop of the answers, by stage]({figure})" if figure else "")
    )


def _rules(data: Sorted) -> str:
    scores = scoring.compare_rules([r for r in data.every if not r.case.reported])
    others = {s.rule: s for s in scoring.compare_rules([r for r in data.every if r.case.reported])}
    if not scores:
        return ""

    def cells(score: scoring.RuleScore | None) -> tuple[str, ...]:
        if score is None:
            return ("", "", "")
        return (
            *(f"{c.right} / {c.wrong} / {c.undetermined}" for c in (score.strong, score.mild)),
            f"{score.blamed} of {score.innocent}",
        )

    verdict = _chosen(scoring.best_rules(scores), data.every[0].judged.default)
    rows = [(f"`{s.rule}`", *cells(s), str(s.balance), *cells(others.get(s.rule))) for s in scores]
    return (
        "## Choosing the rule\n\n"
        f"On seed {_seeds()} alone: right / wrong / undetermined under each rule of "
        "`probes/verdict/bottleneck.py`, and false blame. The balance is right verdicts minus twice the wrong "
        "verdicts and false blame. The other seeds are shown for comparison and chose "
        f"nothing. {verdict}\n\n"
        + table(
            (
                "rule",
                "strong",
                "mild",
                "blamed",
                "balance",
                "strong, others",
                "mild, others",
                "blamed, others",
            ),
            rows,
        )
    )


def _chosen(best: Sequence[str], default: str) -> str:
    named = ", ".join(f"`{rule}`" for rule in best)
    if default not in best:
        return f"**The rule with the highest balance is {named}, but `harness eval` uses `{default}`.**"
    if len(best) == 1:
        return f"The rule with the highest balance is `{default}`, and `harness eval` uses it."
    return (
        f"`harness eval` uses `{default}`, one of {len(best)} rules with the highest balance ({named}): these "
        "cases do not tell them apart, and it was the default before they were run."
    )


def _confusion(data: Sorted) -> str:
    reported = data.where(lambda c: c.role in ("fault", "healthy", "trap"), reported=True)
    counted = Counter((" or ".join(r.case.expected), said(r)) for r in reported)
    wanted = sorted({row for row, _ in counted}, key=lambda row: (_place(row), row))
    if not wanted:
        return ""
    rows = [(row, *(str(counted[row, verdict] or "") for verdict in VERDICTS)) for row in wanted]
    return "## Expected and said\n\n" + table(("expected \\ said", *VERDICTS), rows)


def _place(expected: str) -> int:
    return VERDICTS.index(expected.split(" or ")[0])


def _mismatches(data: Sorted) -> str:
    cases = data.where(lambda c: c.role == "mismatch")
    rows = []
    for kind, severity in dict.fromkeys((r.case.kind, r.case.severity) for r in cases):
        same = [r for r in cases if (r.case.kind, r.case.severity) == (kind, severity)]
        found = Counter(map(said, same))
        rows.append(
            (kind.replace("_", " "), _mean_drop(same, data.drops), *(str(found[v] or "") for v in VERDICTS))
        )
    if not rows:
        return ""
    return (
        "## Interface mismatches\n\n"
        "Faults upstream that nothing downstream was adapted to. Where the class is lost is ambiguous there, "
        "so no verdict is right or wrong; all seeds.\n\n" + table(("fault", "drop", *VERDICTS), rows)
    )


def _reference(data: Sorted) -> str:
    """Show that the trap of a strong reference is none of the bench's own making."""
    healthy = [r for r in data.where(lambda c: c.role == "healthy") if "reference" in r.judged.levels]
    if not healthy:
        return ""
    gaps = {r.case.name: r.judged.levels["reference"] - r.judged.levels["vision"] for r in healthy}
    rows = []
    for family in dict.fromkeys(r.case.family for r in healthy):
        own = [gaps[r.case.name] for r in healthy if r.case.family == family]
        rows.append((family, str(len(own)), f"{fmean(own):.3f}", f"{min(own):.3f}", f"{max(own):.3f}"))
    return (
        "## The ceiling over healthy models\n\n"
        "A(R) - A(vision) of the healthy models: below 0.05 the reference is no stronger than their vision "
        "encoders by what counts.\n\n" + table(("family", "cases", "mean", "smallest", "largest"), rows)
    )


def _times(data: Sorted) -> str:
    steps = dict.fromkeys(step for r in data.every for step in r.seconds if step != "total")
    spent = {step: [r.seconds[step] for r in data.every if step in r.seconds] for step in steps}
    rows = [(step, f"{fmean(s):.1f}", f"{max(s):.1f}") for step, s in spent.items()]
    totals = [r.seconds["total"] for r in data.every if "total" in r.seconds]
    if totals:
        rows.append(("whole run, without the model's making", f"{fmean(totals):.1f}", f"{max(totals):.1f}"))
    judging = [r.judged.seconds for r in data.every]
    rows.append(("verdict alone, from the kept files", f"{fmean(judging):.1f}", f"{max(judging):.1f}"))
    return (
        "## Time a case\n\nWall time in seconds, two cases at once on two cores; `model` is training or "
        "planting.\n\n" + table(("step", "mean", "largest"), rows)
    )
