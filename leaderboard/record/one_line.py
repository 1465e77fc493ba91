"""Write what may come from anyone on one line: short, and without a character that a terminal would obey."""

from __future__ import annotations


def short(value: object, letters: int = 80) -> str:
    """Return a value on one line, cut where it is long; a string is quoted."""
    quoted = isinstance(value, str)
    text = ascii(str(value)[: letters + 1]) if quoted else printable(str(value), letters + 1)
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def printable(text: str, letters: int = 500) -> str:
    """Return a text with every character that cannot be printed escaped, cut where it is long."""
    shown = "".join(c if c.isprintable() else _escaped(c) for c in text[: letters + 1])
    return shown if len(shown) <= letters else f"{shown[: letters - 1]}…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
