"""The report of many runs in a real browser: opened from a folder copied elsewhere, clicked through, in every dress.

Needs Chromium (a system package) and playwright, which drives it; without either these tests skip and say so. Anything
that the page asks of a network, or says on the console, fails them.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic_run import episodes, runs, write

from amend.results.report.html.study_page import write_index

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright; enable with: make install-dev")
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium; enable with: apt-get install chromium")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report written in one place and copied to another; the first is gone."""
    root = tmp_path_factory.mktemp("browser")
    folders = runs(root / "runs", 3, 2, problems=14)
    spoilt = pq.read_table(folders[-1] / "episodes.parquet").to_pydict()
    spoilt["text"] = ["<img src=x onerror=alert(1)>" + text for text in spoilt["text"]]
    pq.write_table(pa.table(spoilt), folders[-1] / "episodes.parquet")
    write_index(root / "out", folders)
    shutil.copytree(root / "out", root / "else where ü")
    shutil.rmtree(root / "out")
    shutil.rmtree(root / "runs")
    return (root / "else where ü" / "index.html").as_uri()


@pytest.fixture
def page(chromium: Any, address: str) -> Iterator[Any]:
    """The page, open; at the end it must have asked for nothing and complained about nothing."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    opened, said = context.new_page(), []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    opened.on(
        "request", lambda request: None if request.url.startswith(("file:", "data:")) else said.append(request.url)
    )
    opened.goto(address)
    opened.wait_for_selector("#gallery article")
    yield opened
    context.close()
    assert said == []


def count(page: Any) -> str:
    return str(page.inner_text("#gallery-count"))


def test_attempts_of_every_condition_stand_side_by_side(page: Any) -> None:
    card = page.locator("#gallery article").first
    assert [h.split("\n")[0].split()[0] for h in card.locator("h4:has(svg)").all_inner_texts()] == [
        "base", "algo0", "algo1", "algo2"
    ]  # fmt: skip
    assert card.locator(".attempt").count() == 8
    assert "14 of 14 problems" in count(page)


def test_pages_turn(page: Any) -> None:
    first = page.inner_text("#gallery article header >> nth=0")
    assert page.is_disabled("#gallery-back")
    page.click("#gallery-next")
    assert page.inner_text("#gallery article header >> nth=0") != first and count(page).startswith("page 2 of 5")
    page.click("#gallery-back")
    assert page.inner_text("#gallery article header >> nth=0") == first


def test_filters_and_search(page: Any) -> None:
    page.select_option("[name=show]", "differ")
    differ = int(count(page).split("·")[1].split()[0])
    page.select_option("[name=show]", "agree")
    assert 0 < differ < 14 and int(count(page).split("·")[1].split()[0]) == 14 - differ
    page.select_option("[name=show]", "")
    page.select_option("[name=kind]", "i→c")
    page.select_option("[name=of]", "2")
    for card in page.locator("#gallery article").all():
        mine = card.locator("section:has(> h4 > svg)").filter(has_text="algo1")
        assert "i→c" in mine.locator("h4").first.inner_text()
    page.select_option("[name=kind]", "")
    page.fill("[name=search]", "no such words")
    assert count(page) == "no problem matches" and page.locator("#gallery article").count() == 0
    page.fill("[name=search]", "Solve for x")
    assert "14 of 14" in count(page)
    page.select_option("[name=decoding]", "sampled")
    assert page.locator("#gallery article").first.locator("h4", has_text="sample 2").count() == 4


def test_a_condition_can_be_switched_off_everywhere(page: Any) -> None:
    lines, rows = 'path.line[data-g="1"]:visible', 'tr[data-g="1"]:visible'
    assert page.locator(lines).count() > 5 and page.locator(rows).count() == 4
    page.uncheck("#switches input >> nth=1")
    assert page.locator(lines).count() == page.locator(rows).count() == 0
    assert page.locator("#gallery article").first.locator(".attempt").count() == 6
    page.click("#switches button >> text=None")
    assert count(page) == "no problem matches"
    page.click("#switches button >> text=All")
    assert page.locator(rows).count() == 4


def test_tables_sort_by_any_column(page: Any) -> None:
    table = page.locator("table.sortable").first
    head = table.locator("th button").nth(1)

    def values() -> list[float]:
        return [float(row.locator("td").first.get_attribute("data-v")) for row in table.locator("tbody tr").all()]

    head.click()
    assert values() == sorted(values(), reverse=True)
    head.click()
    assert values() == sorted(values()) and table.locator("th").nth(1).get_attribute("aria-sort") == "ascending"
    table.locator("th button").first.click()
    names = table.locator("tbody th").all_inner_texts()
    assert names == sorted(names)


def test_the_keyboard_alone_reaches_everything(page: Any) -> None:
    """Tab walks through links, switches, tables, charts and the browser, and each shows that it is at hand."""
    seen = set()
    for _ in range(90):
        page.keyboard.press("Tab")
        tag, outlined = page.evaluate(
            "[document.activeElement.closest('[id],figure,table,details')?.id || document.activeElement.tagName,"
            " getComputedStyle(document.activeElement).outlineStyle]"
        )
        seen.add(tag)
        assert tag == "BODY" or outlined != "none"
    assert {"switches", "gallery-form", "gallery-next", "FIGURE"} <= seen
    page.focus("#gallery-next")
    page.keyboard.press("Enter")
    assert count(page).startswith("page 2")
    page.focus("figure[data-chart]")
    page.keyboard.press("End")
    last = page.inner_text("figure[data-chart] output >> nth=0")
    page.keyboard.press("ArrowLeft")
    assert "sampled tokens" in last and page.inner_text("figure[data-chart] output >> nth=0") not in ("", last)


@pytest.mark.parametrize("width", [480, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_narrow_and_wide(chromium: Any, address: str, scheme: str, width: int) -> None:
    """Nothing runs out of the window, no name lies on another, and the page follows the reader's system."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened = context.new_page()
    opened.goto(address)
    opened.wait_for_selector("#gallery article")
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    ground = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) > 600) == (scheme == "light")
    overlapping = opened.evaluate(
        """() => [...document.querySelectorAll("figure svg")].flatMap((svg) => {
          const boxes = [...svg.querySelectorAll("text.name")].map((t) => t.getBoundingClientRect());
          return boxes.filter((a, i) => boxes.some((b, j) => j > i && a.bottom - b.top > 3 && b.bottom - a.top > 3));
        }).length"""
    )
    assert overlapping == 0
    context.close()


@pytest.mark.slow
def test_fifty_thousand_episodes_open_fast(chromium: Any, tmp_path: Path) -> None:
    """The page is drawn before its attempts are unpacked; both take a moment even on a slow machine."""
    folders = []
    rows = episodes(1000, 1, 2, ("trained",))
    sampled = [i for i, decoding in enumerate(rows["decoding"]) if decoding == "sampled"]
    for sample in range(1, 16):
        for name, values in rows.items():
            more = [values[i] for i in sampled]
            more = [f"{text} try {sample}" for text in more] if name == "text" else more
            values += [sample] * len(more) if name == "sample" else more
    for a in range(3):
        folder = write(tmp_path / "runs" / f"algo{a}" / f"{a:08x}-s0", problems=4, samples=0, rounds=8)
        rows["text"] = [f"{text} {a}" for text in rows["text"]]
        pq.write_table(pa.table(rows), folder / "episodes.parquet")
        summary = json.loads((folder / "summary.json").read_text())
        (folder / "summary.json").write_text(json.dumps({**summary, "algo": f"algo{a}"}))
        folders.append(folder)
    path, _ = write_index(tmp_path / "out", folders)
    assert path.stat().st_size <= 5_000_000
    context = chromium.new_context()
    opened = context.new_page()
    began = time.perf_counter()
    opened.goto(path.as_uri(), wait_until="domcontentloaded")
    drawn = time.perf_counter() - began
    opened.wait_for_selector("#gallery article", timeout=60_000)
    filled = time.perf_counter() - began
    began = time.perf_counter()
    opened.select_option("[name=show]", "differ")
    opened.fill("[name=search]", "17")
    filtered = time.perf_counter() - began
    words = r"([\d,]+) episodes on 1,000 problems .* ([\d,]+) more are left out"
    found = re.search(words, opened.inner_text("main"))
    assert found
    shown, left_out = (int(number.replace(",", "")) for number in found.groups())
    assert shown > 49_900 and shown + left_out == 51_000
    # For a browser that shares two cores with other tests; with two runs beside it, it took 0.5, 0.6 and 0.2 s.
    assert drawn < 5 and filled < 6 and filtered < 2, (drawn, filled, filtered)
    print(f"drawn {drawn:.2f} s, filled {filled:.2f} s, filtered {filtered:.2f} s, {path.stat().st_size:,} bytes")
    context.close()
