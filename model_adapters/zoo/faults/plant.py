"""Plant one fault into a trained model, as severely as asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from model_adapters.catalog.faults import FAULTS, TARGETS, Degree, Fault
from model_adapters.zoo.architecture import TinyModel
from model_adapters.zoo.faults import answering, inside, upstream
from model_adapters.zoo.faults.subject import FaultRequest, FaultyModel, Subject

_PLANTERS: Mapping[str, Callable[[Subject, FaultRequest], FaultyModel]] = {
    "weak_vision": upstream.weak_vision,
    "wrong_layer": upstream.wrong_layer,
    "lossy_connector": upstream.lossy_connector,
    "erased": inside.erased,
    "blind": inside.blind,
    "not_used": answering.not_used,
    "label_prior": answering.label_prior,
    "swapped": answering.swapped,
    "permuted": answering.permuted,
    "unparsable": answering.unparsable,
    "constant": answering.constant_answer,
    "weak_vision_unadapted": upstream.weak_vision_unadapted,
    "lossy_connector_unadapted": upstream.lossy_connector_unadapted,
}


@dataclass(frozen=True, eq=False)
class Planted:
    """A model with one fault.

    `severity` is in the fault's own `unit`. `healthy` is the balanced accuracy of the healthy model's
    answers and `drop` what they lost, both in points, on images of the training material that nothing was
    fitted on. For `unparsable` it is the written answers that lose.
    """

    tiny: TinyModel = field(repr=False)
    fault: Fault
    degree: Degree
    severity: float
    unit: str
    healthy: float
    drop: float


def plant(
    subject: Subject, fault: str, degree: Degree, *, target: float | None = None, seed: int = 0
) -> Planted:
    """Return a copy of the subject's model with a fault; the subject itself stays as it is.

    Args:
        subject: from `make_subject`; one serves any number of faults.
        fault: a name of `FAULTS`.
        degree: "strong" costs 20 points or more of the answers, "mild" about `target`.
        target: points that the answers are to fall by where the fault can be dosed; None takes `TARGETS`.
        seed: of the noise, the subspace, the labels that are chosen. The same seed, subject and number
            of torch threads give the same weights.

    Raises:
        ValueError: there is no such fault, or not in this degree.
    """
    if fault not in FAULTS:
        raise ValueError(f"zoo: unknown fault {fault!r}; known: {', '.join(FAULTS)}")
    kind = FAULTS[fault]
    if degree not in kind.degrees:
        raise ValueError(f"zoo: the fault {fault!r} comes {' and '.join(kind.degrees)}, not {degree!r}")
    order = FaultRequest(degree, TARGETS[degree] if target is None else target, seed)
    damaged = _PLANTERS[fault](subject, order)
    damaged.tiny.model.eval()
    return Planted(damaged.tiny, kind, degree, damaged.severity, damaged.unit, subject.answers, damaged.drop)
