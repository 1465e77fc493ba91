"""How figures look, in one place: colours for light and dark, a colour and a marker for every kind of value.

The colours are Okabe and Ito's, which colour-blind readers can tell apart; markers and dashes differ as well.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Literal

Scheme = Literal["light", "dark"]

COLOURS = {  # on light and on dark
    "ink": ("#1c1c1c", "#e8e8e8"),
    "soft": ("#555555", "#b0b4b8"),
    "edge": ("#d9d9d9", "#4a5056"),
    "paper": ("#ffffff", "#15181b"),
    "named": ("#fff4cc", "#3d3413"),
    "neutral": ("#9a9a9a", "#7c8186"),
    "blue": ("#0072B2", "#3D9BD9"),
    "sky": ("#56B4E9", "#8CCBF0"),
    "green": ("#009E73", "#1FBF92"),
    "vermillion": ("#D55E00", "#F0803C"),
    "purple": ("#CC79A7", "#CC79A7"),
    "orange": ("#E69F00", "#E69F00"),
}
SHAPES = {  # around 0,0
    "circle": '<circle r="3"/>',
    "plus": '<path d="M-1.5,-4h3v2.5H4v3H1.5V4h-3V1.5H-4v-3h2.5z"/>',
    "diamond": '<path d="M0,-4L4,0L0,4L-4,0z"/>',
    "square": '<rect x="-3" y="-3" width="6" height="6"/>',
    "triangle": '<path d="M0,-4L3.8,3H-3.8z"/>',
    "down": '<path d="M0,4L3.8,-3H-3.8z"/>',
    "cross": '<path class="cross" d="M-3,-3L3,3M3,-3L-3,3"/>',
    "upright": '<path class="upright" d="M0,-7V7"/>',
    "star": '<path d="M0,-6.4L1.6,-2L6.4,-1.9L2.6,1L4,5.6L0,2.9L-4,5.6L-2.6,1L-6.4,-1.9L-1.6,-2z"/>',
}
KINDS = {  # colour and marker of what is drawn as points, lines or bands
    "vision-mean": ("blue", "circle"),
    "vision-regrouped": ("sky", "plus"),
    "connector-mean": ("green", "diamond"),
    "llm-last": ("vermillion", "square"),
    "llm-mean": ("purple", "triangle"),
    "random": ("neutral", "cross"),
    "answer": ("ink", "star"),
    "score": ("soft", "circle"),
    "noise": ("orange", "upright"),
    "difference": ("ink", "diamond"),
    "blue": ("blue", "circle"),
    "vermillion": ("vermillion", "square"),
    "green": ("green", "triangle"),
    "sky": ("sky", "plus"),
    "orange": ("orange", "down"),
}
_STROKES = ("ceiling", "pixels", "chance", "majority", "highest", "tokens")
_BOXES = {"null": "null", "loss": "drop loss", "other": "drop other", "gain": "drop gain", "named": "named"}
_SINGLE = {
    "consumed": '<circle cx="13" cy="7" r="5.5" class="consumed"/>',
    "hollow": '<circle cx="13" cy="7" r="3.6" class="point hollow answer"/>',
    "value": '<path d="M2,7H24M2,4v6M24,4v6" class="ends answer"/>'
    '<path d="M13,3L17,7L13,11L9,7z" class="point answer"/>',
    "chance-mark": '<path d="M13,0V14" class="chance"/>',
    "majority-mark": '<path d="M13,0V14" class="majority"/>',
}
_HATCH = (
    '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<path d="M1,0V6" class="hatch-line"/></pattern>'
)
_VARIABLE = re.compile(r"var\(--(\w+)\)")


def page_style() -> str:
    """Return the rules of a page: the colours as its variables, light and dark, and the figures' own rules."""
    light, dark = (" ".join(f"--{name}: {two[n]};" for name, two in COLOURS.items()) for n in (0, 1))
    dark = f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    return f":root {{ color-scheme: light dark; {light} }}\n{dark}\n{_rules()}"


def style(scheme: Scheme) -> str:
    """Return the figures' rules in the colours of a scheme, for programs that know no variables."""
    place = ("light", "dark").index(scheme)
    return _VARIABLE.sub(lambda found: COLOURS[found[1]][place], _rules())


def sprite(content: str | None = None) -> str:
    """Return markers, hatch and the legend's symbols; given a figure's `content`, those alone that it uses."""
    symbols = {"hatch": _HATCH}
    for kind, (_, shape) in KINDS.items():
        symbols[f"dot-{kind}"] = f'<g id="dot-{kind}" class="shape {kind}">{SHAPES[shape]}</g>'
        line = "" if shape == "upright" else f'<path d="M1,7H25" class="line {kind}"/>'
        symbols[f"key-{kind}"] = _key(kind, f'{line}<use href="#dot-{kind}" x="13" y="7"/>')
    symbols |= {f"key-{name}": _key(name, f'<path d="M1,7H25" class="{name}"/>') for name in _STROKES}
    for name, box in _BOXES.items():
        symbols[f"key-{name}"] = _key(name, f'<rect x="2" y="2" width="22" height="10" class="{box}"/>')
    symbols |= {f"key-{name}": _key(name, drawn) for name, drawn in _SINGLE.items()}
    if content is None:
        return "".join(symbols.values())
    keys = {name: one for name, one in symbols.items() if f'"#{name}"' in content}
    used = content + "".join(keys.values())
    dots = {name: one for name, one in symbols.items() if f'"#{name}"' in used}
    hatch = _HATCH if '"named"' in used else ""
    return hatch + "".join((dots | keys).values())


def _key(name: str, drawn: str) -> str:
    return f'<symbol id="key-{name}" viewBox="0 0 26 14">{drawn}</symbol>'


def _rules() -> str:
    own = resources.files("leaderboard.figures").joinpath("figures.css").read_text(encoding="utf-8")
    return own + "".join(f".{kind} {{ color: var(--{colour}); }}\n" for kind, (colour, _) in KINDS.items())
