"""The page of many runs: complete in itself, bounded, hostile-proof, comparable, and the same wherever it is copied."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections import defaultdict
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from strict import Page
from synthetic_run import episodes, runs

from amend.results.report.charts.chart import LineChart
from amend.results.report.charts.html import figure
from amend.results.report.charts.svg import cut
from amend.results.report.html import study_episodes
from amend.results.report.html.study_page import write_index
from amend.results.run_folder.reader import run_folders

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & \"quoted\" 'too' <!-- \u2028 \ud800"


def opened(page: Path) -> dict[str, Any]:
    """The attempts that a page carries."""
    found = re.search(r'id="packed">([A-Za-z0-9+/=]*)</script>', page.read_text(encoding="utf-8"))
    assert found
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("many")
    return write_index(root / "out", runs(root / "runs"))[0]


def test_the_page_has_every_section_and_asks_no_network(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    page = Page(text)
    assert re.findall(r"<h[12][^>]*>([^<]+)", text) == [
        "algo0, algo1, algo2 on math", "Comparison", "Greedy", "Change from the base model",
        "Beyond accuracy", "Cost", "Learning curves", "How much second attempts rewrite",
        "Seeds and subjects above an accuracy", "Attempts at the same problem",
    ]  # fmt: skip
    assert not re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text.replace("http://www.w3.org/2000/svg", ""))
    assert not re.findall(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", text)
    assert any("default-src 'none'" in (a.get("content") or "") for _, a in page.seen)
    assert sum("data-chart" in attributes for _, attributes in page.seen) == 9 + 1


def test_runs_of_one_turn_have_a_page_too(tmp_path: Path) -> None:
    """Their greatest figure is that of first attempts."""
    page = write_index(tmp_path / "out", runs(tmp_path / "runs", algorithms=2, turns=1))[0]
    text = page.read_text(encoding="utf-8")
    assert "Largest accuracy at the first attempt: algo" in text and "second attempt" not in text.split("<h2>")[0]


def test_what_stands_beside_it(report: Path) -> None:
    linked = {a["href"] for tag, a in Page(report.read_text(encoding="utf-8")).seen if tag == "a"}
    assert linked == {"results.csv", "results.md", "results.tex", "study.json"}
    assert all((report.parent / str(name)).is_file() for name in linked)
    drawn = sorted(report.parent.glob("figures/*.svg"))
    assert len(drawn) == 3 + 9 + 1 + 3
    for path in drawn:
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
        assert root.tag == "{http://www.w3.org/2000/svg}svg" and "--s0" in "".join(root.itertext())


def test_it_is_the_same_from_a_folder_copied_elsewhere(report: Path, tmp_path: Path) -> None:
    """Nothing in it is a path that only held where it was written, the list of runs apart."""
    text = report.read_text(encoding="utf-8")
    listed = text.index("<summary>Runs"), text.index("</details>")
    assert str(report.parents[1]) not in text[: listed[0]] + text[listed[1] :]
    again, _ = write_index(tmp_path / "elsewhere", run_folders([str(report.parents[1] / "runs")]))
    assert again.read_bytes() == report.read_bytes()


def test_every_condition_is_there_on_every_problem(report: Path) -> None:
    data = opened(report)
    who = defaultdict(set)
    for problem, group, seed, decoding, sample, _, _ in data["episodes"]:
        who[problem, decoding, sample].add((group, seed))
    full = {(0, -1), *((group, seed) for group in (1, 2, 3) for seed in (0, 1))}
    assert len(who) == 12 * 3 and all(found == full for found in who.values())
    assert len(data["texts"]) == len(set(data["texts"]))


def test_attempts_are_those_of_the_table(report: Path) -> None:
    columns = pq.read_table(report.parents[1] / "runs" / "algo1" / "00000001-s1" / "episodes.parquet").to_pydict()
    rows = zip(*(columns[name] for name in ("phase", "decoding", "problem", "sample", "turn", "text")), strict=True)
    table = {row[:5]: row[5] for row in rows}
    data, compared = opened(report), 0
    for problem, group, seed, decoding, sample, kind, attempts in data["episodes"]:
        if (group, seed) == (2, 1):
            for turn, (text, answer, right, *_) in enumerate(attempts, 1):
                key = ("trained", data["decodings"][decoding], data["problems"][problem][0], sample, turn)
                assert data["texts"][text] == table[key]
                assert answer == -1 or (data["texts"][answer] == data["problems"][problem][2]) >= right
                compared += 1
            assert data["kinds"][kind] == "→".join("ic"[a[2]] for a in attempts)
    assert compared == 12 * 3 * 2


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    folders = runs(tmp_path / "runs", 2, 1)
    columns = episodes(6, 1, 2, ("base", "trained"))
    for name in ("text", "answer", "question", "gold", "subject", "why", "problem"):
        columns[name] = [f"{HOSTILE[:-1]}{value}" for value in columns[name]]
    pq.write_table(pa.table(columns), folders[0] / "episodes.parquet")
    summary = json.loads((folders[0] / "summary.json").read_text())
    (folders[0] / "summary.json").write_text(
        json.dumps({**summary, "algo": HOSTILE, "task": HOSTILE, "policy": HOSTILE})
    )
    text = write_index(tmp_path / "out", folders)[0].read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.scripts) == 2
    assert not any(tag == "img" or any(name.startswith("on") for name in attributes) for tag, attributes in page.seen)
    for name in ("results.csv", "results.md", "results.tex", "study.json"):
        assert (tmp_path / "out" / name).read_text(encoding="utf-8")


def test_the_script_writes_texts_never_markup() -> None:
    script = files("amend.results.report.html").joinpath("assets", "study.js").read_text(encoding="utf-8")
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)


def test_a_page_that_would_grow_too_large_leaves_out_whole_problems_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_episodes, "BUDGET", 5_000)
    page, _ = write_index(tmp_path / "out", runs(tmp_path / "runs", 2, problems=40))
    data = opened(page)
    text = page.read_text(encoding="utf-8")
    who = defaultdict(set)
    for problem, group, seed, *_ in data["episodes"]:
        who[problem].add((group, seed))
    full = {0, 1, 2}
    assert len(who) > 5 and all({g for g, _ in found} == full for found in who.values())
    left = 40 * 3 * 5 - len(data["episodes"])
    assert f"{left:,} more are left out" in text


def test_long_replies_are_cut_and_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_episodes, "RAW", 400_000)
    folders = runs(tmp_path / "runs", 2, 1, samples=0)
    for folder in folders:
        columns = episodes(12, 0, 2, ("base", "trained"), padding=2000)
        pq.write_table(pa.table(columns), folder / "episodes.parquet")
    page, _ = write_index(tmp_path / "out", folders)
    assert "replies longer than 4,000 characters are cut in the middle" in page.read_text(encoding="utf-8")
    assert max(map(len, opened(page)["texts"])) < 4_100


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_lines_and_words_can_be_seen_in_light_and_dark() -> None:
    """WCAG 2: 3 to 1 for what is drawn, 4.5 to 1 for words."""
    light, dark = (
        files("amend.results.report.html")
        .joinpath("assets", "chart.css")
        .read_text(encoding="utf-8")
        .split("@media")[:2]
    )
    for theme in (light, dark):
        colours = dict(re.findall(r"(--[\w]+): (#[0-9a-f]{6})", theme))
        ground = luminance(colours["--paper"])

        def contrast(name: str, ground: float = ground, colours: dict[str, str] = colours) -> float:
            low, high = sorted((luminance(colours[name]), ground))
            return (high + 0.05) / (low + 0.05)

        assert all(contrast(f"--s{i}") >= 3 for i in range(8))
        assert all(contrast(name) >= 4.5 for name in ("--ink", "--soft", "--focus", "--right", "--wrong"))


def test_no_two_of_forty_lines_look_alike() -> None:
    """Colour and dash together, so that neither is needed alone; and beside both, every line has its name."""

    names = {f"n{i}": i for i in range(40)}
    chart = LineChart("t", [1.0, 2.0], "x", {name: [0.0, float(i)] for name, i in names.items()}, "", [], places=names)
    drawn = figure(chart)
    assert len(set(re.findall(r'class="line (s\d d\d)"', drawn))) == 40
    assert len(re.findall(r'class="name [^>]*><title>n\d+</title>n\d+<', drawn)) == 40


def test_names_that_begin_alike_are_told_apart_where_they_are_cut() -> None:
    names = [f"expert_iteration sampled_tokens={n}" for n in (25000, 100000)]
    assert [cut(name, 24) for name in names] == ["expert_itera…okens=25000", "expert_itera…kens=100000"]
    assert cut("score", 5) == "score" and len(cut(names[0], 9)) == 9
    series = {name: [0.1, 0.2] for name in names}
    drawn = figure(LineChart("t", [0.0, 1.0], "x", series, "", [], places={n: i for i, n in enumerate(names)}))
    assert all(f"<title>{name}</title>" in drawn for name in names)
