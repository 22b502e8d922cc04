"""Several seeds of one configuration: which figures there are, of one turn and of two, and what they come to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic_run import write

from amend.errors import UserError
from amend.results.analysis.pooling import pool
from amend.results.report.terminal.tables import seeds_table


def seeds(root: Path, turns: int) -> list[Path]:
    folders = [write(root / f"{seed}", problems=12, samples=1, turns=turns, rounds=3) for seed in (0, 1)]
    for seed, folder in enumerate(folders):
        summary = json.loads((folder / "summary.json").read_text())
        (folder / "summary.json").write_text(json.dumps({**summary, "seed": seed}))
    return folders


def test_two_turns_have_the_gain_of_the_second_attempt(tmp_path: Path) -> None:
    each, pooled = pool(seeds(tmp_path, 2))
    assert list(pooled) == ["acc_t1", "acc_t2", "delta", "i_to_c", "c_to_i", "gain"]
    assert pooled["delta"].mean == pytest.approx(pooled["acc_t2"].mean - pooled["acc_t1"].mean)
    assert [row["seed"] for row in each] == [0, 1]


def test_one_turn_has_that_of_the_first(tmp_path: Path) -> None:
    folders = seeds(tmp_path, 1)
    summary = json.loads((folders[0] / "summary.json").read_text())
    _, pooled = pool(folders)
    before, after = (summary[phase]["acc_t1"]["mean"] for phase in ("base", "trained"))
    assert list(pooled) == ["acc_t1", "gain_t1"]
    assert (pooled["acc_t1"].mean, pooled["gain_t1"].mean) == pytest.approx((after, after - before))
    assert seeds_table(folders, "t").row_count == 3  # two figures, and the seconds


def test_one_seed_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least two seeds are needed"):
        pool(seeds(tmp_path, 1)[:1])
