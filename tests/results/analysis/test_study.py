"""Many runs as one study, counted by hand; and the same numbers in every file."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic_run import finished, metrics, runs, write

from amend.errors import UserError
from amend.results.analysis.baseline_comparison import gain, unresolved
from amend.results.analysis.metric_registry import BEYOND, PER_PROBLEM_RATES
from amend.results.analysis.rliable_aggregates import TAUS, across, performance_profiles
from amend.results.analysis.run_extract import gather, grouped
from amend.results.analysis.study import Figure, Series, Study, study
from amend.results.report.charts.chart import IntervalChart
from amend.results.report.charts.html import figure
from amend.results.report.charts.svg import LETTER, WIDTH
from amend.results.report.export import as_csv, as_json, as_latex, as_markdown, figure_table
from amend.results.run_folder.reader import run_folders
from amend.results.stats.random_effects import seed_interval

SOME = [["1+1 ok", "1+1 ok", "2*1 ok", "no"], ["no", "no", "no", "no"]] * 2


def made(folders: list[Path]) -> Study:
    return study(folders, gather(folders))


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """a with two seeds and a base model, one seed run twice; b with one seed."""
    a = ("a", [True, True, False, False], [True, False, True, True])
    again = ("a", [True, False, False, False], [True, True, False, False])
    return [
        finished(tmp_path / "a" / "0123abcd-s0", a[0], 0, a[1], a[2], SOME),
        finished(tmp_path / "a" / "0123abcd-s1", a[0], 1, [False] * 4, [False] * 4, SOME),
        finished(tmp_path / "a" / "0123abcd-s1-2", again[0], 1, again[1], again[2], SOME),
        finished(tmp_path / "b" / "89abcdef-s0", "b", 0, [True] * 4, [True] * 4, SOME),
    ]


def seeded(folder: Path, seed: int) -> Path:
    """A synthetic run, said to be of another seed."""
    path = folder / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "seed": seed}))
    return folder


def cells(of: Study, sheet: str, label: str) -> dict[str, tuple[float, float | None, float | None]]:
    found = next(s for s in of.sheets if s.key == sheet)
    row = next(r for r in found.rows if of.groups[r.group].label == label)
    return {c.key: tuple(cell) for c, cell in zip(found.columns, row.cells, strict=True) if cell}


def test_seeds_are_pooled_and_of_a_seed_run_twice_the_newest_counts(folders: list[Path]) -> None:
    of = made(folders)
    assert [(g.label, g.seeds) for g in of.groups] == [("base model", ()), ("a", (0, 1)), ("b", (0,))]
    means = {name: cell[0] for name, cell in cells(of, "greedy", "a").items()}
    assert means == pytest.approx({"acc_t1": 3 / 8, "acc_t2": 5 / 8, "delta": 2 / 8, "i_to_c": 3 / 8, "c_to_i": 1 / 8})
    assert {n: c[0] for n, c in cells(of, "wide", "a").items()} == {"maj": 0.5, "pass": 0.5, "unique": 1.0}
    assert any("run again" in note for note in of.notes) and any("one seed" in note for note in of.notes)
    assert cells(of, "cost", "a")["seeds"][0] == 2 and cells(of, "cost", "a")["seconds"] == (15.0, None, None)


def test_pass_at_every_k_is_the_unbiased_estimate(folders: list[Path]) -> None:
    """Half of the problems have 3 right of 4: pass@1 = 3/4 of them, pass@2 = 1 - C(1,2)/C(4,2) = all of them."""
    figure = next(f for f in made(folders).figures if f.key == "pass")
    assert figure.x == (1.0, 2.0, 4.0)
    assert figure.series[0].y == pytest.approx((0.375, 0.5, 0.5))
    assert all(low <= y <= high for s in figure.series for y, low, high in zip(s.y, s.low, s.high, strict=True))


def test_curves_meet_at_equal_sampled_tokens(folders: list[Path]) -> None:
    """One run logs each 31,000 tokens, the other each 62,000 with twice the reward."""
    rows = [{**row, "accuracy_t1": 0.3} for row in metrics(20, 2)]
    half = [{**row, "accuracy_t1": 0.6} for row in rows[1::2]]
    for folder, some in ((folders[0], rows), (folders[3], half)):
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    figure = next(f for f in made(folders).figures if f.key == "training_accuracy_t1")
    one, other = figure.series
    assert max(figure.x) == 620_000
    together = [(y, z) for y, z in zip(one.y, other.y, strict=True) if y is not None and z is not None]
    assert len(together) > 30 and all((y, z) == pytest.approx((0.3, 0.6)) for y, z in together)
    assert one.low == one.y == one.high  # its other seed logged nothing: a range of one


def test_gains_are_paired_by_problem(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    """Only problems that both models were given count."""
    folder = write_run(tmp_path / "a", problems=12)
    of = made([folder])
    both = {p: cells(of, "greedy", p)["acc_t2"][0] for p in ("base model", "score")}
    assert cells(of, "gain", "score")["acc_t2"][0] == pytest.approx(both["score"] - both["base model"])


def test_unfinished_runs_are_named_and_none_at_all_is_refused(folders: list[Path], tmp_path: Path) -> None:
    (folders[3] / "summary.json").unlink()
    assert any("1 unfinished" in note and "89abcdef-s0" in note for note in made(folders).notes)
    with pytest.raises(UserError, match="none of 1 folders holds a finished run"):
        made([folders[3]])


def test_groups_are_what_a_folder_is_called(folders: list[Path]) -> None:
    found = gather(folders)
    assert [[run.folder.name for run in group] for group in grouped(found)] == [
        ["0123abcd-s0", "0123abcd-s1-2"],
        ["89abcdef-s0"],
    ]


def test_every_file_says_the_same(folders: list[Path]) -> None:
    of = made(folders)
    lines = list(csv.DictReader(io.StringIO(as_csv(of))))
    value = json.loads(as_json(of))
    for sheet in value["sheets"]:
        for row in sheet["rows"]:
            for column, cell in zip(sheet["columns"], row["cells"], strict=True):
                name = value["groups"][row["group"]]["label"]
                mine = [(x["table"], x["condition"], x["figure"]) == (sheet["key"], name, column["key"]) for x in lines]
                if cell is None:  # not measured in these runs
                    assert not any(mine)
                    continue
                assert float(lines[mine.index(True)]["mean"]) == pytest.approx(cell["mean"], rel=1e-5)
    markdown, latex = as_markdown(of), as_latex(of)
    mean, low, high = (100 * v for v in cells(of, "greedy", "a")["acc_t2"])
    assert f"{mean:.1f} [{low:.1f}, {high:.1f}]" in markdown
    assert f"{mean:.1f} {{\\scriptsize [{low:.1f}, {high:.1f}]}}" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == len(of.sheets)
    assert "Δ" not in latex and not any(c in latex.replace("\\_", "") for c in "_")


def test_a_figure_as_a_table_by_hand(folders: list[Path]) -> None:
    """Of 21 places every other is told; where a condition has none, its cell is empty."""
    of = made(folders)
    y = tuple(None if i == 2 else i / 20 for i in range(21))
    low, high = (tuple(v and v + by for v in y) for by in (-0.01, 0.01))
    figure = Figure("pass", "log", "", "", "k", "%", tuple(range(21)), (Series(0, y, low, high), Series(1, y, (), ())))
    head, _, first, second = figure_table(of, figure).splitlines()
    assert head == "| k | 0 | 2 | 4 | 6 | 8 | 10 | 12 | 14 | 16 | 18 | 20 |"
    assert first.startswith(f"| {of.groups[0].label} | 0.0 ") and "|  | 20.0 [19.0, 21.0] |" in first
    assert second.startswith(f"| {of.groups[1].label} | 0.0 |  | 20.0 | 30.0 |")


def test_a_figure_that_no_run_has_is_no_column(folders: list[Path]) -> None:
    for sheet in made(folders).sheets:
        assert all(any(row.cells[i] for row in sheet.rows) for i in range(len(sheet.columns)))
    assert "rerank@" not in as_markdown(made(folders)), "no run here has a ranker"


def test_what_a_chart_says_of_a_row_has_room() -> None:
    svg = figure(IntervalChart("Δ", {"a": (-0.472, -0.516, -0.428)}, {"a": 0}, None))
    text = "−47.2 [−51.6, −42.8]"
    assert text in svg
    start = float(re.findall(r'<text x="([0-9.]+)" y="[0-9.]+">−47', svg)[0])
    assert start + LETTER * len(text) <= WIDTH


def test_gains_that_cannot_be_told_say_what_would_tell(tmp_path: Path) -> None:
    """Two seeds that gain 8 and 2 of 40 problems; one run; and a clear gain, of which nothing is said."""
    rng = np.random.default_rng(0)
    values = np.stack([rng.permutation([1.0] * up + [0.0] * (40 - up)) for up in (8, 2)])
    said = unresolved(values, "Acc@t1")
    _, low, high = gain(values)
    assert low < 0 < high and (low, high) == pytest.approx(seed_interval(values)[1:])
    assert said.startswith("Acc@t1: +12.5 [") and "with 2 seeds x 40 problems" in said and " seeds" in said[-40:]
    assert "one seed" in unresolved(rng.choice([-1.0, 0.0, 1.0], (1, 40)), "x")
    assert unresolved(np.ones((2, 40)), "x") == "" and unresolved(np.zeros((2, 40)), "x") == ""
    folders = []
    for seed, row in enumerate(values):
        folder = write(tmp_path / "a" / f"0123abcd-s{seed}", problems=40)
        columns = pq.read_table(folder / "episodes.parquet").to_pydict()
        where = zip(columns["phase"], columns["problem"], strict=True)
        columns["correct"] = [phase == "trained" and bool(row[int(p.split("-")[1])]) for phase, p in where]
        pq.write_table(pa.table(columns), folder / "episodes.parquet")
        folders.append(seeded(folder, seed))
    sheet = next(s for s in made(folders).sheets if s.key == "gain")
    assert sheet.lines and all(line.startswith("score, ") for line in sheet.lines)
    assert sheet.lines[0] in as_markdown(made(folders)) and r"\par\footnotesize score, " in as_latex(made(folders))


def test_what_only_summaries_hold_is_shown(tmp_path: Path) -> None:
    folders = [seeded(write(tmp_path / "a" / f"0123abcd-s{seed}"), seed) for seed in (0, 1)]
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in folders]
    summaries[1]["trained"]["survival"]["second_attempt"]["steps"]["error"] += 0.1
    folders[1].joinpath("summary.json").write_text(json.dumps(summaries[1]))
    found = cells(made(folders), "beyond", "score")
    assert set(found) == set(BEYOND)
    second = {**summaries[0]["trained"]["survival"]["second_attempt"]["steps"]}
    second["error"] += 0.05
    assert [found[name][0] for name in ("error", "predicted", "correct")] == pytest.approx(
        [second[name] for name in ("error", "predicted", "correct")]
    )
    spread = summaries[0]["sampled"]["base"]["diversity"]["t1"]["all"]["within"]
    assert cells(made(folders), "beyond", "base model")["ead"] == (spread["ead"]["mean"], None, None)


def test_rates_are_what_the_summaries_say_and_have_intervals(tmp_path: Path) -> None:
    folders = [seeded(write(tmp_path / "a" / f"0123abcd-s{seed}"), seed) for seed in (0, 1)]
    said = json.loads((folders[0] / "summary.json").read_text())["trained"]
    means = {"fix_rate": said["fix_rate"], "break_rate": said["break_rate"], "auroc": said["confidence"]["t1"]["auroc"]}
    found = cells(made(folders), "beyond", "score")
    assert {name: found[name][0] for name in means} == pytest.approx(means)
    assert all(found[name][1] < found[name][0] < found[name][2] for name in ("fix_rate", "auroc"))
    assert found["break_rate"] == (0, 0, 0), "nothing was spoilt"


def test_rates_of_different_problems_are_not_pooled(tmp_path: Path) -> None:
    folders = [seeded(write(tmp_path / "a" / f"0123abcd-s{seed}", problems=20 + seed), seed) for seed in (0, 1)]
    found = cells(made(folders), "beyond", "score")
    assert "error" in found and not set(PER_PROBLEM_RATES) & found.keys()


def test_algorithms_are_held_against_each_other_over_seeds_and_subjects() -> None:
    """Of four scores the middle two count; better on one subject of two, equal on the other: 3/4."""
    untrained = [{"A": 0.2, "B": 0.4}] * 2
    said = across({"untrained": untrained, "a": [{"A": 0.3, "B": 0.4}] * 2, "once": [{"A": 1.0, "B": 1.0}]})
    assert "untrained 30.0 [30.0, 30.0], a 35.0 [35.0, 35.0]" in said and "over seeds and 2 subjects" in said
    assert "better than one of untrained on a subject: a 0.75 [0.75, 0.75]" in said and "once" not in said
    assert across({"a": untrained}) == across({"a": untrained, "b": untrained[:1]}) == ""


def test_a_profile_is_the_share_of_seeds_and_subjects_above() -> None:
    """Four scores, 0.2, 0.4, 0.4 and 0.9: all are above 0.1, three above 0.2 (which is not above itself)."""
    shares = performance_profiles({"a": [{"A": 0.2, "B": 0.4}, {"A": 0.4, "B": 0.9}], "b": [{"A": 1.0, "B": 1.0}] * 2})
    at = {round(float(tau), 3): share for tau, share in zip(TAUS, shares["a"], strict=True)}
    assert (at[0.1], at[0.2], at[0.4], at[0.875], at[0.9]) == (1.0, 0.75, 0.25, 0.25, 0.0)
    assert shares["b"][-2:] == [1.0, 0.0] and performance_profiles({"a": [{"A": 0.2}] * 2}) == {}


def test_same_runs_same_study(folders: list[Path]) -> None:
    assert as_json(made(folders)) == as_json(made(folders))


def test_paths_patterns_and_folders_of_folders(folders: list[Path], tmp_path: Path) -> None:
    assert run_folders([str(tmp_path)]) == sorted(folders)
    assert run_folders([f"{tmp_path}/*/*-s0", str(folders[0])]) == [folders[0], folders[3]]
    (tmp_path / "empty").mkdir()
    for word, why in ((f"{tmp_path}/nope*", "no such path"), (f"{tmp_path}/empty", "no run folder in it")):
        with pytest.raises(UserError, match=why):
            run_folders([word])


def test_runs_on_different_problems_meet_on_those_they_share(tmp_path: Path) -> None:
    one = finished(tmp_path / "0123abcd-s0", "a", 0, [True, False], [True, False], SOME[:2])
    two = finished(tmp_path / "0123abcd-s1", "a", 1, [True, True, True], [True, True, True], SOME[:3])
    assert cells(made([one, two]), "greedy", "a")["acc_t1"][0] == pytest.approx(np.mean([[1, 0], [1, 1]]))


def test_a_long_name_is_cut_and_leaves_its_interval_room() -> None:
    """A name that took the whole width would turn the axis round."""
    name = "multi_turn eval.samples=32 eval.temperature=0.7 eval.problems=250 +1"
    svg = figure(IntervalChart("Acc", {name: (0.5, 0.4, 0.6), "score": (0.3, 0.2, 0.4)}, {name: 0, "score": 1}, None))
    ends = [(float(low), float(high)) for low, high in re.findall(r'whisker [^"]+" x1="([\d.-]+)" x2="([\d.-]+)"', svg)]
    assert len(ends) == 2 and all(0 < low < high < WIDTH for low, high in ends)
    assert (
        f"<title>{name}</title>" in svg
        and f">{name}</text>" not in svg
        and re.search(r">multi_turn[^<]*…[^<]*=250 \+1</text>", svg)
    )
    assert ">score</text>" in svg


def test_a_run_folder_with_another_name_keeps_its_condition(tmp_path: Path) -> None:
    """The condition and the seed are read from summary.json; the folder's name only names runs of older versions."""
    folders = runs(tmp_path, algorithms=1, seeds=2)
    for i, folder in enumerate(folders):
        summary = json.loads((folder / "summary.json").read_text())
        (folder / "summary.json").write_text(json.dumps({**summary, "config_hash": "abcd1234"}))
        folders[i] = folder.rename(folder.parent / f"mine {i}")
    found = gather(folders)
    assert {run.key[2] for run in found} == {"abcd1234"} and len(grouped(found)) == len(grouped(found[:1]))
