"""The report as a reader meets it: in a real Chromium, wide and narrow, light and dark, by keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from harness.report.page import write_report
from leaderboard.record.samples import SampleLine
from tests.browser import DESKTOP, PHONE, READABLE, contrast, launched, opened, overflow
from tests.harness.full_records import full_content
from tests.harness.report.results import answers, filed
from tests.harness.run.test_record import record_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

LONG = "n" * 10_000_000
HOSTILE = '"><script>document.title="taken"</script><img src=x onerror="alert(1)"><!--\u202e../../etc/passwd'
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a page of one result, one of two side by side, and one of two with hostile strings in the first."""
    root = tmp_path_factory.mktemp("reports")
    whole = {"readouts": ("linear",), "layers": (2, 2)}
    strong = full_content(**whole)
    strong["answers"]["confusion"] = [[50, 0, 0, 0], [50, 0, 0, 0], [20, 0, 10, 20]]  # every shade there is
    one = filed(root / "one", answers(1), strong)
    two = filed(root / "two", answers(2), full_content(**whole), name="clinic/other")
    evil = filed(root / "evil", hostile_lines(), hostile_content(), name=LONG)
    plain = filed(root / "plain", None, record_of())
    folders = {"single": [one], "pair": [one, two], "hostile": [evil, plain]}
    return {name: write_report(held, root / f"{name}.html").path for name, held in folders.items()}


def hostile_content() -> dict[str, object]:
    content = full_content(readouts=("linear",), layers=(2, 2), classes=(HOSTILE, LONG, f"\u202e{HOSTILE}"))
    content["model"] |= {
        "hub_id": HOSTILE,
        "revision": LONG,
        "architecture": HOSTILE,
        "remarks": [LONG, HOSTILE],
    }
    content["task"]["name"] = HOSTILE
    content["provenance"] |= {"command": LONG, "git": HOSTILE, "packages": {LONG: LONG, HOSTILE: HOSTILE}}
    content["answers"]["prompt_accuracies"] = dict.fromkeys((LONG, HOSTILE), content["answers"]["accuracy"])
    content["cost"]["seconds"] = {LONG: 1.0, HOSTILE: 2.0}
    return content


def hostile_lines() -> list[SampleLine]:
    way = {"prompt": HOSTILE, "order": (0, 1, 2), "scores": None, "predicted": 1}
    lines = answers(1, text=HOSTILE, orders=0)
    first = {"text": LONG, "scores": (-9.0, -9.0, 9.0), "label": 0, "predicted": 2, "outcome": "wrong"}
    changes = [
        {"id": f"{HOSTILE}{k}", "orders": (way,)} | (first if k == 0 else {}) for k in range(len(lines))
    ]
    return [SampleLine.model_validate(line.model_dump() | c) for line, c in zip(lines, changes, strict=True)]


@pytest.mark.parametrize("name", ["single", "pair", "hostile"])
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_a_page_complains_of_nothing_asks_for_nothing_and_fits_its_window(
    browser: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    with opened(browser, pages[name], width=width) as found:
        found.page.locator("details").evaluate_all("all => all.forEach(e => { e.open = true; })")
        assert found.complaints == []
        assert found.requests == []
        assert overflow(found.page) == 0
        shown = found.page.locator("figure > svg:visible").evaluate_all(
            "all => all.map(e => e.className.baseVal)"
        )
        assert set(shown) == {"wide" if width == DESKTOP else "narrow"}


def test_hostile_strings_are_text_of_bounded_length(browser: Browser, pages: dict[str, Path]) -> None:
    assert pages["hostile"].stat().st_size < 5_000_000
    with opened(browser, pages["hostile"]) as found:
        page = found.page
        assert page.title().startswith("nnn")
        assert page.locator("script, img, iframe, object, link:not([rel=icon])").count() == 0
        text = page.locator("body").inner_text()
        assert '<script>document.title="taken"</script>' in text
        assert "\\u202e../../etc/passwd" in text
        assert "(10,000,000 characters)" in text
        assert "\u202e" not in page.content()


def test_nothing_could_be_asked_for(browser: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    """Were something let through, the page's own policy would stop it."""
    planted = tmp_path / "planted.html"
    text = pages["single"].read_text(encoding="utf-8")
    planted.write_text(
        text.replace("</main>", "<script>document.title='run'</script></main>"), encoding="utf-8"
    )
    with opened(browser, planted) as found:
        assert found.page.title() != "run"
        assert any("Content Security Policy" in said for said in found.complaints)


@pytest.mark.parametrize("name", ["single", "pair"])
def test_headings_go_down_by_one_and_every_link_leads_somewhere(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    with opened(browser, pages[name]) as found:
        page = found.page
        levels = page.locator("h1, h2, h3, h4, h5, h6").evaluate_all(
            "all => all.map(e => Number(e.tagName[1]))"
        )
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        assert page.locator("html").get_attribute("lang") == "en"
        targets = page.locator("a").evaluate_all("all => all.map(e => e.getAttribute('href'))")
        assert targets
        identifiers = page.locator("[id]").evaluate_all("all => all.map(e => e.id)")
        assert all(identifiers.count(target[1:]) == 1 for target in targets)
        tables = page.locator("table")
        assert tables.locator("caption").count() == tables.count()
        assert page.locator("th:not([scope])").count() == 0


def test_the_page_is_read_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["single"]) as found:
        page = found.page
        page.keyboard.press("Tab")
        focused = "() => document.activeElement"
        assert page.evaluate(f"({focused})().className") == "skip"
        assert page.locator(".skip").bounding_box()["x"] >= 0  # type: ignore[index]
        page.keyboard.press("Enter")
        assert page.evaluate(f"({focused})().id") == "content"
        summary = page.locator("summary").first
        summary.focus()
        assert page.evaluate(f"getComputedStyle(({focused})()).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        assert page.locator("details").first.get_attribute("open") is not None
        assert page.locator("details table").first.is_visible()
        page.keyboard.press("Space")
        assert page.locator("details").first.get_attribute("open") is None


def test_a_figures_values_are_seen_by_keyboard_and_by_pointer(
    browser: Browser, pages: dict[str, Path]
) -> None:
    with opened(browser, pages["single"]) as found:
        marks = found.page.locator("svg.wide .mark")
        for place in (0, marks.count() - 1):
            mark = marks.nth(place)
            said = mark.locator("text")
            assert not said.is_visible()
            mark.focus()
            assert said.is_visible()
            assert said.text_content() == mark.locator("title").text_content()
            box, sheet = (
                said.bounding_box(),
                mark.locator("xpath=ancestor::*[name()='svg'][1]").bounding_box(),
            )
            assert box is not None
            assert sheet is not None
            assert sheet["x"] <= box["x"]
            assert box["x"] + box["width"] <= sheet["x"] + sheet["width"] + 1
            found.page.locator("body").click(position={"x": 5, "y": 5})
            assert not said.is_visible()
            mark.locator("use, rect, path").first.hover(force=True)
            assert said.is_visible()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ["single", "pair"])
def test_text_can_be_read_in_both_themes(
    browser: Browser, pages: dict[str, Path], name: str, scheme: Literal["light", "dark"]
) -> None:
    with opened(browser, pages[name], scheme=scheme) as found:
        page = found.page
        kinds = (
            "body",
            ".matrix td",
            "p.soft",
            "figcaption",
            "thead th",
            "a",
            "summary",
            ".card p",
            ".card .id",
        )
        kinds += (".verdict p", "code", "dl dt", *(["tr.named th", "tr.part th"] if name == "single" else []))
        found_least = {kind: contrast(page, kind) for kind in kinds}
        assert {kind: least for kind, least in found_least.items() if least < READABLE} == {}
        dark = sum(backdrop(page, "body")) < 3 * 128
        assert dark == (scheme == "dark")
        ink = page.locator("figure > svg text:visible").evaluate_all(
            "all => all.map(e => getComputedStyle(e).fill)"
        )
        assert ink
        light = {sum(int(part) for part in re.findall(r"\d+", colour)[:3]) > 3 * 128 for colour in ink}
        assert light == {dark}  # letters on the page itself: no white box behind a figure
        assert (
            page.locator("figure > svg")
            .first.evaluate("e => getComputedStyle(e).backgroundColor")
            .endswith(", 0)")
        )


def backdrop(page: Page, selector: str) -> list[int]:
    colour = page.locator(selector).first.evaluate("element => getComputedStyle(element).backgroundColor")
    return [int(part) for part in re.findall(r"\d+", colour)[:3]]


def test_two_results_stand_beside_each_other_and_on_a_phone_below(
    browser: Browser, pages: dict[str, Path]
) -> None:
    for width in (DESKTOP, PHONE):
        with opened(browser, pages["pair"], width=width) as found:
            boxes = found.page.locator(".columns > div").evaluate_all(
                "all => all.map(e => e.getBoundingClientRect().toJSON())"
            )
            assert len(boxes) >= 2 * 10
            for first, second in zip(boxes[::2], boxes[1::2], strict=True):
                if width == DESKTOP:
                    assert first["y"] == second["y"]
                    assert second["x"] >= first["x"] + first["width"]
                else:
                    assert second["y"] >= first["y"] + first["height"]
                    assert second["x"] == first["x"]
