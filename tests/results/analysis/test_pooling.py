"""The papers' table by hand: two algorithms, two seeds, four problems, every figure counted on paper."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_run import finished

from amend.results.analysis.baseline_comparison import compare_to_baseline
from amend.results.analysis.pooling import compared, write_comparison
from amend.results.report.terminal.tables import comparison_tables


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    some = [["1+1 ok", "1+1 ok", "2*1 ok", "no"], ["no", "no", "no", "no"]] * 2
    return [
        finished(tmp_path / "a0", "a", 0, [True, True, False, False], [True, False, True, True], some),
        finished(tmp_path / "a1", "a", 1, [True, False, False, False], [True, True, False, False], some),
        finished(tmp_path / "b0", "b", 0, [True] * 4, [True] * 4, some),
    ]


def test_figures(folders: list[Path]) -> None:
    """a: turn 1 right on 2 and 1 of 4, turn 2 on 3 and 2; one spoilt, and 2 and 1 mended. Wide: 3 of 4 right on half
    of the problems, in two ways."""
    a, b = compared(folders)
    assert (a["algo"], a["seeds"], a["k"]) == ("a", [0, 1], 4)
    means = {name: interval["mean"] for name, interval in a["figures"].items()}
    assert means == pytest.approx(
        {"acc_t1": 3 / 8, "acc_t2": 5 / 8, "delta": 2 / 8, "i_to_c": 3 / 8, "c_to_i": 1 / 8}
        | {"maj": 0.5, "pass": 0.5, "unique": 1.0}
    )
    assert all(interval["low"] <= interval["mean"] <= interval["high"] for interval in a["figures"].values())
    assert a["cost"]["seconds"] == 15.0
    assert b["figures"]["delta"] == {"mean": 0.0, "low": 0.0, "high": 0.0} and b["seeds"] == [0]


def test_tables_and_json(folders: list[Path], tmp_path: Path) -> None:
    greedy, wide = comparison_tables(folders, 100)
    assert [column.header for column in greedy.columns] == [
        "trained",
        "Acc@t1 = maj@1",
        "Acc@t2",
        "Δ(t1,t2)",
        "i→c",
        "c→i",
    ]
    assert list(greedy.columns[0].cells) == ["a", "b"]
    assert next(iter(greedy.columns[3].cells)).startswith("+25.0 [")
    assert [column.header for column in wide.columns][1:4] == ["maj@4", "pass@4", "unique"]
    written = json.loads(write_comparison(tmp_path / "out" / "c.json", folders).read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(compared(folders)))


def test_what_the_data_cannot_resolve_is_called_that(tmp_path: Path) -> None:
    """Half of the problems against all of them, on every seed; and a seed that gains what another loses."""
    half, whole = [True, False] * 10, [True] * 20
    some = [["no"]] * 20
    folders = [
        finished(tmp_path / f"{algo}{seed}", algo, seed, half, second, some)
        for algo, seconds in {
            "untrained": (half, half, half),
            "better": (whole, whole, whole[:-1] + [False]),
            "noise": (whole, [False] * 20, half),
        }.items()
        for seed, second in enumerate(seconds)
    ]
    untrained, better, noise = compared(folders)
    assert "against" not in untrained
    assert better["against"]["acc_t2"]["resolved"] and better["against"]["acc_t2"]["p"] < 0.05
    assert better["against"]["acc_t2"]["mean"] == pytest.approx((1 + 1 + 0.95) / 3 - 0.5)
    assert not noise["against"]["acc_t2"]["resolved"] and "not resolved" in noise["against"]["acc_t2"]["verdict"]
    assert noise["against"]["acc_t1"]["p"] == 1.0
    *_, told = comparison_tables(folders, 100)
    assert list(told.columns[0].cells) == ["better", "noise"] and "Acc@t2 less untrained's" in str(told.title)
    assert next(iter(told.columns[1].cells)).startswith("+48.3 [") and next(iter(told.columns[3].cells)).startswith(
        "1.00"
    )
    resolved, unresolved = told.columns[4].cells
    assert resolved == "" and unresolved == "more of both, or more than can be run"


def test_several_looks_cost_something() -> None:
    """One difference that alone is just resolved is not among ten."""
    rng = np.random.default_rng(1)
    base = rng.random((3, 50))
    alone = {"untrained": {"x": base}, "a": {"x": base + rng.normal(0.03, 0.02, (3, 1)) + rng.normal(0, 0.02, (3, 50))}}
    first = compare_to_baseline(alone, ["x"], "untrained")["a"]["x"]
    others = {f"b{i}": {"x": base + rng.normal(0, 0.01, (3, 50))} for i in range(9)}
    among = compare_to_baseline(alone | others, ["x"], "untrained")["a"]["x"]
    assert among["mean"] == first["mean"] and among["p"] >= first["p"]
    assert among["p"] == pytest.approx(min(1.0, 10 * first["p"]))
    assert compare_to_baseline(others, ["x"], "untrained") == {}
