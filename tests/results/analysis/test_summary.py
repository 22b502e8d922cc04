"""The summary on a table worked out by hand, and on tables that lack something."""

from __future__ import annotations

import json

import numpy as np
import pytest
from synthetic_run import episodes

from amend.results.analysis.summary import compare, summarise
from amend.results.metrics.episode_table import COLUMNS
from amend.results.stats.intervals import wilson


def table(outcomes: dict[str, list[str]], phase: str = "base") -> dict[str, list]:
    """Greedy two-turn rows; an outcome is "ic" (wrong, then right), "cc", ..."""
    columns: dict[str, list] = {name: [] for name in COLUMNS}
    for subject, of in outcomes.items():
        for p, outcome in enumerate(of):
            for turn, letter in enumerate(outcome, start=1):
                row = {
                    "phase": phase, "decoding": "greedy", "problem": f"{subject}-{p}", "sample": 0, "turn": turn,
                    "question": "?", "gold": "1", "level": 1, "subject": subject, "text": f"say {letter}",
                    "answer": letter, "correct": letter == "c", "why": "", "tokens": 4, "logp": -1.0, "stop": "end",
                }  # fmt: skip
                for name in COLUMNS:
                    columns[name].append(row[name])
    return columns


def joined(*parts: dict[str, list]) -> dict[str, list]:
    return {name: [value for part in parts for value in part[name]] for name in COLUMNS}


BASE = table({"sums": ["cc", "ci", "ic", "ii"], "pairs": ["ii", "ii", "ci", "cc"]})
TRAINED = table({"sums": ["cc", "cc", "ic", "ic"], "pairs": ["ic", "ii", "cc", "cc"]}, "trained")


def test_by_hand():
    m = summarise(BASE, "base", "greedy")
    assert {k: m[k]["mean"] for k in ("acc_t1", "acc_t2", "delta", "i_to_c", "c_to_i")} == {
        "acc_t1": 4 / 8, "acc_t2": 3 / 8, "delta": -1 / 8, "i_to_c": 1 / 8, "c_to_i": 2 / 8
    }  # fmt: skip
    assert m["n"] == 8 and m["change_rate"]["mean"] == 3 / 8 and m["copy_rate"]["mean"] == 5 / 8
    assert m["fix_rate"] == 1 / 4 and m["break_rate"] == 2 / 4
    assert m["acc_t2"] == pytest.approx(wilson(3, 8)._asdict())
    assert m["delta"]["low"] < -1 / 8 < m["delta"]["high"]
    assert m["edit_distance"]["mean"] == pytest.approx(3 / 8 * 1 / 10)
    assert m["by_subject"]["pairs"]["delta"]["mean"] == -1 / 4 and m["by_subject"]["pairs"]["n"] == 4
    assert "pass_at" not in m  # one sample a problem


def test_change_is_paired_over_problems():
    change = compare(joined(BASE, TRAINED), "greedy")
    assert change["acc_t2"]["mean"] == pytest.approx(4 / 8)
    assert change["delta"]["mean"] == pytest.approx(4 / 8)
    assert change["p_acc_t1"] == 1.0 and change["p_acc_t2"] == pytest.approx(2 / 16)  # four won, none lost
    missing = {name: values[2:] for name, values in TRAINED.items()}  # the first problem was not evaluated again
    assert compare(joined(BASE, missing), "greedy")["acc_t2"]["mean"] == pytest.approx(4 / 7)


def test_nothing_evaluated():
    assert summarise(BASE, "trained", "greedy") == {"n": 0}
    assert summarise(BASE, "base", "sampled") == {"n": 0}
    assert compare(BASE, "greedy") == {}


def test_one_turn_has_no_flips():
    m = summarise(episodes(6, 1, 1, ("base",)), "base", "greedy")
    assert "acc_t1" in m and not {"acc_t2", "delta", "i_to_c", "change_rate"} & m.keys()


def test_several_samples_are_clustered_by_problem():
    columns = episodes(40, 8, 2, ("base",))
    m = summarise(columns, "base", "sampled")
    assert list(m["pass_at"]["t1"]) == list(m["maj_at"]["t2"]) == ["1", "2", "4", "8"]
    assert m["pass_at"]["t1"]["1"]["mean"] == pytest.approx(m["acc_t1"]["mean"])
    assert m["maj_at"]["t1"]["1"]["mean"] == pytest.approx(m["acc_t1"]["mean"])
    means = [m["pass_at"]["t1"][k]["mean"] for k in ("1", "2", "4", "8")]
    assert means == sorted(means)
    assert m["n"] == 40


def test_same_table_same_figures_and_valid_json():
    columns = episodes(20, 3, 3, ("base",))
    m = summarise(columns, "base", "sampled")
    assert m == summarise(columns, "base", "sampled")
    assert "acc_t3" in m and json.loads(json.dumps(m, allow_nan=False)) == m


def test_every_interval_holds_its_mean():
    columns = episodes(30, 2, 2, ("base", "trained"))
    figures = [summarise(columns, p, d) for p in ("base", "trained") for d in ("greedy", "sampled")]
    intervals = [v for m in figures for v in m.values() if isinstance(v, dict) and "low" in v]
    assert len(intervals) > 20
    assert all(i["low"] <= i["mean"] <= i["high"] and np.isfinite(list(i.values())).all() for i in intervals)
