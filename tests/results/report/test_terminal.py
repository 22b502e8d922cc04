"""What a terminal shows, live and plain, and the table and transcripts at the end."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from synthetic_run import episodes, metrics

from amend.results.analysis.summary import summarise
from amend.results.report.formatting import clock, points, printable, shortened
from amend.results.report.terminal import live_view
from amend.results.report.terminal.final_report import final_table
from amend.results.report.terminal.live_view import View, sparkline
from amend.results.report.transcripts import choose

TIMING = {"iteration": 1, "seconds": 2.0, "tokens_per_second": 15500.0}


def summary(columns, phases=("base", "trained")):
    figures = {d: {p: summarise(columns, p, d) for p in phases} for d in ("greedy", "sampled")}
    return {"algo": "score", "task": "math", **figures["greedy"], "sampled": figures["sampled"]}


@pytest.fixture
def live(monkeypatch):
    """A console that takes itself for a terminal of a given width, and what was written to it."""

    def make(width: int) -> io.StringIO:
        written = io.StringIO()
        shown = Console(file=written, force_terminal=True, width=width, height=40, highlight=False, color_system=None)
        monkeypatch.setattr(live_view, "console", lambda: shown)
        return written

    return make


def test_plain_lines_where_there_is_no_terminal(capsys):
    view = View(3)
    view.start("score on math", {"policy": "tiny", "seed": "0"})
    view.phase("evaluating the base model, greedy")
    for row in metrics(3, 2):
        view.log_iteration(row, TIMING)
    view.note("a [bold]word[/bold]")
    view.stop()
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["score on math", "  policy: tiny", "  seed: 0", "evaluating the base model, greedy ..."]
    assert len(lines) == 8 and "\x1b" not in "".join(lines)
    assert lines[4].startswith("iteration 1/3  stage I  r1 0.")
    assert all(word in lines[4] for word in ("r2 ", "KL1 ", "KL2 ", "changed ", "cut ", "15,500 tok/s", "0:04 left"))
    assert lines[6].endswith("0:00 left")
    assert lines[7] == "note: a [bold]word[/bold]"


def test_rounds_that_lack_keys(capsys):
    view = View(0)
    view.start("t", {})
    view.log_iteration({}, {})
    view.log_iteration({"iteration": 2, "reward_t1": 0.5}, {})
    view.stop()
    assert capsys.readouterr().out.splitlines() == ["t", "iteration 1", "iteration 2  r1 0.500"]


@pytest.mark.parametrize("width", [60, 80, 140])
def test_live_panel_fits_and_says_everything(live, width):
    written = live(width)
    view = View(40)
    view.start("score on math", {"policy": "tiny", "folder": "runs/math/score/0a1b2c3d-s0"})
    view.phase("evaluating")
    for row in metrics(40, 2)[:25]:
        view.log_iteration(row, TIMING)
    view.stop()
    view.stop()
    panel = written.getvalue().rsplit("╭", 1)[1]
    assert max(len(line) for line in panel.splitlines()) <= width
    for word in ("iteration 25/40", "Stage II", "reward t1", "reward t2", "KL t2", "answer changed"):
        assert word in panel
    if width >= 80:
        assert "15,500 tokens/s" in panel and "0:30 left" in panel


def test_live_shows_the_phase_while_it_lasts(live):
    written = live(80)
    view = View(40)
    view.start("score on math", {})
    view.phase("evaluating the base model")
    view.stop()
    assert "evaluating the base model" in written.getvalue()


def test_final_table_and_transcripts(capsys):
    columns = episodes(60, 2, 2, ("base", "trained"))
    final_table(summary(columns), columns, Path("runs/x/report.html"))
    out = capsys.readouterr().out
    figures = summary(columns)
    for name, signed in (("acc_t1", False), ("acc_t2", False), ("delta", True), ("i_to_c", False), ("c_to_i", False)):
        for phase in ("base", "trained"):
            assert points(figures[phase][name], signed) in out
            assert points(figures["sampled"][phase][name], signed) in out
    for word in ("Acc@t1", "Acc@t2", "Δ(t1,t2)", "i→c", "c→i", "corrected, i→c", "broken, c→i", "kept, c→c", "change"):
        assert word in out
    assert out.rstrip().endswith("report: runs/x/report.html")
    assert max(len(line) for line in out.splitlines()) <= 80


def test_a_kind_that_never_happened_is_said(capsys):
    columns = episodes(30, 0, 2, ("base", "trained"))
    keep = [
        i
        for i in range(len(columns["turn"]))
        if not (columns["phase"][i] == "trained" and columns["problem"][i] in broken(columns))
    ]
    columns = {name: [values[i] for i in keep] for name, values in columns.items()}
    final_table(summary(columns), columns, Path("r"))
    assert "broken, c→i: no such episode" in capsys.readouterr().out


def broken(columns):
    """Problems that the trained model got right at first and wrong after, or wrong twice."""
    rows = zip(columns["phase"], columns["problem"], columns["turn"], columns["correct"], strict=True)
    return {problem for phase, problem, turn, right in rows if phase == "trained" and turn == 2 and not right}


def test_only_a_base_and_only_one_turn(capsys):
    columns = episodes(20, 0, 1, ("base",))
    final_table(summary(columns, ("base",)), columns, Path("r"))
    out = capsys.readouterr().out
    assert "Acc@t1" in out and "Acc@t2" not in out and "trained" not in out and "right  (base model" in out


def test_an_empty_table_is_no_accident(capsys):
    columns = episodes(0, 0, 2, ())
    final_table(summary(columns), columns, Path("r"))
    assert "report: r" in capsys.readouterr().out


def test_an_output_that_knows_no_greek_costs_nothing(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    columns = episodes(10, 0, 2, ("base", "trained"))
    final_table(summary(columns), columns, Path("r"))
    assert b"?(t1,t2)" in raw.getvalue()


def test_transcripts_are_chosen_by_rule():
    columns = episodes(200, 0, 2, ("base", "trained"))
    chosen = choose(columns)
    turned = {name: values[::-1] for name, values in columns.items()}
    assert chosen == choose(turned)  # whatever the order of rows
    assert [(k, [a.correct for a in t.attempts]) for k, t in chosen.items()] == [
        ("i→c", [False, True]), ("c→i", [True, False]), ("c→c", [True, True])
    ]  # fmt: skip
    assert all(t.phase == "trained" for t in chosen.values())


def test_hostile_texts_cannot_move_the_cursor(capsys):
    columns = episodes(10, 0, 2, ("base", "trained"))
    columns["text"] = [f"\x1b[2J\x07\r[red]{text}\u202e" for text in columns["text"]]
    final_table(summary(columns), columns, Path("r"))
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out and "\u202e" not in out
    assert r"\x1b[2J\x07\r[red]" in out


@pytest.mark.parametrize(
    ("figure", "signed", "said"),
    [
        ({"mean": 0.4731, "low": 0.442, "high": 0.504}, False, "47.3 [44.2, 50.4]"),
        ({"mean": -0.001, "low": -0.02, "high": 0.0}, True, "-0.1 [-2.0, +0.0]"),
        (None, True, ""),
    ],
)
def test_points(figure, signed, said):
    assert points(figure, signed) == said


def test_small_words():
    assert [clock(s) for s in (0, 7.4, 200, 3723)] == ["0:00", "0:07", "3:20", "1:02:03"]
    assert sparkline([0, 1, 2, 3], 10) == "▁▃▆█"
    assert sparkline([1, 1], 10) == "▁▁" and sparkline([], 10) == "" and sparkline([float("nan"), 2.0], 9) == "▁"
    assert len(sparkline(list(range(1000)), 28)) == 28
    assert printable("a\tb\nc\x00") == "a\\tb\nc\\x00"
    assert shortened("x" * 5000).startswith("x" * 600) and "3800 characters" in shortened("x" * 5000)
