"""The board as a reader meets it: in a real Chromium, wide and narrow, by keyboard, and without a script."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from leaderboard.page.page import render_board
from tests.browser import DESKTOP, PHONE, READABLE, contrast, launched, opened, overflow
from tests.harness.full_records import full_content
from tests.leaderboard.boards import board, entry, task, whole_board
from tests.leaderboard.page.test_page import CLOSED, HOSTILE, replaced

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("board") / "index.html"
    path.write_text(render_board(whole_board()), encoding="utf-8")
    return path


@pytest.fixture
def page(browser: Browser, file: Path) -> Iterator[Page]:
    """A page on which nothing may be complained of or asked for, whatever a test does with it."""
    with opened(browser, file) as found:
        yield found.page
        assert found.complaints == []
        assert found.requests == []


def column(page: Page, number: int, table: str = "results-table") -> list[str]:
    """Return what stands in a column of the rows that are shown, from top to bottom."""
    rows = page.locator(f"#{table} tbody tr:visible")
    return [text.split("\n")[0].strip() for text in rows.locator(f":nth-child({number})").evaluate_all(CELLS)]


CELLS = "all => all.filter(e => e.parentElement.tagName === 'TR').map(e => e.innerText)"


def accuracies(page: Page) -> list[float]:
    return [float(text.split()[0]) for text in column(page, 4)]


def fragment(page: Page) -> str:
    return page.url.partition("#")[2]


def head(page: Page, key: str) -> Locator:
    return page.locator(f'#results-table th[data-key="{key}"]')


def test_a_click_sorts_by_number_and_a_second_one_turns_it_round(page: Page) -> None:
    came = accuracies(page)
    head(page, "accuracy").locator("button").click()
    assert accuracies(page) == sorted(came, reverse=True)
    assert accuracies(page) != came
    assert head(page, "accuracy").get_attribute("aria-sort") == "descending"
    head(page, "accuracy").locator("button").click()
    assert accuracies(page) == sorted(came)
    head(page, "parameters").locator("button").click()
    sizes = column(page, 9)
    assert sizes[:4] == ["11M"] * 4
    assert sizes[4:6] == ["2.21B", "4.3B"]
    assert sizes[-1] == "34.8B"  # before 4.3B by the alphabet
    assert page.locator("th[aria-sort]").count() == 1
    page.locator('#together-table th[data-key="level"] button').click(click_count=2)
    levels = [float(text.split()[0].replace("−", "-")) for text in column(page, 5, "together-table")]
    assert levels == [-0.2, -0.05, 0.79, 0.857, 0.925]


def test_what_has_no_rank_comes_last_either_way(page: Page) -> None:
    for _ in range(2):
        head(page, "rank").locator("button").click()
        ranks = column(page, 1)
        assert ranks[-4:] == ["–"] * 4
        assert ranks[:-4] == sorted(
            ranks[:-4], reverse=head(page, "rank").get_attribute("aria-sort") == "descending"
        )
        assert set(ranks[:-4]) == {"1", "2"}


def test_the_keyboard_sorts_and_opens_a_models_page(page: Page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('th')?.dataset.key") == "accuracy":
            break
    style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert style == "solid"
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    assert accuracies(page) == sorted(accuracies(page))
    assert "sorted by accuracy, ascending" in page.locator("#status").inner_text()
    page.locator("#results-table tbody a").first.focus()
    page.keyboard.press("Enter")
    assert fragment(page) == "model=served-answers&task=busi"
    assert page.evaluate("document.activeElement.tagName") == "H2"


def test_each_filter_leaves_what_it_names(page: Page) -> None:
    wanted = {
        "task": ("phantom", 6),
        "family": ("llava", 6),
        "condition": ("lora", 2),
        "size": ("from-20b", 2),
    }
    for name, (value, count) in wanted.items():
        page.locator(f"select[name={name}]").select_option(value)
        rows = page.locator("#results-table tbody tr:visible")
        assert {row.get_attribute(f"data-{name}") for row in rows.all()} == {value}
        assert page.locator("#status").inner_text() == f"{count} of 13 results shown."
        assert fragment(page) == f"{name}={value}"
        page.locator(f"select[name={name}]").select_option("")


def test_filters_join_say_so_when_nothing_is_left_and_can_be_reset(page: Page) -> None:
    page.locator("select[name=task]").select_option("busi")
    page.locator("input[name=references]").uncheck()
    page.locator("input[name=q]").fill("CLINIC")
    assert column(page, 2) == ["clinic/large", "clinic/small@lora", "clinic/small"]
    assert column(page, 2, "together-table") == ["clinic/large", "clinic/small@lora", "clinic/small"]
    page.locator("input[name=q]").fill("nobody")
    assert page.locator("#results-table tbody tr:visible").count() == 0
    assert page.locator("#no-match").is_visible()
    page.locator("button[type=reset]").click()
    page.wait_for_function("document.querySelector('#status').textContent === '13 of 13 results shown.'")
    assert not page.locator("#no-match").is_visible()
    assert fragment(page) == ""


def test_a_view_outlives_a_reload_and_can_be_passed_on(browser: Browser, file: Path, page: Page) -> None:
    page.locator("select[name=task]").select_option("busi")
    page.locator("input[name=references]").uncheck()
    head(page, "accuracy").locator("button").click()
    head(page, "accuracy").locator("button").click()
    page.locator('#together-table th[data-key="level"] button').click()
    seen = (column(page, 2), column(page, 2, "together-table"))
    assert fragment(page) == "task=busi&references=no&sort=accuracy-ascending&together=level-descending"
    page.reload()
    assert (column(page, 2), column(page, 2, "together-table")) == seen
    with opened(browser, file, fragment=fragment(page)) as other:
        assert (column(other.page, 2), column(other.page, 2, "together-table")) == seen


def test_a_models_page_opens_alone_and_back_leads_to_the_same_table(page: Page) -> None:
    page.locator("select[name=task]").select_option("busi")
    view = fragment(page)
    link = page.get_by_role("link", name="clinic/small", exact=True).first
    link.click()
    assert page.locator("article.model:visible").count() == 1
    assert page.locator("#overview").is_hidden()
    heading = page.get_by_role("heading", name="clinic/small", exact=True)
    assert heading.is_visible()
    assert page.title().startswith("clinic/small")
    assert page.locator("article.model:visible svg.wide:visible").count() == 4  # two figures on two tasks
    page.go_back()
    assert fragment(page) == view
    assert page.locator("#results-table tbody tr:visible").count() == 7
    assert page.evaluate("document.activeElement.textContent") == "clinic/small"
    page.go_forward()
    page.get_by_role("link", name="general/small", exact=True).and_(page.locator(":visible")).first.click()
    assert page.get_by_role("heading", name="general/small", exact=True).is_visible()
    page.locator("article.model:visible .back").click()
    assert fragment(page) == view
    assert page.locator("#overview").is_visible()


def test_an_address_that_means_nothing_shows_the_whole_table(browser: Browser, file: Path) -> None:
    with opened(browser, file, fragment="%E0%A4%A") as found:
        for asked in (
            "",
            "model=nobody",
            "task=nothing&sort=nothing-up",
            "sort",
            "constructor",
            "model=results",
        ):
            found.page.evaluate("asked => { location.hash = asked; }", asked)
            assert found.page.locator("#results-table tbody tr:visible").count() == 13
            assert found.page.locator("#overview").is_visible()
        assert found.complaints == []


def test_parts_of_the_board_are_reached_from_a_models_page(page: Page) -> None:
    page.evaluate("location.hash = 'model=clinic-large'")
    page.locator("#overview").wait_for(state="hidden")
    page.get_by_role("link", name="How to submit").click()
    assert page.locator("#submit").is_visible()
    page.locator(".task-link", has_text="phantom").click()
    assert fragment(page) == "task=phantom"
    assert page.locator("#results-table tbody tr:visible").count() == 6


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_the_page_fits_its_window_and_its_tables_can_be_scrolled_by_keyboard(
    browser: Browser, file: Path, width: int
) -> None:
    with opened(browser, file, width=width) as found:
        page = found.page
        page.locator("details").evaluate_all("all => all.forEach(element => { element.open = true; })")
        assert overflow(page) == 0
        scrolled = page.locator("#results .scroll")
        assert scrolled.evaluate("e => e.scrollWidth > e.clientWidth") == (width == PHONE)
        page.evaluate("location.hash = 'model=clinic-small'")
        page.locator("#overview").wait_for(state="hidden")
        assert overflow(page) == 0
        regions = page.locator(".scroll").evaluate_all(
            "all => all.map(e => [e.tabIndex, e.role, e.ariaLabel])"
        )
        assert {(index, role) for index, role, _ in regions} == {(0, "region")}
        assert all(label for *_, label in regions)
        assert found.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_colour_schemes(
    browser: Browser, file: Path, scheme: Literal["light", "dark"]
) -> None:
    with opened(browser, file, scheme=scheme) as found:
        seen = [
            "p",
            ".note",
            ".mark-word",
            "caption",
            "tbody th a",
            ".ends-text",
            ".profile-text",
            "thead button",
        ]
        for selector in [
            *seen,
            "#filters label",
            "select",
            "#filters button",
            "tr.reference td",
            "dd",
            "nav a",
        ]:
            assert contrast(found.page, f"#overview {selector}, header {selector}") >= READABLE, selector
        found.page.evaluate("location.hash = 'model=clinic-small'")
        for selector in (
            ".verdict p",
            ".verdict code",
            "tr.own td",
            "tr.own .ends-text",
            "summary",
            "dd",
            "figcaption",
        ):
            assert contrast(found.page, f"article.open {selector}") >= READABLE, selector
        drawn = found.page.locator("article.open svg.wide text.strong").first
        ink = drawn.evaluate("e => getComputedStyle(e).fill")
        named = found.page.locator("article.open .named-row").first.evaluate("e => getComputedStyle(e).fill")
        assert _ratio(ink, named) >= READABLE
        assert found.complaints == []


def _ratio(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(x) / 255 for x in colour.removeprefix("rgb(").removesuffix(")").split(",")]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_all_is_there_without_a_script(browser: Browser, file: Path) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": PHONE, "height": 800})
    try:
        page = context.new_page()
        page.goto(file.resolve().as_uri())
        assert page.locator("#results-table tbody tr:visible").count() == 13
        assert page.locator("article.model:visible").count() == 7
        assert not page.locator("#filters").is_visible()
        assert not page.locator(".back").first.is_visible()
        page.get_by_role("link", name="clinic/large", exact=True).first.click()
        assert fragment(page) == "model=clinic-large&task=busi"
        top = page.locator("[id='model=clinic-large&task=busi']").bounding_box()
        assert top is not None
        assert abs(top["y"]) < 40
    finally:
        context.close()


def test_hostile_names_stay_text_and_their_pages_open(browser: Browser, tmp_path: Path) -> None:
    content = replaced(full_content(readouts=("linear",)), HOSTILE, CLOSED)
    held = replace(entry(content, HOSTILE, folder=HOSTILE), name=HOSTILE)
    path = tmp_path / "index.html"
    path.write_text(render_board(board([held], [task(HOSTILE, title=HOSTILE)])), encoding="utf-8")
    with opened(browser, path, width=PHONE) as found:
        found.page.locator("#results-table tbody a").click()
        assert found.page.locator("article.model:visible").count() == 1
        assert "<script>alert(1)</script>" in found.page.locator("article.model:visible h2").inner_text()
        assert overflow(found.page) == 0
        assert found.complaints == []
        assert found.requests == []
