"""Code, from the command line to the table of episodes: MBPP's files, HumanEval's, and a random model.

What a random model writes is no program, so that what is shown here is the path: posed, replied to, run where there is
anything to run, trained on and evaluated.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_models import DATA, REPOSITORY, save_model

pytestmark = [
    pytest.mark.skipif(
        not (DATA / "mbpp.jsonl").exists(), reason="no MBPP files; enable with: AMEND_DATA=FOLDER make test"
    ),
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="no bubblewrap; enable with: apt-get install bubblewrap"),
]


@pytest.mark.heavy
def test_train_on_mbpp_and_evaluate_on_humaneval(tmp_path: Path) -> None:
    save_model(tmp_path / "qwen2")
    command = [
        sys.executable, "run.py", "algo=score", "task=humaneval", f"task.source={DATA}", f"task.train={DATA}",
        "dialogue=self_correct_code", "policy=hf", f"policy.path={tmp_path / 'qwen2'}", "scale=smoke",
        "algo.max_tokens=12", "eval.problems=8", "eval.samples=0", "eval.pass_at_k_samples=0", "logger=none",
        "trainer.threads=1",
        f"runs_dir={tmp_path / 'runs'}",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = next((tmp_path / "runs" / "humaneval" / "score").iterdir())
    table = pq.read_table(folder / "episodes.parquet").to_pydict()
    assert set(table["phase"]) == {"base", "trained"} and set(table["turn"]) == {1, 2}
    assert {name.split("/")[0] for name in table["problem"]} == {"HumanEval"}
    assert set(table["why"]) <= {"no answer", "error", "wrong", "right"}
    sources = json.loads((folder / "sources.json").read_text())
    assert (sources["test"]["rows"], sources["mbpp all"]["rows"]) == (164, 974)
