"""Whether a class that a text mentions is asserted, denied, or neither, after NegEx.

NegEx (Chapman et al. 2001, J Biomed Inform 34:301) finds negations in clinical text by phrases before and
after a term. Here a third outcome is added: where a negation stands near a mention without clearly
belonging to it, the mention is unclear, and nothing is read from the text. Only English is known.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

Stance = Literal["asserted", "denied", "unclear"]

MASK = "\x00"  # stands for every character of a mention, so that words of a class are no words here

_BEFORE = 160  # characters looked at on either side of a mention; keeps long texts linear
_AFTER = 80

# Phrases with a negation that deny nothing.
_HARMLESS = re.compile(
    r"\bno doubt\b|\bwithout (?:a |any )?doubt\b|\bnot (?:only|just|merely)\b|\bno\. ?\d", re.I
)

_DENIAL = (
    r"(?:\bno|\bnot|\bcannot|\bnever|\bneither|\bnor|\w+n't|\bwithout|\black(?:s|ing)?(?: of)?|\babsence of"
    r"|\brather than|\binstead of|\bother than|\bfree (?:of|from)|\bnegative for|\brul(?:es?|ed|ing) out"
    r"|\bexclud(?:es?|ed|ing)|\b(?:un|less )likely|\bfar from|\bhardly|\bbarely)(?!\w)"
)
_DOUBT = r"\b(?:if|whether|unable|uncertain|unclear|unsure|undetermined|impossible|difficult)\b"
_FILLER = (
    r"(?:an?|the|any|this|it|is|be|been|being|to|of|for|as|with|evidence|signs?|findings?|features?|indicat\w+"
    r"|suggest\w*|suspicio\w+|consistent|compatible|typical|likely|clear|clearly|definite|definitely"
    r"|obvious|obviously|necessarily|really|actually|visible|show|shows|seem|appear|look)"
)
_GAP = r"[^\w.;!?,]+"
_DENIED_BEFORE = re.compile(rf"(?:{_DENIAL}(?:{_GAP}{_FILLER})*{_GAP}|\bnon{_GAP})\Z", re.I)
_JOINED = re.compile(rf"{MASK},? ?(?:/|\b(?:or|nor|and/or)\b) ?(?:(?:an?|the|any) )?\Z", re.I)
_NEAR = re.compile(rf"{_DENIAL}|{_DOUBT}", re.I)
_REACH = 6  # words between a negation and what it may deny
_SENTENCE_END = re.compile(r"[.;!?]")
_BUT = re.compile(r"\b(?:but|however|although|though|so|thus|therefore|hence|and (?:the|it|is|this))\b", re.I)
_OR = re.compile(r"\bn?or\b", re.I)

_VERB = (
    r"(?:is|are|was|were|be|been|being|can|could|has|have|had|does|do|did|appears?|seems?|looks?"
    r"|highly|very|quite)"
)
_DENIED_AFTER = re.compile(
    rf"(?:[ :-]+\w+){{0,2}}?[ :-]+"
    rf"(?:{_VERB} )*(?:(?:absent|(?:un|less )likely|excluded|ruled out|negative(?! for\b))\b"
    rf"|not (?:seen|present|identified|detected|visible|observed|found|evident|likely|noted)\b)"
    rf"|(?:[ :-]+\w+){{0,2}}?[ ]+(?:{_VERB} )*(?:{_VERB} not\b|cannot\b|\w+n't\b)"
    rf"|(?: ?[:=-] ?|, | )(?:no|false|absent)(?= ?(?:[.,;!)\n]|\Z))",
    re.I,
)


def soften(text: str) -> str:
    """Blank out phrases such as "no doubt", which hold a negation and deny nothing."""
    return _HARMLESS.sub(lambda found: " " * len(found.group()), text)


def stance(text: str, start: int, end: int, previous: Stance | None) -> Stance:
    """Tell how a text stands to its mention at `start` to `end`.

    Every mention in `text` is masked with `MASK`. `previous` is the stance towards the mention before
    this one in the text: "no benign or malignant lesion" denies both.
    """
    return _stance(text[max(0, start - _BEFORE) : start], text[end : end + _AFTER], previous)


@lru_cache(maxsize=4096)  # a model that loops says the same over and over
def _stance(before: str, after: str, previous: Stance | None) -> Stance:
    if _DENIED_BEFORE.search(before) or _DENIED_AFTER.match(after):
        return "denied"
    if previous is not None and previous != "asserted" and _JOINED.search(before):
        return previous
    unclear = any(not _is_over(near.group(), before[near.end() :]) for near in _NEAR.finditer(before))
    return "unclear" if unclear else "asserted"


def _is_over(negation: str, between: str) -> bool:
    """Tell whether a negation's reach has ended in the text between it and the mention."""
    if _SENTENCE_END.search(between) or _BUT.search(between) or len(between.split()) > _REACH:
        return True
    if between.startswith(","):
        return negation.lower() == "no"  # "No, malignant", but not "not, it seems, malignant"
    clause, comma, rest = between.rpartition(",")
    return (
        bool(comma) and MASK in clause and not _OR.search(rest)
    )  # "not benign, …", but not "no cyst, mass or …"
