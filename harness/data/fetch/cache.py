"""Where downloads, generated images and indices are kept."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_dir


def cache_folder() -> Path:
    """Return `HARNESS_CACHE_DIR`, else the user's cache folder; it need not exist yet."""
    chosen = os.environ.get("HARNESS_CACHE_DIR")
    return Path(chosen).expanduser() if chosen else Path(user_cache_dir("mllm-harness"))


def data_folder() -> Path:
    """Return the folder below the cache that downloads go to."""
    return cache_folder() / "data"
