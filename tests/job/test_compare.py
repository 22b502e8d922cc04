"""One command runs several algorithms under one budget, prints their table, and never runs the same thing twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from amend.config.compose import compose_config
from amend.job.compare import where
from amend.results.run_folder.naming import run_path

REPOSITORY = Path(__file__).parents[2]
SMALL = [
    "job=compare", "compare.algorithms=[untrained,star]", "compare.seeds=[0]", "compare.sampled_tokens=1500",
    "scale=smoke", "debug=fast", "scale.pass_at_k_samples=4", "eval.pass_at_k_problems=8", "trainer.threads=1",
    "compare.overrides=['scale.num_iterations=50','scale.groups_per_batch=4','scale.group_size=4']",
]  # fmt: skip


def compare(runs: Path, *more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    asked = [sys.executable, "run.py", *SMALL, "logger=none", f"runs_dir={runs}", *more]
    return subprocess.run(asked, cwd=REPOSITORY, env=environment, text=True, capture_output=True, timeout=300)


def test_a_table_a_budget_and_nothing_twice(tmp_path: Path) -> None:
    first = compare(tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stdout.count("python run.py algo=") == 2 and "2 of 2 runs" in first.stdout
    entries = {entry["algo"]: entry for entry in json.loads((tmp_path / "comparison.json").read_text())}
    assert entries.keys() == {"untrained", "star"}
    assert entries["untrained"]["cost"]["sampled_tokens"] == 0
    assert 1500 <= entries["star"]["cost"]["sampled_tokens"] < 3000  # the round that reaches the budget is the last
    data = next(tmp_path.rglob("data/traces-*.jsonl"))
    row = json.loads(data.read_text(encoding="utf-8").splitlines()[0])
    assert [m["role"] for m in row["prompt"]] == ["user", "assistant", "user"]
    assert [m["role"] for m in row["completion"]] == ["assistant"]
    again = compare(tmp_path)
    assert "python run.py algo=" not in again.stdout and "2 of 2 runs" in again.stdout


def test_what_fails_is_named_and_keeps_nothing_else_from_running(tmp_path: Path) -> None:
    said = compare(
        tmp_path, "compare.algorithms=[grpo,untrained]", "prefill=base_attempt"
    )  # grpo trains one turn: refused
    assert said.returncode == 1 and "1 of 2 runs" in said.stdout
    assert "failed: algo=grpo seed=0: amend: prefill=base_attempt: this prefill replaces" in said.stdout


def test_an_unknown_algorithm_is_one_line_before_anything_runs(tmp_path: Path) -> None:
    said = compare(tmp_path, "compare.algorithms=[untrained,grpoo]")
    assert said.returncode == 2 and "python run.py algo=" not in said.stdout
    assert "no algo=grpoo" in said.stderr and "did you mean grpo" in said.stderr and said.stderr.count("\n") == 1


def test_a_folder_killed_before_it_held_anything_is_a_run_that_has_not_begun(tmp_path: Path) -> None:
    words = ["algo=untrained", "seed=0", f"runs_dir={tmp_path}"]
    folder = run_path(compose_config(words))
    assert where(words) == "new"
    folder.mkdir(parents=True)
    assert where(words) == "new"  # resume=true would find no unfinished run
    (folder / "config.yaml").touch()
    assert where(words) == "unfinished"
    (folder / ".finished").touch()
    assert where(words) == "finished"
