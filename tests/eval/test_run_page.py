"""The page of a run in a browser: Debian's Chromium, without a window."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from eval.run_report.build import build_page
from rlcode.types import ErrorType
from sampling.notebook import ErrorNotebook
from tests.eval import run_directories as runs

Opened = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    assert path, "no command named chromium: .ci/provision_browser.sh installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a hostile loop."""
    folder = tmp_path_factory.mktemp("page")
    path = folder / "report.html"
    path.write_text(build_page(runs.loop(folder / "run")), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    """Opens a page; at the end of the test nothing may have gone wrong in it."""
    troubles: list[str] = []
    pages = []

    def open_page(path: Path, **options: Any) -> Page:
        page = browser.new_page(**options)
        pages.append(page)
        page.set_default_timeout(10_000)
        page.on("console", lambda message: troubles.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("request", lambda request: troubles.extend([request.url] if request.url != path.as_uri() else []))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert troubles == []


def numbers(page: Page, anchor: str) -> dict[str, list[str]]:
    """The table behind a chart: the cells of each row by its name."""
    rows = page.locator(f"#{anchor} tbody tr").all()
    return {row.locator("th").text_content(): row.locator("td").all_text_contents() for row in rows}  # type: ignore[misc]


def shown(page: Page) -> str:
    return page.locator("#count").text_content() or ""


def wait_for_count(page: Page, pattern: str) -> None:
    expect(page.locator("#count")).to_have_text(re.compile(pattern))


# Charts.


def test_every_chart_has_marks_a_name_and_the_numbers_behind_it(report: Path, opened: Opened) -> None:
    page = opened(report)
    figures = page.locator("figure").all()
    assert len(figures) >= 14
    for figure in figures:
        assert figure.locator("h3").text_content()
        assert figure.locator("circle, svg rect, td a").count() > 0
        assert figure.locator("tbody tr").count() > 0
    for drawn in page.locator("[role=img]").all():
        named = drawn.get_attribute("aria-labelledby")
        assert page.locator(f'[id="{named}"]').count() == 1


def test_charts_show_the_values_of_the_run(report: Path, opened: Opened) -> None:
    page = opened(report)
    passed = {name: [cell.partition(" ")[0] for cell in cells] for name, cells in numbers(page, "pass-at-k").items()}
    assert passed == {"start": ["0.500", "0.500"], "round-01": ["0.833", "0.500"]}
    assert numbers(page, "errors-rollouts") == {"round-01/rollouts": ["28.6%", "14.3%", "14.3%", "14.3%"]}
    assert numbers(page, "errors-groups") == {"v1": ["25.0%"], "v2": ["0.0%"]}
    assert numbers(page, "groups") == {"v1": ["50.0%", "0.0%", "50.0%"], "v2": ["0.0%", "0.0%", "100.0%"]}
    notebook = ErrorNotebook()
    notebook.observe(runs.rollouts(runs.ROUND))
    frequent = notebook.frequencies()
    share = frequent[ErrorType.SYNTAX] / sum(frequent.values())
    assert numbers(page, "drawn-0")["syntax"] == ["50.0%", f"{share:.1%}"]
    assert numbers(page, "log-1-0")["4"] == ["1"]
    assert numbers(page, "seconds-1")["2"] == ["3 s", "1 s"]
    assert numbers(page, "held-back-1")["3"] == ["50.0%", "20.0%", "30.0%"]
    assert numbers(page, "waits-1")["4"] == ["2 s"]
    assert numbers(page, "judge-time")["under 30 ms"] == ["40.6%"]


def test_bars_are_as_high_as_their_values(report: Path, opened: Opened) -> None:
    page = opened(report)
    bars = {
        bar.locator("title").text_content(): float(bar.get_attribute("height") or 0)
        for bar in page.locator("#errors-rollouts svg rect").all()
    }
    heights = {name.partition(",")[0]: height for name, height in bars.items() if name}
    assert heights["syntax"] == pytest.approx(2 * heights["name"], abs=0.05)
    assert heights["name"] == pytest.approx(heights["timeout"], abs=0.05)
    assert heights["name"] > 10


def test_an_outcome_has_one_colour_everywhere(report: Path, opened: Opened) -> None:
    page = opened(report)
    colours = page.eval_on_selector_all(
        ".e-syntax:is(rect, .swatch)",
        "all => all.map(e => e.tagName == 'rect' ? getComputedStyle(e).fill : getComputedStyle(e).backgroundColor)",
    )
    assert len(colours) > 4
    assert len(set(colours)) == 1


# The browser of samples.


def test_filters_narrow_the_samples_down_and_can_be_cleared(report: Path, opened: Opened) -> None:
    page = opened(report)
    assert shown(page).startswith("34 of 34 samples, 3 problems")
    page.select_option("#outcome", "syntax")
    wait_for_count(page, "^3 of 34")
    page.select_option("#set", label="round-01/rollouts")
    wait_for_count(page, "^2 of 34 samples, 1 problems")
    page.select_option("#outcome", "!")
    wait_for_count(page, "^5 of 34")
    page.check("#paired")
    wait_for_count(page, "^3 of 34")
    page.fill("#text", "# NAME")
    wait_for_count(page, "^1 of 34")
    expect(page.locator("#detail")).to_contain_text("return 3 + 0  # name")
    page.fill("#text", "no such text")
    wait_for_count(page, "^0 of 34")
    expect(page.locator("#detail")).to_contain_text("No sample is as asked for.")
    page.click("text=Clear")
    wait_for_count(page, "^34 of 34")


def test_text_is_looked_for_in_names_programs_tests_and_messages(report: Path, opened: Opened) -> None:
    page = opened(report)
    for text, count in (("p/hard", 12), ("the engine is gone", 1), ("return 1 + 2", 1), ("assert </script>", 6)):
        page.fill("#text", text)
        wait_for_count(page, f"^{count} of 34")


def test_a_problem_leads_to_its_samples_and_a_sample_to_its_verdict_and_difference(
    report: Path, opened: Opened
) -> None:
    page = opened(report)
    page.select_option("#set", label="round-01/rollouts")
    page.locator("#problems .item", has_text="p/easy").click()
    samples = page.locator("#samples .item")
    expect(samples).to_have_count(4)
    samples.nth(1).click()
    detail = page.locator("#detail")
    expect(detail).to_contain_text("syntax · 1 of 3 tests passed · line 2 · 20 ms · 13 MiB")
    expect(detail.locator(".code .bad")).to_contain_text("return 1 + 0")
    expect(detail).to_contain_text("round-01/dpo drew this pair 2 times")
    expect(detail.locator(".diff .out")).to_contain_text("-     return 1 + 0  # syntax")
    expect(detail.locator(".diff .in")).to_contain_text("+     return 0 + 0  # None")
    expect(detail).to_contain_text("prompt")
    samples.nth(0).click()
    expect(detail.locator("select option")).to_have_count(2)
    expect(detail.locator(".diff .out")).to_contain_text("# name")
    page.select_option("#detail select", "1")
    expect(detail.locator(".diff .out")).to_contain_text("# syntax")


def test_a_failure_without_a_pair_is_held_against_a_sample_that_passed(report: Path, opened: Opened) -> None:
    page = opened(report)
    page.fill("#text", "p/hard")
    page.select_option("#outcome", "key")
    wait_for_count(page, "^1 of 34")
    expect(page.locator("#detail")).to_contain_text("difference: a sample that passed, not a pair")
    expect(page.locator("#detail .diff .in")).to_contain_text("# None")


def test_a_number_in_the_heat_map_leads_to_its_samples(report: Path, opened: Opened) -> None:
    page = opened(report)
    page.fill("#text", "nothing at all")
    page.click('#heat a[title="p/hard, wrong_answer: 6 of 11 samples"]')
    wait_for_count(page, "^6 of 34")
    expect(page.locator("#problems [aria-selected=true]")).to_contain_text("p/hard")
    expect(page.locator("#samples .item")).to_have_count(6)


def test_the_lists_go_by_keys(report: Path, opened: Opened) -> None:
    page = opened(report)
    page.focus("#samples")
    for key, at in (("End", 34), ("ArrowUp", 33), ("Home", 1), ("ArrowDown", 2)):
        page.keyboard.press(key)
        expect(page.locator("#samples [aria-selected=true]")).to_have_attribute("aria-posinset", str(at))


def test_a_long_list_has_but_what_is_seen_in_the_document(tmp_path: Path, opened: Opened) -> None:
    endings = {"p/easy": (None, ErrorType.NAME) * 1500}
    runs.store(tmp_path, runs.rollouts(endings))
    path = tmp_path / "report.html"
    path.write_text(build_page(tmp_path), encoding="utf-8")
    page = opened(path)
    assert shown(page).startswith("3,000 of 3,000")
    assert page.locator("#samples .item").count() < 60
    page.evaluate("document.querySelector('#samples').scrollTop = 1e9")
    expect(page.locator("#samples .item").last).to_have_attribute("aria-posinset", "3000")
    assert page.locator("#samples .item").count() < 60


# Hostile text.


@pytest.mark.parametrize("bypass_csp", [False, True], ids=["as it is", "without the page's own policy"])
def test_hostile_text_stays_text(report: Path, opened: Opened, bypass_csp: bool) -> None:
    page = opened(report, bypass_csp=bypass_csp)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.focus("#samples")
    page.keyboard.press("Home")
    for _ in range(34):
        page.keyboard.press("ArrowDown")
        assert not page.evaluate("document.querySelectorAll('.panes img, .panes svg, .panes script').length")
    page.select_option("#set", label="round-01/rollouts")
    page.select_option("#outcome", "timeout")
    wait_for_count(page, "^1 of 34")
    assert runs.HOSTILE in (page.locator("#detail .code").text_content() or "")
    assert page.locator("#detail h3").text_content() == f"p/{runs.HOSTILE}"
    assert page.locator(".alarms").text_content() == (
        f"held_back_gap (round-01/grpo, step 3): the gap grew {runs.HOSTILE}".replace("\x1b", "�")
    )
    assert page.locator("img, svg[onload], [onerror]").count() == 0
    assert page.evaluate("document.documentElement.dataset.owned") is None


# Windows and what is missing.


def test_the_page_fits_its_window(report: Path, opened: Opened) -> None:
    page = opened(report)
    for width in (360, 800, 1600):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_text_can_be_read_in_light_and_dark(report: Path, opened: Opened) -> None:
    page = opened(report)
    papers = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        ink, note, paper = (
            page.evaluate(f"getComputedStyle(document.querySelector('{element}')).{name}.match(/\\d+/g).map(Number)")
            for element, name in (("body", "color"), (".note", "color"), ("figure", "backgroundColor"))
        )
        assert contrast(ink, paper) > 7
        assert contrast(note, paper) > 4.5
        papers.append(sum(paper))
    assert papers[0] > papers[1]


def contrast(one: list[int], other: list[int]) -> float:
    """WCAG 2's contrast ratio of two colours."""

    def luminance(colour: list[int]) -> float:
        parts = [v / 255 / 12.92 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in colour]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_a_run_with_next_to_nothing_opens_and_says_so(tmp_path: Path, opened: Opened) -> None:
    runs.training(tmp_path, "sft")
    path = tmp_path / "report.html"
    path.write_text(build_page(tmp_path), encoding="utf-8")
    page = opened(path)
    assert page.locator("#browse .absent").text_content() == "No judged sample lies in this directory."
    assert numbers(page, "log-0-0")["4"] == ["0.25"]
