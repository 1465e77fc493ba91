"""The faults that can be planted, and the verdict that each must get. Imports neither torch nor transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Degree = Literal["strong", "mild"]
Verdict = Literal["vision", "connector", "comprehension", "mapping", "healthy"]

DEGREES: tuple[Degree, ...] = ("strong", "mild")
BOTH: tuple[Degree, ...] = DEGREES
STRONG: tuple[Degree, ...] = ("strong",)
TARGETS: Mapping[Degree, float] = {"strong": 30.0, "mild": 7.5}  # points that answers are to fall by


@dataclass(frozen=True)
class Fault:
    """A fault: `expected` are the verdicts that name it right, `details` what must stand beside them.

    `adapted` says that what lies downstream was given the chance to get used to the fault; where it is
    False although the fault lies upstream, the model is an interface mismatch, which no rule is judged
    by. `parts` says what is changed in a strong and a mild model.
    """

    name: str
    expected: tuple[Verdict, ...]
    details: tuple[str, ...]
    degrees: tuple[Degree, ...]
    parts: str
    adapted: bool = True


_FAULTS = (
    Fault(
        "weak_vision",
        ("vision",),
        (),
        BOTH,
        "Gaussian noise on the vision tower's matrices; connector and decoder adapted.",
    ),
    Fault(
        "wrong_layer",
        ("vision",),
        ("wrong_layer",),
        BOTH,
        "Strong: the connector reads an earlier layer, where the configuration can say so. Mild, and "
        "where it cannot: the vision tower's last blocks are damaged, so that the layer before them would "
        "have been the better one to read. Connector and decoder adapted.",
    ),
    Fault(
        "lossy_connector",
        ("connector",),
        (),
        BOTH,
        "The connector's output is projected to a random subspace of few dimensions; decoder adapted.",
    ),
    Fault(
        "erased",
        ("comprehension",),
        ("erased",),
        BOTH,
        "Strong: every block's MLP takes the class out of the mean of the image tokens, and the value "
        "projections are nought. Mild: the last block's MLP adds noise, made of what the image otherwise "
        "says, to the class directions of the image tokens' mean and of the answer position; the head is "
        "fitted to it.",
    ),
    Fault(
        "blind",
        ("comprehension",),
        ("not_routed",),
        BOTH,
        "Strong: the decoder's value projections are nought. Mild: the last block's MLP adds noise, made "
        "of what the image otherwise says, to the class directions of the answer position; the head is "
        "fitted to it.",
    ),
    Fault(
        "not_used",
        ("comprehension",),
        ("not_used",),
        BOTH,
        "The head's label rows read class-free directions of the answer position beside, or for the most "
        "part instead of, those that carry the class.",
    ),
    Fault(
        "label_prior",
        ("mapping",),
        ("label_prior",),
        BOTH,
        "The head adds a constant to one label's score.",
    ),
    Fault(
        "swapped",
        ("mapping",),
        (),
        BOTH,
        "Strong: two labels' rows of the head are exchanged. Mild: one label's row takes a share of the "
        "other's, so that some of its images are answered with the wrong one of the two.",
    ),
    Fault(
        "permuted",
        ("mapping",),
        ("label_permutation",),
        STRONG,
        "The labels' rows of the head change places in one full cycle.",
    ),
    Fault(
        "unparsable",
        ("healthy",),
        ("parse_loss",),
        BOTH,
        "The model writes a token that names no class, always or for some images; the label scores are "
        "untouched, and so the verdict is that of the scores.",
    ),
    Fault(
        "constant",
        ("mapping",),
        ("label_prior",),
        STRONG,
        "The head answers every image with one label, by a constant that a map of the scores takes away.",
    ),
    Fault(
        "weak_vision_unadapted",
        ("vision",),
        (),
        BOTH,
        "Gaussian noise on the vision tower's matrices, nothing adapted.",
        adapted=False,
    ),
    Fault(
        "lossy_connector_unadapted",
        ("connector",),
        (),
        BOTH,
        "The connector's output is projected to a random subspace of few dimensions, nothing adapted.",
        adapted=False,
    ),
)

FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _FAULTS}
