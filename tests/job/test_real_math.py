"""The real path from the first day: MATH's own files, a Qwen2-shaped model, a tokenizer trained on the spot.

The model is random and learns nothing. What is shown is that real questions are read, rendered, answered, graded by
math-verify, trained on and evaluated by the same command as the built-in ones.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_models import DATA, REPOSITORY, save_model

pytestmark = pytest.mark.skipif(
    not (DATA / "math500.jsonl").exists(), reason="no MATH files; enable with: AMEND_DATA=FOLDER make test"
)


@pytest.mark.heavy
def test_train_and_evaluate_on_real_math(tmp_path: Path) -> None:
    save_model(tmp_path / "qwen2")
    command = [
        sys.executable, "run.py", "algo=score", "task=math", f"task.source={DATA}", "policy=hf",
        f"policy.path={tmp_path / 'qwen2'}", "scale=smoke", "algo.max_tokens=12", "eval.problems=16", "eval.samples=1",
        "logger=none", "trainer.threads=1", f"runs_dir={tmp_path / 'runs'}",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = next((tmp_path / "runs" / "math" / "score").iterdir())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["stage"] for row in rows] == ["I", "I", "II", "II"]
    assert all(row["sampling/logp_difference"] < 1e-4 for row in rows)
    table = pq.read_table(folder / "episodes.parquet").to_pydict()
    assert set(table["phase"]) == {"base", "trained"} and set(table["turn"]) == {1, 2}
    real = {json.loads(line)["problem"] for line in (DATA / "math500.jsonl").open(encoding="utf-8")}
    assert set(table["question"]) <= real and len(set(table["problem"])) == 16
    assert set(table["why"]) <= {"no answer", "unparsed", "timeout", "wrong", "right"}
    assert json.loads((folder / "summary.json").read_text())["policy"] == "qwen2"
    sources = json.loads((folder / "sources.json").read_text())
    assert [sources[name]["rows"] for name in ("train", "test")] == [12_000, 500]
    assert sources["test"]["sha256"] == hashlib.sha256((DATA / "math500.jsonl").read_bytes()).hexdigest()
