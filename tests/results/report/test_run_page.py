"""The report: complete in itself, safe against hostile texts, within its size, there for unfinished runs."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from strict import Page
from synthetic_run import episodes, write

from amend.results.report.charts.chart import LineChart
from amend.results.report.charts.html import figure
from amend.results.report.charts.svg import tick_values
from amend.results.report.html.run_episodes import embed, harmless
from amend.results.report.html.run_page import write_report

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & \"quoted\" 'too' <!-- \u2028 {{7*7}}"


def read(folder: Path) -> tuple[str, Page]:
    text = write_report(folder).read_text(encoding="utf-8")
    return text, Page(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "runs" / "math" / "score" / "0a1b2c3d-s0")


def test_a_finished_run_has_every_section(folder):
    text, page = read(folder)
    headings = re.findall(r"<h[12][^>]*>([^<]+)", text)
    assert headings == [
        "score on math", "Before and after", "By subject", "Training", "What the second attempt did",
        "How much it rewrote", "Compounding errors and confidence", "To read", "Attempts",
    ]  # fmt: skip
    assert sum(tag == "svg" for tag, _ in page.seen) == 16
    assert len(page.data["episodes"]) == 40 * 2 * (1 + 4)
    assert {e["kind"] for e in page.data["episodes"]} == {"i→i", "i→c", "c→i", "c→c"}


def test_nothing_is_asked_of_a_network(folder):
    text, page = read(folder)
    assert not re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text)
    assert not re.findall(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", text)
    for tag, attributes in page.seen:
        for name in ("src", "href", "action", "data", "srcset"):
            assert not (attributes.get(name) or "").startswith(("http", "//", "/")), (tag, attributes)
    assert any("default-src 'none'" in (a.get("content") or "") for _, a in page.seen)


def test_hostile_texts_stay_texts(folder):
    columns = episodes(8, 1, 2, ("base", "trained"))
    for name in ("text", "answer", "question", "gold", "subject", "why", "problem"):
        columns[name] = [f"{HOSTILE}{value}" for value in columns[name]]
    pq.write_table(pa.table(columns), folder / "episodes.parquet")
    summary = json.loads((folder / "summary.json").read_text())
    for phase in ("base", "trained"):
        summary[phase]["by_subject"] = {HOSTILE: summary[phase]["by_subject"]["Sums"]}
    (folder / "summary.json").write_text(json.dumps({**summary, "algo": HOSTILE, "task": HOSTILE, "policy": HOSTILE}))
    (folder / "config.yaml").write_text(HOSTILE)
    (folder / "versions.json").write_text(json.dumps({HOSTILE: HOSTILE}))
    text, page = read(folder)
    assert len(page.scripts) == 2  # the data and the page's own
    assert not any(tag == "img" or any(name.startswith("on") for name in attributes) for tag, attributes in page.seen)
    assert page.data["episodes"][0]["attempts"][0][0].startswith(HOSTILE)  # unharmed, where it is data
    assert "alert(1)" in text


def test_the_script_writes_texts_never_markup():
    script = files("amend.results.report.html").joinpath("assets", "page.js").read_text(encoding="utf-8")
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)


def test_a_thousand_problems_stay_within_five_megabytes(tmp_path):
    folder = write(tmp_path / "run", problems=5)
    pq.write_table(pa.table(episodes(1000, 1, 2, ("base", "trained"), padding=80)), folder / "episodes.parquet")
    text, page = read(folder)
    assert len(text.encode()) <= 5_000_000
    greedy = [e for e in page.data["episodes"] if e["decoding"] == "greedy"]
    assert len(greedy) == 2000  # all of them, whatever else is left out
    assert "are left out to keep this page small" in text


def test_very_long_replies_are_cut_in_the_middle_and_it_is_said():
    columns = episodes(300, 0, 2, ("base",))
    columns["text"] = [f"begin {'x' * 30_000} end" for _ in columns["text"]]
    embedded = embed(columns)
    texts = [a[0] for e in json.loads(embedded.data)["episodes"] for a in e["attempts"]]
    assert embedded.shown == 300 and 0 < embedded.longest <= 8000
    assert all(t.startswith("begin") and t.endswith("end") and "characters ..." in t for t in texts)


@pytest.mark.parametrize(
    "missing",
    [
        ["summary.json"],
        ["metrics.jsonl", "timing.jsonl"],
        ["episodes.parquet"],
        ["episodes.parquet", "summary.json"],
        ["config.yaml", "versions.json"],
        ["summary.json", "metrics.jsonl", "timing.jsonl", "episodes.parquet", "config.yaml", "versions.json"],
    ],
)
def test_a_run_that_lacks_files_has_a_page(folder, missing):
    for name in missing:
        (folder / name).unlink()
    text, _ = read(folder)
    assert ("score on math" in text) and (("Attempts" in text) == ("episodes.parquet" not in missing))


def test_a_run_that_was_killed_says_so_and_shows_what_it_has(folder):
    (folder / "summary.json").unlink()
    pq.write_table(pa.table(episodes(20, 0, 2, ("base",))), folder / "episodes.parquet")
    whole = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(whole[: len(whole) * 2 // 3])  # cut within a line
    text, page = read(folder)
    lines = whole[: len(whole) * 2 // 3].count("\n")
    assert f"This run has not finished. It has {lines} iterations so far" in text
    assert len(page.data["episodes"]) == 20 and "trained" not in {e["phase"] for e in page.data["episodes"]}


def test_garbage_in_files_is_as_good_as_nothing(folder):
    for name in ("summary.json", "metrics.jsonl", "episodes.parquet", "versions.json"):
        (folder / name).write_bytes(b"\xff\x00 not what you think")
    text, _ = read(folder)
    assert "It has no iteration so far" in text


def test_missing_keys_and_values_that_are_no_numbers(folder):
    rows = [
        {"iteration": 1},
        {"iteration": 2, "accuracy_t1": None},
        {"iteration": 3, "accuracy_t1": 0.4, "kl_t1": float("nan")},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text, page = read(folder)
    assert "3 iterations" in text and "NaN" not in text
    assert sum("data-chart" in attributes for _, attributes in page.seen) == 1 + 8  # of training; of the attempts


def test_one_turn(tmp_path):
    text, page = read(write(tmp_path / "run", problems=12, turns=1, rounds=3))
    assert {e["kind"] for e in page.data["episodes"]} == {"right", "wrong"}
    assert "What the second attempt did" not in text and "Acc@t1" in text and "Acc@t2" not in text


def test_three_turns(tmp_path):
    text, page = read(write(tmp_path / "run", problems=12, turns=3, rounds=3))
    assert "Acc@t3" in text and {len(e["attempts"]) for e in page.data["episodes"]} == {3}


def test_same_folder_same_page(folder):
    assert write_report(folder).read_bytes() == write_report(folder).read_bytes()
    assert not list(folder.glob("*.writing"))


def test_embedded_json_is_the_value_and_holds_no_markup():
    value = {"<a>": ["</script>", "&amp;", "\u2028", "\\<", "\ud800"]}
    text = harmless(value)
    assert json.loads(text) == value and not re.search(r"[<>&\u2028]", text)
    text.encode()


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0), (3, 3), (-0.2, 7e5), (0, 1e-9), (0.99, 1.01)])
def test_axes_are_round_and_cover(low, high):
    ticks = tick_values(low, high)
    assert ticks[0] <= low and ticks[-1] >= high and 2 <= len(ticks) <= 8
    steps = {round((b - a) / (ticks[1] - ticks[0]), 6) for a, b in pairwise(ticks)}
    assert steps == {1.0}


def test_a_long_run_is_thinned_and_gaps_stay_gaps():
    ys = [None if 40 <= i < 60 else i / 5000 for i in range(5000)]
    drawn = figure(LineChart("t", [float(i) for i in range(5000)], "x", {"y": ys}, "%", []))
    assert len(drawn) < 60_000 and drawn.count("M") > 2


def test_a_value_without_neighbours_is_a_dot() -> None:
    """What is measured only now and then, such as a fit's loss between rounds that gather, is still to be seen."""
    drawn = figure(LineChart("t", [1.0, 2.0, 3.0, 4.0, 5.0], "x", {"a": [1.0, None, 2.0, 3.0, None]}, "", []))
    assert drawn.count("<circle") == 1
