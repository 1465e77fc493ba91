"""Free text is read as a class only where it asserts exactly one; everything else is no answer."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.scoring.reading import outcome, read_answers, read_class, wordings_of
from tasks import catalog
from tests.harness.small_tasks import make_task

LESION = make_task(("N", "normal", "no lesion"), ("B", "benign"), ("M", "malignant"))
NORMAL, BENIGN, MALIGNANT = 0, 1, 2
CHEST = make_task(("NORMAL", "normal lungs", "normal", "no pneumonia"), ("PNEUMONIA", "pneumonia"))
HEALTHY, PNEUMONIA = 0, 1
CT = make_task(("COVID", "COVID-19"), ("NonCOVID", "no COVID-19", "non-COVID", "non-COVID-19"))
COVID, NOT_COVID = 0, 1
BREAST = make_task(("malignant", "malignant"), ("normal or benign", "benign", "normal", "not malignant"))
COLON = make_task(
    ("adipose", "adipose tissue"),
    ("normal colon mucosa", "normal colon mucosa", "normal mucosa"),
    ("normal", "normal"),
    ("stroma", "cancer-associated stroma", "stroma"),
)

LESION_REPLIES = [
    # the label alone, decorated
    ("benign", BENIGN),
    ("Benign.", BENIGN),
    ("MALIGNANT", MALIGNANT),
    (" \n benign \n", BENIGN),
    ('"benign"', BENIGN),
    ("**Benign**", BENIGN),
    ("__benign__", BENIGN),
    (r"\boxed{benign}", BENIGN),
    ("benign\u200b", BENIGN),
    ("be\u00adnign", BENIGN),  # a soft hyphen
    ("ＢＥＮＩＧＮ", BENIGN),
    # in a sentence
    ("This breast ultrasound shows a malignant lesion.", MALIGNANT),
    ("Malignant. The margins are spiculated, hence malignant.", MALIGNANT),
    ("There is no doubt that this is benign", BENIGN),
    # nothing, or no class
    ("", None),
    ("B", None),
    ("(C)", None),
    ("I'm unsure, A or M", None),  # a name of one letter is no word to look for
    ("I see an ultrasound image.", None),
    ("abnormal", None),
    ("malignancy", None),
    # more than one
    ("benign or malignant", None),
    ("normal, benign, malignant", None),
    ("It is either benign or it is malignant.", None),
    ("Benign\nMalignant", None),
    ("This is not only benign but malignant", None),
    # denied
    ("not malignant", None),
    ("The image is not normal; it shows malignant tissue", MALIGNANT),
    ("benign, not malignant", BENIGN),
    ("benign (not malignant)", BENIGN),
    ("benign rather than malignant", BENIGN),
    ("not benign but malignant", MALIGNANT),
    ("Not benign, malignant.", MALIGNANT),
    ("No, malignant", MALIGNANT),
    ("isn't malignant", None),
    ("isn’t malignant", None),
    ("It cannot be benign", None),
    ("Far from benign", None),
    ("no evidence of a malignant lesion", None),
    ("not benign or malignant", None),
    ("Neither benign nor malignant", None),
    ("No benign or malignant lesion; normal", NORMAL),
    ("Malignant is unlikely. Benign.", BENIGN),
    ("benign, malignant unlikely", BENIGN),
    ("malignant unlikely benign", None),
    ("Malignant: no. Benign: yes.", BENIGN),
    ("Malignant cannot be excluded", None),
    ("Malignant features are not seen", None),
    ("less likely benign, more likely malignant", MALIGNANT),
    ("Answer: benign. It shows no malignant features.", BENIGN),
    # perhaps denied
    ("The mass does not look at all benign", None),
    ("No mass, nodule or malignant lesion", None),
    ("No benign lesion, cyst or malignant mass", None),
    ("Benign, I am unsure whether malignant", None),
    ("Not sure, benign or malignant", None),
    ("not, it seems, benign", None),
    ("I am unable to say if it is benign", None),
    ("I cannot determine whether it is benign", None),
    ("not benign or malignant, perhaps normal", NORMAL),
    # contradictory, asked about
    ("Malignant. Not malignant.", None),
    ("benign?", None),
    ("Is it benign? Malignant.", MALIGNANT),
    # thinking and tags
    ("<think>benign, I think</think>malignant", MALIGNANT),
    ("it could be benign </think> malignant", MALIGNANT),
    ("<think>it is benign, because", None),
    ("<unused94>thought benign<unused95>malignant", MALIGNANT),
    ("Could be benign. <answer>malignant</answer>", MALIGNANT),
    ("benign <answer></answer>", None),
    ("<answer>benign</answer> <answer>malignant</answer>", None),
    ("<ANSWER> Benign", BENIGN),
]


@pytest.mark.parametrize(("reply", "read"), LESION_REPLIES)
def test_a_reply_about_a_lesion(reply: str, read: int | None) -> None:
    assert read_class(reply, wordings_of(LESION)) == read


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ("No pneumonia.", HEALTHY),
        ("There is no pneumonia, normal lungs", HEALTHY),
        ("no evidence of pneumonia", None),
        ("No\nsigns\nof\npneumonia", None),
        ("No signs of pneumonia; normal.", HEALTHY),
        ("normal\n\nno signs of pneumonia", HEALTHY),
        ("Normal lungs, negative for pneumonia", HEALTHY),
        ("normal lungs negative for pneumonia", HEALTHY),
        ("Pneumonia: no", None),
        ("Pneumonia: yes", PNEUMONIA),
        ("pneumonia is absent", None),
        ("The heart is normal. There is pneumonia.", None),
    ],
)
def test_a_reply_about_a_chest_radiograph(reply: str, read: int | None) -> None:
    assert read_class(reply, wordings_of(CHEST)) == read


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ("COVID", COVID),
        ("covid-19", COVID),
        ("Covid 19", COVID),
        ("NonCOVID", NOT_COVID),
        ("non-COVID-19", NOT_COVID),
        ("Non COVID", NOT_COVID),
        ("non\u2011covid", NOT_COVID),
        ("no COVID-19", NOT_COVID),
        ("no signs of COVID-19", None),
        ("COVID-19 negative", None),
        ("COVIDien", None),
    ],
)
def test_a_reply_about_covid(reply: str, read: int | None) -> None:
    assert read_class(reply, wordings_of(CT)) == read


@pytest.mark.parametrize(
    ("task", "reply", "read"),
    [
        (BREAST, "normal or benign", 1),
        (BREAST, "normal", 1),
        (BREAST, "benign, normal tissue", 1),
        (BREAST, "not malignant", 1),
        (BREAST, "normal or benign or malignant", None),
        (COLON, "normal colon mucosa", 1),
        (COLON, "Normal-colon\nmucosa", 1),
        (COLON, "normal", 2),
        (COLON, "cancer associated stroma", 3),
        (COLON, "not adipose tissue but stroma", 3),
        (COLON, "normal_mucosa", 1),
    ],
)
def test_the_longest_wording_wins_in_any_spelling(task, reply: str, read: int | None) -> None:
    assert read_class(reply, wordings_of(task)) == read


@pytest.mark.parametrize(
    "text",
    [
        "benign " * 14_000,
        "benign or malignant? " * 5_000,
        "not benign or " * 7_000,
        "no " * 33_000,
        "no" + " " * 100_000 + "benign",
        "no a " * 20_000 + "benign",
        "benign " + "is " * 33_000,
        "<think>" * 14_000,
        "x-" * 50_000,
        "'" * 100_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_a_reply_of_100_kb_is_read_in_time(text: str) -> None:
    started = time.perf_counter()
    read_class(text, wordings_of(LESION))
    assert time.perf_counter() - started < 3


@pytest.mark.parametrize("name", catalog.shipped_names())
@pytest.mark.parametrize(
    "form", ["{}", "{}.", "**{}**", "The answer is {}.", "This image shows {}", "<answer>{}</answer>"]
)
def test_every_word_of_every_shipped_task_is_read_as_its_class(name: str, form: str) -> None:
    task = catalog.load(name)
    for index, cls in enumerate(task.classes):
        for word in (cls.name, cls.wording, *cls.aliases):
            for spelling in (word, word.upper(), word.capitalize()):
                assert read_class(form.format(spelling), wordings_of(task)) == index, spelling


@given(st.text(max_size=200))
def test_text_without_a_wording_is_never_read(text: str) -> None:
    for letter in "nbm":  # every wording and name of the task has one of these
        text = "".join(c for c in text if letter not in c.casefold())
    text = text.encode("ascii", "ignore").decode()
    assert read_class(text, wordings_of(LESION)) is None


PIECES = [
    "benign",
    "malignant",
    "no",
    "not",
    "or",
    "nor",
    ",",
    ".",
    "?",
    "but",
    "is",
    "a",
    "sign",
    "of",
    "unlikely",
]


@given(st.lists(st.sampled_from(PIECES), max_size=9))
def test_a_class_is_never_read_from_words_that_do_not_hold_it(pieces: list[str]) -> None:
    read = read_class(" ".join(pieces), wordings_of(LESION))
    assert read in (None, BENIGN, MALIGNANT)
    if read is not None:
        assert ("benign", "malignant")[read - 1] in pieces
    if "no" not in pieces and "not" not in pieces and {"benign", "malignant"} <= set(pieces):
        denying = {"nor", "unlikely", "?"} & set(pieces)
        assert denying or read is None


def test_what_becomes_of_an_image() -> None:
    assert outcome(1, 1, None) == "correct"
    assert outcome(0, 1, None) == "wrong"
    assert outcome(None, 1, None) == "no_answer"
    assert outcome(None, 1, "out of memory") == "error"
    assert outcome(1, 1, "out of memory") == "error"


BENIGN_SCORES = (-3.0, -0.1, -4.0)


@pytest.mark.parametrize(
    ("given", "by_scores", "by_text"),
    [
        # scores, their error, text, its error -> read, generated_outcome, predicted, outcome of a malignant image
        ((BENIGN_SCORES, None, None, None), (None, None, 1, "wrong"), (None, None, 1, "wrong")),
        ((BENIGN_SCORES, None, "Malignant.", None), (2, "correct", 1, "wrong"), (2, "correct", 2, "correct")),
        (
            (BENIGN_SCORES, None, "Hm.", None),
            (None, "no_answer", 1, "wrong"),
            (None, "no_answer", None, "no_answer"),
        ),
        (
            (BENIGN_SCORES, None, "Malignant.", "cut"),
            (None, "error", 1, "wrong"),
            (None, "error", None, "error"),
        ),
        (
            (None, "full", "Malignant.", None),
            (2, "correct", None, "error"),
            (2, "correct", 2, "correct"),
        ),
        ((None, None, None, None), (None, None, None, "no_answer"), (None, None, None, "no_answer")),
    ],
)
def test_the_headline_is_read_from_the_scores_or_from_the_text_where_one_was_asked_for(
    given: tuple, by_scores: tuple, by_text: tuple
) -> None:
    named = dict(zip(("scores", "scores_error", "text", "text_error"), given, strict=True))
    words = wordings_of(LESION)
    assert read_answers(words, "scores", MALIGNANT, **named) == by_scores
    assert read_answers(words, "generated", MALIGNANT, **named) == by_text
