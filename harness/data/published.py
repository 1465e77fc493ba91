"""Whether a data set is, byte for byte, the published one."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness.data.listing import ListedImage
from tasks.file_list import PublishedFile


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
