"""Run folders of older versions are read under today's names, and reported."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from synthetic_run import write

from amend.results.report.html.run_page import write_report
from amend.results.run_folder.reader import read_run

OLD_ROW = {
    "round": 1, "done": 0.5, "stage": "I", "reward_t1": 0.25, "reward_t2": 0.5, "paid_t2": 3.0, "tokens": 12.0,
    "truncated": 0.1, "zero_variance": 0.2, "gap": 1e-7, "no_edit": 0.3, "failures": 0, "updates": 2,
    "sampled_tokens": 100, "told_apart": 0.9, "margin": 0.4, "kept": 7,
}  # fmt: skip


def test_a_row_of_an_older_version_has_todays_names(tmp_path: Path) -> None:
    """What was called reward was correctness; the reward was written only where it differed from it."""
    (tmp_path / "metrics.jsonl").write_text(json.dumps(OLD_ROW) + "\n")
    (row,) = read_run(tmp_path).metrics
    assert (row["accuracy_t1"], row["accuracy_t2"], row["reward_t1"], row["reward_t2"]) == (0.25, 0.5, 0.25, 3.0)
    assert row["iteration"] == 1 and row["progress"] == 0.5 and row["response_length/mean"] == 12.0
    assert row["response_length/clip_ratio"] == 0.1 and row["frac_reward_zero_std"] == 0.2
    assert row["sampling/logp_difference"] == 1e-7 and row["unedited"] == 0.3 and row["reward_errors"] == 0
    assert row["optimizer_steps"] == 2 and row["rewards/accuracies"] == 0.9 and row["rewards/margins"] == 0.4
    assert row["num_traces"] == 7 and not {"round", "done", "tokens", "gap", "paid_t2"} & row.keys()


def test_a_row_of_today_is_left_alone(tmp_path: Path) -> None:
    row = {"iteration": 1, "reward_t1": 0.5, "accuracy_t1": 0.25}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    assert read_run(tmp_path).metrics == (row,)


def test_a_folder_of_an_older_version_is_reported(tmp_path: Path) -> None:
    folder = write(tmp_path / "run")
    (folder / "metrics.jsonl").write_text(json.dumps(OLD_ROW) + "\n" + json.dumps({**OLD_ROW, "round": 2}) + "\n")
    summary = json.loads((folder / "summary.json").read_text())
    cost = {("updates" if name == "optimizer_steps" else name): value for name, value in summary["cost"].items()}
    alarm = {"name": "lost_reach", "round": 0, "text": "an alarm of an older version"}
    (folder / "summary.json").write_text(json.dumps({**summary, "cost": cost, "alarms": [alarm], "alerts": []}))
    table = pq.read_table(folder / "episodes.parquet")
    pq.write_table(pa.Table.from_pydict(table.to_pydict()), folder / "episodes.parquet")  # without a schema
    found = read_run(folder).summary
    assert found["cost"]["optimizer_steps"] == cost["updates"] and found["alerts"][0]["iteration"] == 0
    assert found["alerts"][0]["name"] == "sampling_efficiency_gap"
    text = write_report(folder).read_text(encoding="utf-8")
    assert "Training accuracy" in text and "2 iterations" in text
