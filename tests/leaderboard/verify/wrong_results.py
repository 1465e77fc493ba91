"""Results that a board must refuse: what is done to a right one, and what the refusal names."""

from __future__ import annotations

from tests.leaderboard.verify.rewriting import (
    Change,
    cut,
    drop,
    each,
    extra,
    in_record,
    in_rows,
    in_tests,
    replaced,
    row,
    together,
)

TUNING = {  # of a model that was tuned as it should be
    "task": "lumps",
    "task_version": 1,
    "part": "language",
    "base_revision": "0",
    "settings": "0",
    "n_tuning": 9,
    "steps": 1,
    "kept": 1,
    "disjoint": True,
    "n_shared": 0,
    "n_test_shared": 0,
}

CASES: dict[str, tuple[Change, str]] = {
    "partial": (in_record("status", "partial"), "record.json: status: 'partial'"),
    "with an error": (in_record("error", "it broke"), "record.json: error: 'it broke'"),
    "older version": (in_record("task.version", 0), "record.json: task.version: 0: older than version 1"),
    "newer version": (in_record("task.version", 2), "record.json: task.version: 2: newer than version 1"),
    "other classes": (in_record("task.classes", ["a", "b", "c", "d"]), "record.json: task.classes: "),
    "other data": (
        in_record("task.dataset_fingerprint", "0" * 64),
        "record.json: task.dataset_fingerprint: ",
    ),
    "unknown task": (
        in_record("task.name", "../lumps"),
        "record.json: task.name: '../lumps' is no task of this board",
    ),
    "another task": (in_record("task.name", "phantom"), "record.json: task.version: 1: older than version 2"),
    "other words": (in_record("configuration.task.hash", "0"), "record.json: configuration.task.hash: '0'"),
    "no configuration": (in_record("configuration", {}), "record.json: configuration.task: None"),
    "limited": (in_record("configuration.options.limit", 5), "record.json: configuration.options.limit: 5"),
    "a lucky seed": (
        together(in_record("provenance.seed", 7), in_record("configuration.options.seed", 7)),
        "record.json: provenance.seed: 7: must be 0",
    ),
    "old scores": (
        in_record("configuration.judgement.scoring_version", 1),
        "record.json: configuration.judgement.scoring_version: 1",
    ),
    "fewer images than lines": (
        in_record("task.n_train", 35),
        "samples.jsonl:120: line: record.json says that",
    ),
    "fewer train images": (
        together(in_record("task.n_train", 35), in_rows("samples", lambda rows: rows[1:])),
        "record.json: task.n_train: 35: must be 36",
    ),
    "a small part called a half": (
        together(
            in_record("configuration.options.probing_half", True),
            in_record("task.n_train", 8),
            in_rows("samples", lambda rows: rows[28:]),
        ),
        "record.json: task.n_train: 8: no half of 36",
    ),
    "a picture in the configuration": (
        in_record("configuration.words", {f"part {place}": "A" * 10_000 for place in range(30)}),
        "record.json: configuration: '3",
    ),
    "no time": (in_record("provenance.finished", "soon"), "record.json: provenance.finished: 'soon'"),
    "no zone": (
        in_record("provenance.finished", "2026-01-02T10:00:00"),
        "record.json: provenance.finished: ",
    ),
    "from the future": (in_record("provenance.finished", "9999-01-02T10:00:00+00:00"), "is in the future"),
    "fewer to be trained on": (
        in_record("configuration.options.max_train", 9),
        "record.json: configuration.options.max_train: 9",
    ),
    "tuned but released": (
        in_record("tuning", TUNING),
        "record.json: condition: 'released': a tuned model has lora",
    ),
    "tuned on test": (
        together(in_record("tuning", TUNING | {"n_test_shared": 3}), in_record("condition", "lora")),
        "record.json: tuning.n_test_shared: 3: the model was tuned on test images",
    ),
    "probes fitted on what was tuned on": (
        together(in_record("tuning", TUNING | {"n_shared": 4}), in_record("condition", "lora")),
        "record.json: tuning.n_shared: 4: its probes were fitted on images",
    ),
    "probes perhaps fitted on what was tuned on": (
        together(in_record("tuning", TUNING | {"disjoint": False}), in_record("condition", "lora")),
        "record.json: tuning.n_shared: 0: its probes were fitted on images",
    ),
    "unknown key": (in_record("answers.cheated", 1), "answers.cheated: Extra inputs are not permitted"),
    "text for a number": (
        in_record("answers.accuracy.value", "0.85"),
        "answers.accuracy.value: Input should be",
    ),
    "truth for a number": (
        in_record("answers.outcomes.correct", True),
        "answers.outcomes.correct: Input should be",
    ),
    "not finite": (
        replaced("record.json", '"cka": 0.8', '"cka": NaN'),
        "similarity.cka: a number that is not finite",
    ),
    "overflow": (
        replaced("record.json", '"cka": 0.8', '"cka": 1e999'),
        "similarity.cka: a number that is not",
    ),
    "beyond 64 bits": (
        in_record("model.parameters", 10**30),
        "model.parameters: a whole number of more than 64",
    ),
    "no model so large": (
        in_record("model.parameters", 10**18),
        "record.json: model.parameters: 1000000000000000000",
    ),
    "negative parameters": (in_record("model.parameters", -1), "record.json: model.parameters: -1"),
    "a long string": (
        in_record("provenance.command", "A" * 1_000_000),
        "provenance.command: a string of 1000000",
    ),
    "a very long string": (
        in_record("model.revision", "A" * 10_000_000),
        "record.json: larger than 4 MB, the most that is read",
    ),
    "a long key": (
        in_record("configuration.x", {"A" * 1_000_000: 1}),
        "configuration.x: a key of 1000000 letters",
    ),
    "cut record": (cut("record.json", 0.5), "record.json: the file: no JSON"),
    "cut lines": (cut("samples.jsonl", 0.5), "samples.jsonl:"),
    "no lines": (cut("samples.jsonl", 0), "samples.jsonl: id: the test image 'test/00000' is missing"),
    "extra image": (
        in_rows("samples", extra),
        "samples.jsonl:121: line: record.json says that there are 120",
    ),
    "another image": (
        row("samples", 119, id="test/77777"),
        "samples.jsonl:120: id: 'test/77777' is no test image",
    ),
    "missing image": (
        drop("samples", id="test/00007"),
        "samples.jsonl: id: the test image 'test/00007' is missing",
    ),
    "image twice": (
        in_rows("samples", lambda rows: rows.__setitem__(119, rows[118])),
        "samples.jsonl:120: id: ",
    ),
    "other order": (
        in_rows("samples", lambda rows: rows.reverse()),
        "samples.jsonl: id: the images are not in the",
    ),
    "wrong label": (row("samples", 60, label=9), "samples.jsonl:61: label: 9, but the list of lumps has"),
    "other pixels": (row("samples", 60, pixel_hash="0"), "samples.jsonl:61: pixel_hash: '0', but the list"),
    "other group": (row("samples", 60, group="mine"), "samples.jsonl:61: group: 'mine', but the list"),
    "fewer train lines": (
        drop("samples", id="train/00003"),
        "record.json: task.n_train: 36 is declared, but",
    ),
    "a better answer": (
        each(
            "samples",
            lambda r: r.update(predicted=r["label"], outcome="correct"),
            outcome="wrong",
            split="test",
        ),
        ": predicted: ",
    ),
    "a better outcome": (
        each("samples", lambda r: r.update(outcome="correct"), outcome="wrong"),
        "outcome: 'correct', but it must be 'wrong'",
    ),
    "a better reading": (
        each("samples", lambda r: r.update(read=r["label"], generated_outcome="correct"), split="test"),
        ": read: ",
    ),
    "a text of a training image": (
        row("samples", 3, generated_outcome="error", error="x"),
        "samples.jsonl:4: text",
    ),
    "no scores": (
        row("samples", 63, scores=[-1.0, -1.0]),
        "samples.jsonl:64: scores: (-1.0, -1.0), but it must be",
    ),
    "not log": (
        row("samples", 63, scores=[0.9, 0.1, 0.0, 0.0]),
        "samples.jsonl:64: scores: (0.9, 0.1, 0.0, 0.0)",
    ),
    "sure of the right one": (
        each("samples", lambda r: r["scores"].__setitem__(r["label"], 0.0), split="test"),
        "but it must be logarithms of probabilities that add up to 1 at most",
    ),
    "sure of two letters": (
        each("samples", lambda r: r["orders"][-1].update(scores=[0.0, 0.0, -9.0, -9.0]), split="test"),
        ".scores: (0.0, 0.0, -9.0, -9.0), but it must be logarithms of probabilities that add up to 1",
    ),
    "no letters": (
        in_tests(orders=[]),
        "samples.jsonl:61: orders: empty, but transformers asks every prompt",
    ),
    "no letters for one": (row("samples", 70, orders=[]), "samples.jsonl:71: orders: "),
    "no texts": (
        in_tests(text=None, read=None, generated_outcome=None),
        "samples.jsonl:61: generated_outcome: null, but",
    ),
    "chosen orders": (
        each("samples", lambda r: r["orders"].pop(), split="test"),
        "samples.jsonl:61: orders: other",
    ),
    "a long text": (row("samples", 63, text="A" * 200_000), "samples.jsonl:64: text: 200000 letters"),
    "a text of letters that stand for many": (
        row("samples", 63, text="\ufdfa" * 5_000),
        "samples.jsonl:64: text: 90000 letters",
    ),
    "a very long line": (row("samples", 63, text="A" * 10_000_000), "samples.jsonl:64: line: "),
    "no probes' lines": (cut("probes.jsonl", 0), "record.json: health: declared, but probes.jsonl is empty"),
    "no layer": (drop("probes", module="llm"), "probes.jsonl: site: linear at llm.00.last is missing"),
    "a layer less": (drop("probes", site="llm.01"), "probes.jsonl: site: linear at llm.01.last is missing"),
    "no connector": (drop("probes", module="connector"), "probes.jsonl: site: linear at connector.00.mean"),
    "no floors": (
        drop("probes", readout="floor"),
        "probes.jsonl: site: the floors must be reference, pixels",
    ),
    "no reference": (
        drop("probes", site="reference"),
        "probes.jsonl: site: the floors must be reference, pixels",
    ),
    "floors alone": (drop("probes", readout="linear"), "probes.jsonl: readout: no layer was probed"),
    "no validation": (
        drop("probes", split="val"),
        "probes.jsonl: split: linear at vision.00.mean, seed 0, has test",
    ),
    "letters at some layers": (
        drop("probes", readout="answer_target", site="llm.00"),
        "probes.jsonl: site: answer_target is not at",
    ),
    "nothing consumed": (
        each("probes", lambda r: r.update(consumed=False)),
        "probes.jsonl: consumed: linear has it at 0 layers",
    ),
    "two consumed": (
        each("probes", lambda r: r.update(consumed=True), module="vision"),
        "consumed: linear has it at 2 layers",
    ),
    "a layer before the first": (
        each("probes", lambda r: r.update(layer=-1, site="llm.-1"), site="llm.00"),
        ": layer: -1, but it must be",
    ),
    "unknown readout": (
        each("probes", lambda r: r.update(readout="mine")),
        "probes.jsonl:1: readout: 'mine'",
    ),
    "a second seed": (row("probes", 0, seed=1), "probes.jsonl: split: linear at vision.00.mean, seed 1"),
    "a better prediction": (row("probes", 0, predictions=[0] * 24), "probes.jsonl:1: predictions["),
    "a huge prediction": (
        row("probes", 0, predictions=[10**30] * 24),
        "probes.jsonl:1: predictions: one is neither",
    ),
    "short predictions": (
        row("probes", 1, predictions=[0]),
        "probes.jsonl:2: predictions: 1, but val has 24 images",
    ),
    "probabilities": (
        row("probes", 0, scores=[[9.0, 0, 0, 0]] * 24),
        "probes.jsonl:1: scores: one is no log-",
    ),
    "no shares": (
        each(
            "probes",
            lambda r: r.update(scores=[[s - 1.0 for s in row] for row in r["scores"]]),
            site="llm.01",
        ),
        ": scores[0]: as shares of the classes they do not add up to 1",
    ),
    "another majority": (
        each(
            "probes",
            lambda r: r.update(
                scores=[row[::-1] for row in r["scores"]], predictions=[3 - p for p in r["predictions"]]
            ),
            site="majority",
        ),
        ": scores: must be logarithms of the classes' shares of the training images",
    ),
    "images not shown at some layers": (
        each(
            "probes",
            lambda r: r.update(scores=[[0.0] * 4, *r["scores"][1:]], predictions=[-1, *r["predictions"][1:]]),
            site="llm.01",
            readout="linear",
        ),
        ": predictions[0]: -1, but the image was shown at other layers",
    ),
    "letters of chosen images": (
        each(
            "probes",
            lambda r: r.update(
                targets=[-1, *r["targets"][1:]],
                scores=[[0.0] * 4, *r["scores"][1:]],
                predictions=[-1, *r["predictions"][1:]],
            ),
            readout="answer_target",
        ),
        "is one of the images that are asked for a letter",
    ),
    "other letters": (
        each("probes", lambda r: r.update(targets=[0] * len(r["targets"])), readout="answer_target"),
        "targets[",
    ),
    "no null": (
        in_record("permutation", None),
        "record.json: permutation: None: every run with probes has it",
    ),
    "a null beyond all": (
        in_record("permutation.highest", -99.0),
        "record.json: permutation.highest: -99.0: must be 0 to 1",
    ),
    "more than alike": (
        in_record("similarity.cka", 42.0),
        "record.json: similarity.cka: 42.0: must be 0 to 1",
    ),
    "time won": (
        in_record("cost.seconds.answer", -1e308),
        "record.json: cost.seconds.answer: -1e+308: no time",
    ),
    "no null at a layer": (
        in_record("probes.0.permutation_p", None),
        "record.json: probes[0].permutation_p: None: every linear probe",
    ),
    "no null of the reference": (
        in_record("floors.reference.permutation_p", None),
        "record.json: floors.reference.permutation_p: None",
    ),
    "no p": (
        in_record("floors.pixels.permutation_p", -0.5),
        "record.json: floors.pixels.permutation_p: -0.5",
    ),
    "null of other layers": (in_record("permutation.bands", {}), "record.json: permutation.bands: "),
    "a wide margin": (in_record("similarity.inert_margin", 2.0), "record.json: similarity.inert_margin: 2.0"),
    "no blank answer": (
        in_record("floors.blank.probabilities", []),
        "record.json: floors.blank.probabilities: ()",
    ),
    "floors alone in the record": (in_record("floors", None), "record.json: floors: null, though"),
    "no diagnosis": (
        in_record("diagnosis", None),
        "record.json: diagnosis: None is declared, but the lines give",
    ),
    "another verdict": (
        in_record("diagnosis.verdict", "healthy"),
        "record.json: diagnosis.verdict: 'healthy' is",
    ),
    "a smaller drop": (
        in_record("diagnosis.drops.0.value", -0.2),
        "record.json: diagnosis.drops[0].value: -0.2",
    ),
    "a better p": (
        in_record("diagnosis.drops.0.p", 0.9),
        "record.json: diagnosis.drops[0].p: 0.9 is declared",
    ),
    "better accuracy": (
        in_record("answers.accuracy.value", 0.99),
        "record.json: answers.accuracy.value: 0.99 is",
    ),
    "a narrow interval": (
        in_record("answers.accuracy.low", 0.8),
        "record.json: answers.accuracy.low: 0.8 is",
    ),
    "better AUROC": (in_record("answers.auroc.value", 0.999), "record.json: answers.auroc.value: 0.999 is"),
    "better health": (in_record("health.llm.fhs", 2.0), "record.json: health.llm.fhs: 2.0 is declared"),
    "a better layer": (
        in_record("probes.3.accuracy.value", 1.0),
        "record.json: probes[3].accuracy.value: 1.0 is",
    ),
    "a worse reference": (
        in_record("floors.reference.accuracy.value", 0.1),
        "record.json: floors.reference.accuracy",
    ),
    "letters": (
        in_record("answer_target.0.accuracy.value", 1.0),
        "record.json: answer_target[0].accuracy.value",
    ),
    "a hostile prompt": (
        in_record(
            "answers.prompt_accuracies",
            {"\x1b[31m<script>\n": {"value": 1.0, "low": 1.0, "high": 1.0, "n": 1}},
        ),
        "record.json: answers.prompt_accuracies.\\x1b[31m<script>\\n: {'value': 1.0",
    ),
    "the text as headline": (in_record("answers.headline_source", "generated"), "samples.jsonl:"),
}
