"""The figures of a study: accuracy, health, layers and comparisons, each as SVG and as PNG for print.

The same results give the same bytes; a PNG depends on the machine's fonts as well.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from harness.study.document import StudyError
from leaderboard.compare.contrasts import FINE_TUNING, LAYER, MEDICAL, PROBE, REFERENCE, Contrast
from leaderboard.figures import layers, svg
from leaderboard.figures.intervals import Block, Dot, Panel, chart, health_dot, percents, reach
from leaderboard.figures.png import has_fonts, to_png
from leaderboard.figures.svg import Figure
from leaderboard.record.record import Condition, Record
from leaderboard.words import p_value, points
from tasks.files import write_atomically

CONDITIONS: dict[Condition, tuple[str, str]] = {  # kind and name
    "released": ("blue", "as released"),
    "lora": ("vermillion", "fine-tuned (LoRA)"),
}
FAMILIES = {
    FINE_TUNING: "fine-tuning",
    MEDICAL: "medical-and-base",
    REFERENCE: "model-and-reference",
    LAYER: "layer-choice",
    PROBE: "probe-and-answer",
}
SIDES = {  # by question: kind and name of the first and the second side
    FINE_TUNING: (CONDITIONS["lora"], CONDITIONS["released"]),
    MEDICAL: (("vermillion", "model"), ("sky", "its base")),
    REFERENCE: (("blue", "model"), ("green", "reference classifier")),
    LAYER: (("orange", "best vision layer"), ("blue", "layer read by the connector")),
    PROBE: (("vermillion", "probe of the last layer"), ("answer", "answer")),
}
_REFERENCE = ("green", "reference classifier")
_WIDTH = 691.0  # pixels: the two columns of a journal's page
_ACROSS = 3  # panels side by side
_MODELS = 8  # models on one page of layer curves
_LONGEST = 100  # letters of a file's name, without its ending
_STEMS = "|".join(["accuracy", "health", *map(re.escape, FAMILIES.values()), r"layers-[A-Za-z0-9._-]+"])
_OWN = re.compile(
    rf"(?:{_STEMS})\.(?:svg|png)|\.(?:{_STEMS})\.(?:svg|png)\.\w+\.part"
)  # the second: half-written
NOISE = "noise-limited: not to be ranked"
UNOFFICIAL = "* The images are not byte for byte the published ones."
SEEN = "+ The model is known to have been trained on this task's images."


def write_figures(
    records: Sequence[Record], contrasts: Sequence[Contrast], readouts: Sequence[str], folder: Path
) -> tuple[Path, ...]:
    """Write every figure that has something to show, remove those of before, and return the paths.

    Nothing else in the folder is touched. Without a font on the machine there are no PNG files.

    Raises:
        StudyError: the folder cannot be written.
    """
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stem, figure in _figures(records, contrasts, readouts):
            written.append(folder / f"{stem}.svg")
            write_atomically(written[-1], figure.standalone())
            if has_fonts():
                written.append(folder / f"{stem}.png")
                write_atomically(written[-1], to_png(figure))
        _remove_old(folder, {path.name for path in written})
    except OSError as error:
        raise StudyError(
            f"{folder}: figures cannot be written ({error.strerror}); choose another --output"
        ) from error
    return tuple(written)


def _figures(
    records: Sequence[Record], contrasts: Sequence[Contrast], readouts: Sequence[str]
) -> Iterator[tuple[str, Figure]]:
    """Yield every figure under its file's name."""
    taken: set[str] = set()
    for stem, figure in (("accuracy", accuracy_figure(records)), ("health", health_figure(records))):
        if figure is not None:
            yield stem, figure
    for readout in dict.fromkeys(readouts):
        for task, figure in layer_figures(records, readout).items():
            yield file_stem(f"layers-{task}-{readout}", taken), figure
    for family, stem in FAMILIES.items():
        figure = contrast_figure(contrasts, family)
        if figure is not None:
            yield stem, figure


def file_stem(name: str, taken: set[str]) -> str:
    """Return a file's name of letters, digits, '-', '_' and '.', and add it to those that are taken.

    Two names that differ only in other signs, or in upper and lower case, get different files.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:_LONGEST]
    stem, number = plain, 1
    while stem.lower() in taken:
        number += 1
        stem = f"{plain}-{number}"
    taken.add(stem.lower())
    return stem


def _remove_old(folder: Path, written: Collection[str]) -> None:
    for path in sorted(folder.iterdir()):
        if path.name not in written and _OWN.fullmatch(path.name) and path.is_file():
            path.unlink()


def accuracy_figure(records: Sequence[Record]) -> Figure | None:
    """Return the headline accuracy in percent of every model on every task with 95% intervals.

    The classifiers trained on the task itself stand last. None without any answers.
    """
    held = [record for record in records if record.answers is not None]
    if not held:
        return None
    models = [*_names(r for r in held if not _is_reference(r)), *_names(r for r in held if _is_reference(r))]
    ends = [
        100 * x
        for r in held
        if r.answers
        for x in (r.answers.accuracy.low, r.answers.accuracy.high, r.answers.majority_accuracy)
    ]
    panels = [
        _accuracies([r for r in held if r.task.name == task], models, reach(ends, 4)) for task in _tasks(held)
    ]
    names = [svg.fitted(name, 26) for name in models]
    blocks = [Block(names, panels[k : k + _ACROSS]) for k in range(0, len(panels), _ACROSS)]
    looks = _conditions([r for r in held if not _is_reference(r)])
    looks += [_REFERENCE] if any(map(_is_reference, held)) else []
    notes = ["Bars: 95% intervals."]
    notes += [UNOFFICIAL] if not all(r.task.official_data for r in held) else []
    notes += [SEEN] if any(r.model.seen_in_training for r in held) else []
    return _figure("How often every model is right", blocks, [*looks, ("majority", "majority class")], notes)


def _accuracies(records: Sequence[Record], models: Sequence[str], ends: tuple[float, float]) -> Panel:
    task = records[0].task
    rows: list[list[Dot] | str] = []
    for model in models:
        dots = [
            percents(_look(r)[0], r.answers.accuracy, f"{model}, {_look(r)[1]}")
            for r in sorted(_of(model, records), key=lambda r: r.condition != "released")
            if r.answers
        ]
        rows.append(dots or "no result")
    answers = [r.answers for r in records if r.answers]
    sizes = sorted({found.accuracy.n for found in answers})
    images = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    mark = "" if all(r.task.official_data for r in records) else "*"
    seen = ["+" if any(r.model.seen_in_training for r in _of(model, records)) else "" for model in models]
    return Panel(
        f"{svg.fitted(task.name, 24)}{mark}\n{len(task.classes)} classes, n = {images}",
        "headline accuracy (%)",
        ends,
        rows,
        [(100 * majority, "majority") for majority in sorted({found.majority_accuracy for found in answers})],
        seen,
    )


def health_figure(records: Sequence[Record]) -> Figure | None:
    """Return the health profile of every model that has one, with 95% intervals; None without any."""
    held = [r for r in records if r.health is not None and r.answers is not None and not _is_reference(r)]
    if not held:
        return None
    blocks = [_profiles([r for r in held if r.task.name == task]) for task in _tasks(held)]
    notes = (
        "Bars: 95% intervals. FHS is not bounded by 0 and 1, and not comparable across numbers of classes.",
        "V: vision encoder, C: connector, L: language model. P_final: headline accuracy, as a share.",
    )
    looks = _conditions(held)
    parts = [p for r in held if r.health for p in (r.health.vision, r.health.connector, r.health.llm)]
    looks += [("hollow", NOISE)] if any(part.noise_limited for part in parts) else []
    return _figure("Feature Health Scores", blocks, looks, notes)


def _profiles(records: Sequence[Record]) -> Block:
    models, task = _names(records), records[0].task
    columns: dict[str, list[list[Dot]]] = {"FHS_V": [], "FHS_C": [], "FHS_L": [], "P_final": []}
    for model in models:
        for rows in columns.values():
            rows.append([])
        for record in sorted(_of(model, records), key=lambda r: r.condition != "released"):
            kind, name = _look(record)
            if record.health is None or record.answers is None:
                continue
            parts = (record.health.vision, record.health.connector, record.health.llm)
            for rows, part in zip(columns.values(), parts, strict=False):
                rows[-1].append(health_dot(kind, part, f"{model}, {name}"))
            final = record.answers.accuracy
            said = f"{model}, {name} {final.value:.3f} ({final.low:.3f} to {final.high:.3f})"
            columns["P_final"][-1].append(Dot(kind, final.value, final.low, final.high, said))
    scores = [dot for name, rows in columns.items() if name != "P_final" for row in rows for dot in row]
    shown = [x for dot in scores for x in (dot.low, dot.high)]
    margin = 0.06 * max(max(shown) - min(shown), 0.2)
    ends = (min(shown) - margin, max(shown) + margin)
    panels = [Panel(name, "", (0, 1) if name == "P_final" else ends, rows) for name, rows in columns.items()]
    title = f"{svg.fitted(task.name, 50, 1)}: {len(task.classes)} classes"
    return Block([svg.fitted(model, 26) for model in models], panels, title)


def layer_figures(records: Sequence[Record], readout: str) -> dict[str, Figure]:
    """Return the layer curves of one readout by task: one row a model, as released and fine-tuned.

    A task with more than eight models has several pages, "<task>-1" and so on. Only the released column is
    drawn where no model is fine-tuned. Empty where no model was probed with this readout.
    """
    models = [record for record in records if not _is_reference(record)]
    probed = [record for record in models if layers.probes_of(record, readout)]
    names = _names(probed)
    columns = [c for c in CONDITIONS if c == "released" or any(r.condition == c for r in models)]
    cells = {(r.task.name, r.model.name, r.condition): (r, layers.probes_of(r, readout)) for r in models}
    found: dict[str, Figure] = {}
    for task in _tasks(probed):
        classes = len(next(r for r in probed if r.task.name == task).task.classes)
        title = f"{svg.fitted(task, 50, 1)}: {classes} classes, {svg.fitted(readout, 20, 1)} readout"
        for number, first in enumerate(range(0, len(names), _MODELS)):
            page = names[first : first + _MODELS]
            rows = [(name, [cells.get((task, name, condition)) for condition in columns]) for name in page]
            key = task if len(names) <= _MODELS else f"{task}-{number + 1}"
            heads = [CONDITIONS[condition][1] for condition in columns]
            found[key] = layers.grid_figure(title, rows, heads, height=min(158, 750 / len(page)))
    return found


def contrast_figure(contrasts: Sequence[Contrast], family: str) -> Figure | None:
    """Return all comparisons of a question, by task: accuracies in percent, differences in points.

    Intervals are 95%, of each comparison alone; the words at the right edge go by p after Holm. None where the
    question has no comparison.
    """
    held = [contrast for contrast in contrasts if contrast.family == family]
    if not held:
        return None
    sides = SIDES[family]
    names: list[str] = []
    strong: set[int] = set()
    rows: list[Contrast | None] = []
    for task in sorted({contrast.task for contrast in held}):
        strong.add(len(names))
        names.append(svg.fitted(task, 34, 1))
        rows.append(None)
        for one in sorted((c for c in held if c.task == task), key=lambda c: (c.model, c.first, c.second)):
            names.append(_compared(one))
            rows.append(one)
    values = [x for c in held for v in (c.first_value, c.second_value) for x in (v.low, v.high)]
    gaps = [100 * x for c in held for x in (c.low, c.high)]
    margin = 0.08 * max(max(gaps) - min(gaps), 2.0)
    metric = " / ".join(sorted({contrast.metric for contrast in held}))
    left = Panel(
        "",
        f"{metric} (%)",
        reach([100 * value for value in values], 4),
        [_both(c, sides) if c else [] for c in rows],
    )
    right = Panel(
        "",
        "difference (points)",
        (min(-2.0, *gaps) - margin, max(2.0, *gaps) + margin),
        [[_difference(c)] if c else [] for c in rows],
        [(0, "chance")],
        [_concluded(c) if c else "" for c in rows],
    )
    said = f"Difference: {sides[0][1]} minus {sides[1][1]}, paired over the same test images."
    notes = [f"{said} Bars: 95% intervals, each by itself."]
    if len(held) > 1:
        notes.append(
            f"Right edge: which way the first differs, by p after Holm over these {len(held)} comparisons."
        )
    block = Block(names, [left, right], "", frozenset(strong))
    return _figure(f"{family[:1].upper()}{family[1:]}", [block], sides, notes)


def _compared(contrast: Contrast) -> str:
    """Name what is compared: the model, and below it the two sides where the legend does not say them all."""
    if contrast.family == FINE_TUNING:
        return svg.fitted(contrast.second, 28)
    first = "" if contrast.first == contrast.model else f"{svg.fitted(contrast.first, 14, 1)} "
    second = svg.fitted(contrast.second, 31 - len(first), 1)
    return f"{svg.fitted(contrast.model, 34, 1)}\n{first}vs {second}"


def _both(contrast: Contrast, sides: Sequence[tuple[str, str]]) -> list[Dot]:
    values = (contrast.first_value, contrast.second_value)
    return [
        percents(kind, v, f"{contrast.model}, {name}") for v, (kind, name) in zip(values, sides, strict=True)
    ]


def _difference(contrast: Contrast) -> Dot:
    value, low, high = (100 * x for x in (contrast.value, contrast.low, contrast.high))
    said = f"{contrast.model}: {points(value)} points ({points(low)} to {points(high)})"
    return Dot("difference", value, low, high, said, contrast.conclusion == "undetermined")


def _concluded(contrast: Contrast) -> str:
    adjusted = p_value(contrast.p_adjusted)
    return f"{contrast.conclusion}, p {adjusted if adjusted.startswith('<') else f'= {adjusted}'}"


def _figure(
    title: str,
    blocks: Sequence[Block],
    looks: Sequence[tuple[str, str]],
    notes: Sequence[str],
) -> Figure:
    return Figure(title, " ".join(notes), chart(blocks, _WIDTH), None, tuple(looks), tuple(notes))


def _is_reference(record: Record) -> bool:
    """Whether the record is that of a classifier trained on the task itself."""
    return record.model.role == "reference"


def _look(record: Record) -> tuple[str, str]:
    return _REFERENCE if _is_reference(record) else CONDITIONS[record.condition]


def _conditions(records: Sequence[Record]) -> list[tuple[str, str]]:
    held = {record.condition for record in records}
    return [look for condition, look in CONDITIONS.items() if condition in held]


def _tasks(records: Sequence[Record]) -> list[str]:
    return sorted({record.task.name for record in records})


def _names(records: Iterable[Record]) -> list[str]:
    return sorted({record.model.name for record in records})


def _of(model: str, records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.model.name == model]
