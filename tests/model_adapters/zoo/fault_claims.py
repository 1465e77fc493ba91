"""What must hold of a model with each fault, whatever planted it: one function a fault.

Each takes the healthy model that was measured, and the models with the fault, strong first, then mild.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from model_adapters.zoo.architecture import TinyModel
from model_adapters.zoo.faults.bench import blocks_of, connected, pass_through, scores, seen
from model_adapters.zoo.faults.plant import Planted
from model_adapters.zoo.faults.subject import Subject
from model_adapters.zoo.training import dialogue

CLASSES = 5


def changed(part: nn.Module, same: nn.Module) -> list[str]:
    """Return which weights of a part are not those of the same part in another model."""
    pairs = zip(part.named_parameters(), same.parameters(), strict=True)
    return [name for (name, now), before in pairs if not torch.equal(now, before)]


def parts_changed(subject: Subject, planted: Planted) -> set[str]:
    parts = ("vision", "connector", "decoder", "head")
    return {part for part in parts if changed(getattr(planted.tiny, part), getattr(subject.tiny, part))}


@cache
def asked(subject: Subject, of: Subject | Planted) -> Tensor:
    """Return the label scores (n, classes) of the images held out, seen through the model's own tower."""
    tiny = of.tiny
    bench = subject.bench.of(subject.bench.held_out)
    passed = pass_through(tiny, bench, tokens=seen(tiny, bench.source, bench.indices))
    return scores(tiny, bench, passed.final)


def distance(one: Subject | Planted, other: Subject | Planted) -> float:
    """Return how far apart all weights of two models are."""
    pairs = zip(one.tiny.model.parameters(), other.tiny.model.parameters(), strict=True)
    return float(torch.stack([(a - b).detach().square().sum() for a, b in pairs]).sum().sqrt())


def both(subject: Subject, planted: Planted) -> tuple[Tensor, Tensor]:
    return asked(subject, subject), asked(subject, planted)


def accuracy(subject: Subject, given: Tensor) -> float:
    return subject.bench.right(given.argmax(1))


def spread(values: Tensor) -> float:
    return float((values.max(0).values - values.min(0).values).max())


def written(subject: Subject, tiny: TinyModel, count: int) -> list[str]:
    """Return what the model writes about images held out, as a user's program would ask it."""
    bench = subject.bench.of(subject.bench.held_out)
    processor = tiny.processor
    pictures = [Image.fromarray(bench.source.images[k]).convert("RGB") for k in bench.indices[:count]]
    text = dialogue.render(tiny, bench.question)
    inputs = processor(images=pictures, text=[text] * count, return_tensors="pt")
    with torch.no_grad():
        ids = tiny.model.generate(**inputs, max_new_tokens=4, do_sample=False)
    return [
        t.strip()
        for t in processor.tokenizer.batch_decode(
            ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
    ]


def weak_vision(subject: Subject, strong: Planted, mild: Planted) -> None:
    for planted in (strong, mild):
        touched = changed(planted.tiny.vision, subject.tiny.vision)
        assert all(planted.tiny.vision.get_parameter(name).ndim == 2 for name in touched)
        blocks = len(blocks_of(planted.tiny.vision))
        assert {
            block for block in range(blocks) if any(f".{block}." in f".{name}" for name in touched)
        } == set(range(blocks))
        assert parts_changed(subject, planted) == {"vision", "connector", "decoder", "head"}
    assert strong.severity > mild.severity > 0


def unadapted_vision(subject: Subject, strong: Planted, mild: Planted) -> None:
    for planted in (strong, mild):
        assert parts_changed(subject, planted) == {"vision"}
    assert strong.severity > mild.severity > 0
    assert strong.drop > mild.drop


def damaged_last_blocks(subject: Subject, strong: Planted, mild: Planted) -> None:
    for planted in (strong, mild):
        mine, theirs = blocks_of(planted.tiny.vision), blocks_of(subject.tiny.vision)
        assert changed(mine[-1], theirs[-1])
        assert not changed(mine[0], theirs[0])


def earlier_layer(subject: Subject, strong: Planted) -> None:
    assert subject.tiny.model.config.vision_feature_layer == -1
    assert strong.tiny.model.config.vision_feature_layer == -1 - strong.severity < -1
    assert "vision" not in parts_changed(subject, strong)
    states = strong.tiny.vision(_pixels(subject), output_hidden_states=True).hidden_states
    assert torch.equal(strong.tiny.see(_pixels(subject)), states[int(-1 - strong.severity)])


def lossy(subject: Subject, strong: Planted, mild: Planted) -> None:
    healthy = _dimensions(subject, subject.tiny)
    for planted in (strong, mild):
        assert _dimensions(subject, planted.tiny) < healthy / 2
        assert "vision" not in parts_changed(subject, planted)
        assert "decoder" in parts_changed(subject, planted)


def unadapted_lossy(subject: Subject, strong: Planted, mild: Planted) -> None:
    for planted in (strong, mild):
        assert parts_changed(subject, planted) == {"connector"}
        assert _dimensions(subject, planted.tiny) <= planted.severity
    assert strong.severity < mild.severity < subject.tiny.decoder_width


def erased(subject: Subject, strong: Planted, mild: Planted) -> None:
    bench = subject.bench
    healthy = bench.held(subject.passed.states_image)
    gone = pass_through(strong.tiny, bench)
    apart = _between(subject, gone.states_image) / _between(subject, subject.passed.states_image)
    assert apart < 1e-4
    assert bench.held(gone.states_image) < 30 < 60 < healthy
    assert spread(asked(subject, strong)) < 1e-3
    assert bench.held(pass_through(mild.tiny, bench).states_image) < healthy - 2
    for planted in (strong, mild):
        assert not {"vision", "connector"} & parts_changed(subject, planted)


def blind(subject: Subject, strong: Planted, mild: Planted) -> None:
    before, after = both(subject, strong)
    assert spread(before) > 1
    assert spread(after) < 1e-3  # no image makes any difference
    assert (
        subject.bench.held(pass_through(strong.tiny, subject.bench).states_image) > 60
    )  # though it is there
    assert 20 < accuracy(subject, asked(subject, mild)) < subject.answers - 3
    image = pass_through(mild.tiny, subject.bench).states_image
    assert subject.bench.held(image) > subject.bench.held(subject.passed.states_image) - 3


def not_used(subject: Subject, strong: Planted, mild: Planted) -> None:
    for planted in (strong, mild):
        assert parts_changed(subject, planted) == {"head"}  # so what it reads tells the class as before
    assert subject.bench.held(subject.passed.final) > 70
    before, ignoring = both(subject, strong)
    assert accuracy(subject, ignoring) < 35
    assert subject.bench.held(_all_scores(subject, strong)) < 40  # no relabelling brings it back
    assert accuracy(subject, ignoring) < accuracy(subject, asked(subject, mild)) < accuracy(subject, before)


def label_prior(subject: Subject, strong: Planted, mild: Planted) -> None:
    for planted in (strong, mild):
        label, raised = _one_column(subject, planted)
        assert raised.mean() == pytest.approx(planted.severity, rel=0.1)
        assert raised.std() < 0.1 * raised.mean()  # nearly the same for every image
        before, after = both(subject, planted)
        assert (after.argmax(1) == label).sum() > (before.argmax(1) == label).sum()
    assert strong.severity > mild.severity


def constant(subject: Subject, strong: Planted) -> None:
    label, _ = _one_column(subject, strong)
    assert (asked(subject, strong).argmax(1) == label).all()


def swapped(subject: Subject, strong: Planted, mild: Planted) -> None:
    order = _relabelling(subject, strong)
    assert sum(order[k] != k for k in range(CLASSES)) == 2
    label, _ = _one_column(subject, mild)
    before, after = both(subject, mild)
    moved = before.argmax(1) != after.argmax(1)
    assert len({int(k) for k in before.argmax(1)[moved]}) >= 1
    assert label in set(after.argmax(1)[moved].tolist()) | set(before.argmax(1)[moved].tolist())
    assert 3 < mild.drop < strong.drop


def permuted(subject: Subject, strong: Planted) -> None:
    order = _relabelling(subject, strong)
    assert sorted(order) == list(range(CLASSES))
    place, seen_places = 0, []
    for _ in range(CLASSES):
        seen_places.append(place)
        place = order[place]
    assert (place, sorted(seen_places)) == (0, list(range(CLASSES)))  # one full cycle
    before, after = both(subject, strong)
    assert torch.equal(torch.tensor(order)[after.argmax(1)], before.argmax(1))


def unparsable(subject: Subject, strong: Planted, mild: Planted) -> None:
    for planted in (strong, mild):
        before, after = both(subject, planted)
        assert torch.equal(before, after)
        assert parts_changed(subject, planted) == {"head"}
    words = subject.bench.source.wordings
    assert all(text in words for text in written(subject, subject.tiny, 40))
    assert not any(word in text for text in written(subject, strong.tiny, 40) for word in words)
    some = sum(text not in words for text in written(subject, mild.tiny, 120))
    assert 0 < some < 60


def _pixels(subject: Subject) -> Tensor:
    images = torch.from_numpy(subject.bench.source.images[:4]).float() / 127.5 - 1.0
    return images[:, None].expand(-1, 3, -1, -1)


def _all_scores(subject: Subject, planted: Planted) -> Tensor:
    return scores(planted.tiny, subject.bench, pass_through(planted.tiny, subject.bench).final)


def _dimensions(subject: Subject, tiny: TinyModel) -> int:
    """Return how many dimensions the connector's outputs fill."""
    outputs = connected(tiny, subject.bench.tokens[:60]).flatten(0, 1).double()
    sizes = torch.linalg.svdvals(outputs - outputs.mean(0))
    return int((sizes > 1e-4 * sizes[0]).sum())


def _between(subject: Subject, states: Tensor) -> float:
    """Return how far apart class means lie, over the images that faults are fitted on."""
    bench = subject.bench
    x, labels = states[bench.fit].double(), bench.labels[bench.fit]
    means = torch.stack([x[labels == k].mean(0) for k in range(CLASSES)])
    return float((means - means.mean(0)).square().sum())


def _one_column(subject: Subject, planted: Planted) -> tuple[int, Tensor]:
    """Return the only label whose score changed, and by how much for each image."""
    before, after = both(subject, planted)
    (label,) = [k for k in range(CLASSES) if not torch.equal(before[:, k], after[:, k])]
    assert parts_changed(subject, planted) == {"head"}
    return label, after[:, label] - before[:, label]


def _relabelling(subject: Subject, planted: Planted) -> list[int]:
    """Return which label's score each label has now."""
    before, after = both(subject, planted)
    assert parts_changed(subject, planted) == {"head"}
    return [
        next(k for k in range(CLASSES) if torch.allclose(after[:, new], before[:, k], atol=1e-5))
        for new in range(CLASSES)
    ]


# Fault -> the family that it is looked at in, and what must hold.
CLAIMS: Mapping[str, tuple[str, Callable[..., None]]] = {
    "weak_vision": ("gemma3", weak_vision),
    "wrong_layer": ("gemma3", damaged_last_blocks),
    "lossy_connector": ("gemma3", lossy),
    "erased": ("qwen2.5-vl", erased),
    "blind": ("qwen2.5-vl", blind),
    "not_used": ("gemma3", not_used),
    "label_prior": ("gemma3", label_prior),
    "swapped": ("gemma3", swapped),
    "permuted": ("gemma3", permuted),
    "unparsable": ("qwen2.5-vl", unparsable),
    "constant": ("gemma3", constant),
    "weak_vision_unadapted": ("gemma3", unadapted_vision),
    "lossy_connector_unadapted": ("gemma3", unadapted_lossy),
}
