"""A section of a model card with what was measured: scores, intervals, health, verdict, and how.

It stands between two comments and is replaced in place; the rest of the card is left as it is. Every string of a
record is escaped: none of them can become markup or end the section.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from leaderboard import words
from leaderboard.record.record import ModuleHealthPart, Record, RecordError

START = "<!-- harness:start -->"
END = "<!-- harness:end -->"

_HEADINGS = (
    "task",
    "test images",
    "accuracy",
    "most frequent class",
    "balanced accuracy",
    "vision",
    "connector",
    "language model",
    "verdict",
)
_MARKUP = re.compile(r"[\\`*_{}\[\]#+!|~$^=@:]")


def plain(text: str) -> str:
    """Return text of a record such that Markdown and HTML show it as it is, on one line."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    escaped = html.escape(_MARKUP.sub(lambda found: f"\\{found[0]}", " ".join(printable.split())))
    return re.sub(r"(?i)www\.", lambda found: f"{found[0][:3]}&#46;", escaped)


def check_one_model(records: Sequence[Record]) -> None:
    """Refuse records that cannot stand in one card: failed ones, and those of several models.

    Raises:
        RecordError: naming the record.
    """
    for record in records:
        if record.status == "failed" or record.answers is None:
            raise RecordError(
                f"{record.model.name} on {record.task.name}: the run failed or has no answers; a card shows scores"
            )
    names = {(record.model.name, record.condition) for record in records}
    if len(names) > 1:
        listed = ", ".join(sorted(f"{name} ({condition})" for name, condition in names))
        raise RecordError(
            f"a model card is of one model, but these are results of {listed}; name those of one"
        )
    seen: set[str] = set()
    for record in records:
        if record.task.name in seen:
            raise RecordError(f"{record.task.name}: two results on this task; name one of them")
        seen.add(record.task.name)


def card_section(records: Sequence[Record]) -> str:
    """Return the section with its two comments, ending in a newline.

    Raises:
        RecordError: the records cannot stand in one card, see `check_one_model`.
    """
    check_one_model(records)
    rows = [_HEADINGS, tuple("---" for _ in _HEADINGS), *(_row(record) for record in records)]
    lines = [
        START,
        "## Medical image classification, and where the image is lost",
        "",
        *(f"| {' | '.join(cells)} |" for cells in rows),
        "",
        *_legend(records),
        "",
        "### Verdicts",
        "",
        *(f"- {_verdict_line(record)}" for record in records),
        "",
        "### How it was measured",
        "",
        *(f"- {_measured_line(record)}" for record in records),
        "",
        "These numbers are for research; none of them says anything about use on patients.",
        END,
    ]
    return "\n".join(lines) + "\n"


def with_section(card: str, section: str) -> str:
    """Return a card with the section in the place of the one that it has, or at its end.

    Raises:
        RecordError: the card has one of the two comments without the other, or one of them twice.
    """
    starts, ends = card.count(START), card.count(END)
    if (starts, ends) == (0, 0):
        return f"{card.rstrip()}\n\n{section}" if card.strip() else section
    if (starts, ends) != (1, 1) or card.index(END) < card.index(START):
        raise RecordError(
            f"the card has {starts} times {START} and {ends} times {END}; leave one of each, in this order, or none"
        )
    before, rest = card.split(START)
    return before + section + rest.split(END)[1].removeprefix("\n")


def remarks(record: Record) -> list[str]:
    """Return what keeps a result from being compared like others."""
    found = [] if record.task.official_data else ["not the published data"]
    return [*found, "seen in training"] if record.model.seen_in_training else found


def _row(record: Record) -> tuple[str, ...]:
    answers = record.answers
    assert answers is not None
    health = record.health
    parts = (health.vision, health.connector, health.llm) if health else (None, None, None)
    task = plain(record.task.name)
    return (
        task if record.status == "complete" else f"{task} ({record.status})",
        ", ".join([f"{answers.accuracy.n:,}", *remarks(record)]),
        words.interval(answers.accuracy),
        words.percent(answers.majority_accuracy),
        words.interval(answers.balanced_accuracy),
        *(_health(part) for part in parts),
        record.diagnosis.verdict if record.diagnosis else "not measured",
    )


def _health(part: ModuleHealthPart | None) -> str:
    if part is None:
        return "not measured"
    mark = ", noise-limited" if part.noise_limited else ""
    return f"{words.number(part.fhs)} ({words.number(part.low)} to {words.number(part.high)}{mark})"


def _legend(records: Sequence[Record]) -> list[str]:
    lines = [
        "Accuracy is the share of all test images that got the right class, with its 95% interval; an answer that "
        "cannot be read counts as not right. *Most frequent class* is what always naming it would reach.",
        "*Vision*, *connector* and *language model* are Feature Health Scores (arXiv 2604.08333) with 95% "
        "intervals; they can be below 0 or above 1, and are not comparable between tasks with different numbers of "
        "classes.",
    ]
    if any(not record.task.official_data for record in records):
        lines.append(
            "*Not the published data*: the images were not shown to be exactly the published ones, so these scores "
            "cannot be compared with published ones."
        )
    if any(record.model.seen_in_training for record in records):
        lines.append(
            "*Seen in training*: images of this task are known to be among those that the model was trained on."
        )
    if any(record.status == "partial" for record in records):
        lines.append("*Partial*: not all test images were asked about.")
    return lines


def _verdict_line(record: Record) -> str:
    found, task = record.diagnosis, f"**{plain(record.task.name)}**"
    if found is None:
        return f"{task}: not measured; the layers were not watched."
    lost = [drop for drop in found.drops if drop.mode == found.verdict]
    cost = f", {words.points(lost[0].points)} points of accuracy" if lost else ""
    sentences = " ".join(plain(sentence) for sentence in found.sentences or ())
    return f"{task}: {found.verdict} ({words.VERDICTS[found.verdict]}{cost}). {sentences}".rstrip()


def _measured_line(record: Record) -> str:
    model, task = record.model, record.task
    source = (
        "the highest-scoring label"
        if record.answers and record.answers.headline_source == "scores"
        else "the text"
    )
    probes = f", probes read by the readout {plain(record.health.readout)}" if record.health else ""
    tuned = "" if record.condition == "released" else f" ({record.condition}, tuned by this software)"
    return (
        f"**{plain(task.name)}** (version {task.version}, {'' if task.official_data else 'not '}the published "
        f"data, fingerprint {plain(task.dataset_fingerprint[:16])}): {plain(model.name)}{tuned}, revision "
        f"{plain(model.revision[:40])}, engine {plain(model.engine)} in {plain(model.dtype)}; answers by {source}"
        f"{probes}; mllm-harness {plain(record.provenance.harness_version)}, seed {record.provenance.seed}, "
        f"finished {plain(record.provenance.finished)}."
    )
