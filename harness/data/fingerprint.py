"""What identifies a data set: a fingerprint over pixels, labels and splits, and whether it is official."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.data.dataset import Sample
from harness.data.listing import ListedImage
from tasks.file_list import PublishedFile


def fingerprint(samples: Iterable[Sample]) -> str:
    """Return the sha256 over the lines `split label pixel_hash` of all samples, sorted.

    It is taken of the set that a task stands for: after splitting and after the task's subset, before
    `--limit` and `--max-train`. Names, folders and order do not enter; one pixel, one label (as an index)
    or one split changes it. JPEG files are compared as decoded, so a decoder that rounds differently
    gives another fingerprint.
    """
    lines = sorted(f"{s.split} {s.label} {s.pixel_hash}\n" for s in samples)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def is_published(
    images: Sequence[ListedImage],
    sha256: Sequence[str],
    class_names: Sequence[str],
    published: Sequence[PublishedFile],
) -> bool:
    """Tell whether the images are exactly the published files, byte for byte, each in its class and split."""
    found = Counter(
        (digest, class_names[image.label], image.split, image.patient_id or "")
        for image, digest in zip(images, sha256, strict=True)
    )
    wanted = Counter((p.sha256, p.label, p.split, p.patient_id.strip()) for p in published)
    return bool(published) and found == wanted


def md5_of(path: Path) -> str:
    """Return the md5 of a file; it names a published version and protects against nothing."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
