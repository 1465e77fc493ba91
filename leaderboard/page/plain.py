"""Strings of a record as a page can show them: of bounded length, every character in its place and visible.

Escaping is the templates' part. Here a name of ten megabytes is cut, and characters that cannot be seen, or that
reorder what stands around them, are written out as their codes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

NAME, TEXT, LONG = 72, 1_000, 4_000  # letters that are shown of a name, a sentence, a citation

_ACCENT = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_STACKED = re.compile(f"({_ACCENT}{{3}}){_ACCENT}+")
_KEY = re.compile(r"[^a-z0-9]+")


def plain(text: str, most: int = TEXT) -> str:
    """Return at most `most` letters of a text and, where it was longer, its length; unseen characters as codes.

    Line feeds and tabs stay. Of accents piled up on one letter the first three do.
    """
    cut = text if len(text) <= most else text[:most]
    shown = _STACKED.sub(r"\1", cut if cut.isprintable() else "".join(map(_seen, cut)))
    return shown if cut is text else f"{shown}… ({len(text):,} characters)"


def _seen(letter: str) -> str:
    if letter in "\n\t" or unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return letter
    return f"\\u{ord(letter):04x}"


def keys(names: Iterable[str]) -> dict[str, str]:
    """Return a key of small letters, digits and hyphens for every name, each used once.

    Keys stand in identifiers and in the page's address, where no name of a record does. A name keeps its key
    when others come, but for names that differ in nothing else than case and signs.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(set(names)):
        stem = _KEY.sub("-", name[:NAME].lower()).strip("-") or "unnamed"
        key, number = stem, 1
        while key in taken:
            number += 1
            key = f"{stem}-{number}"
        taken.add(key)
        found[name] = key
    return found
