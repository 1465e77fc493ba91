"""The parts of a result that put a probe or an answer in proportion: floors, ceiling, and checks of the method."""

from __future__ import annotations

from leaderboard.record.parts import Interval, Part
from probes.sites import Module, Pool


class FloorPart(Part):
    """A predictor that no layer of the model enters, on the test images; `detail` says what it is.

    `permutation_p` is the probability of a balanced accuracy as high were there no class in the images;
    null where that means nothing.
    """

    name: str
    detail: str
    accuracy: Interval
    balanced_accuracy: Interval
    permutation_p: float | None = None


class BlankPart(Part):
    """What the model answers to a grey picture: the prior of its language over the classes.

    `predicted` is a class index; `probabilities` the softmax over the label scores; `accuracy` that of
    giving every test image this answer.
    """

    predicted: int
    probabilities: tuple[float, ...]
    accuracy: Interval


class LayerFloor(Part):
    """The linear probe of one vision layer whose encoder has random weights."""

    site: str
    balanced_accuracy: Interval


class FloorsPart(Part):
    """Floors and ceiling: what the images, or nothing at all, give without the model's layers.

    `key` identifies everything the first three depend on. `blank` and `random_vision` are null where they
    were not asked for or not possible; `blank_detail` and `random_vision_detail` say what was done, or why
    it was not.
    """

    key: str
    reference: FloorPart
    pixels: FloorPart
    majority: FloorPart
    blank: BlankPart | None = None
    blank_detail: str | None = None
    random_vision: tuple[LayerFloor, ...] | None = None
    random_vision_detail: str | None = None


class AnswerTargetPart(Part):
    """How well the last prompt token tells the letter of the right option, at one decoder layer.

    Asked on the letters prompt `prompt` with the options in an order drawn for each image. `majority` is
    the share of the commonest letter among the asked test images, which the best constant answer reaches.
    """

    site: str
    layer: int
    prompt: str
    accuracy: Interval
    majority: float


class SimilarityPart(Part):
    """How alike the connector's input and output see the same test images: descriptions, no verdict.

    `sites` are the two layers as "site.pool". `cka` is the linear centred kernel alignment, null where a
    layer gives every image the same features, `cka_debiased` its unbiased estimate; `knn_overlap` the
    share of the nearest `neighbours` that the layers have in common, of which unrelated layers have
    `knn_chance`. `connector_inert` is true where two one-sided tests at 5% place the difference of A
    between the probes on both within +-`inert_margin`, false where one places it outside, else null.
    """

    sites: tuple[str, str]
    images: int
    cka: float | None
    cka_debiased: float | None
    knn_overlap: float
    knn_chance: float
    neighbours: int
    connector_inert: bool | None
    inert_margin: float


class ProjectionPart(Part):
    """The check that differences between layers are not differences of their widths.

    Linear probes on the standardised features of every site after one seeded Gaussian projection to
    `dimension` numbers, the same for all sites. Both dictionaries go by "site.pool";
    `largest_difference` is the largest change of balanced accuracy against the probe on all features,
    projected minus plain, at the site `largest_at`.
    """

    dimension: int
    seed: int
    balanced_accuracies: dict[str, float]
    largest_difference: float
    largest_at: str


class ErasurePart(Part):
    """What the answers lose with the class erased at one place (LEACE, fitted on the training features).

    `margin_drop` is the mean, over the images, of what the label margin falls by: the right label's score less
    the best other one, in nats; its 95% interval resamples whole groups. `null` is that mean for each random
    erasure of equal `rank`, fitted on the same features; `p` = (1 + null values at or above `margin_drop`) /
    (1 + their number), one-sided and not adjusted for the number of places. `accuracy_drop` is what the share
    of right answers falls by, `null_accuracy_drop` its mean over the random erasures.
    """

    rank: int
    margin_drop: Interval
    null: tuple[float, ...]
    p: float
    accuracy_drop: float
    null_accuracy_drop: float


class PatchingPart(Part):
    """What the answers become with an image's tokens at one place replaced by those of a donor image.

    `shift` is the mean change, in nats, of the score of the donor's class less that of the image's own class,
    the donor being of another class; `null` the same change, of the same two scores, with a donor of the own
    class; 95% intervals resample whole groups. `p` is one-sided for a shift no larger than the null's: each
    image's two donors change places at random, a group's together. `taken_over` is the share of images whose
    highest score becomes that of the donor's class, `null_taken_over` the share for which it is that same
    class with the donor of the own class. Donors are of other groups, and their tokens correspond one to one.
    """

    shift: Interval
    null: Interval
    p: float
    taken_over: float
    null_taken_over: float


class CausalLocusPart(Part):
    """The causal check at one place: of pool "mean" all image tokens are changed, of "last" the last prompt token.

    `patching` is null where no image has a donor of another class and one of its own.
    """

    site: str
    module: Module
    layer: int
    pool: Pool
    erasure: ErasurePart
    patching: PatchingPart | None


class CausalPart(Part):
    """What the answers to the primary prompt depend on, seen by changing hidden states (`--causal`).

    `images` test images were asked, stratified by class and chosen by `seed`; `erasures` random erasures are
    the null at every place. `connector_is_only_way` is false where image features enter the decoder elsewhere
    too, so that what is changed at the connector can come in there; null where no two pictures correspond, so
    that it could not be tried. `detail` says all this, and what was left out, in words.
    """

    images: int
    seed: int
    erasures: int
    connector_is_only_way: bool | None
    detail: str
    loci: tuple[CausalLocusPart, ...]
