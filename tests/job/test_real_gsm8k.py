"""GSM8K end to end with no network: the real files, a random Qwen2-shaped model, with and without the calculator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_models import DATA, REPOSITORY, save_model

pytestmark = pytest.mark.skipif(
    not (DATA / "gsm8k_test.jsonl").exists(), reason="no GSM8K files; enable with: AMEND_DATA=FOLDER make test"
)
NO_NETWORK = (
    "import runpy, socket, sys\n"
    "def refuse(self, address):\n"
    "    if self.family != getattr(socket, 'AF_UNIX', None): raise OSError('no network')\n"
    "    return connect(self, address)\n"
    "connect, socket.socket.connect = socket.socket.connect, refuse\n"
    "sys.argv = sys.argv[1:]\n"
    "runpy.run_path('run.py', run_name='__main__')\n"
)


@pytest.mark.heavy
@pytest.mark.parametrize(("algo", "calculator"), [("score", "false"), ("sft", "true")])
def test_train_and_evaluate_on_real_gsm8k(algo: str, calculator: str, tmp_path: Path) -> None:
    save_model(tmp_path / "qwen2")
    command = [
        sys.executable, "-c", NO_NETWORK, "run.py", f"algo={algo}", "task=gsm8k", f"task.source={DATA}",
        f"task.calculator={calculator}", "policy=hf", f"policy.path={tmp_path / 'qwen2'}", "scale=smoke",
        "algo.max_tokens=12", "algo.groups_per_batch=8", "eval.problems=8", "eval.samples=1", "logger=none",
        "trainer.threads=1", f"runs_dir={tmp_path / 'runs'}",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    folder = next((tmp_path / "runs" / "gsm8k" / algo).iterdir())
    sources = json.loads((folder / "sources.json").read_text())
    assert [sources[name]["rows"] for name in ("train", "test")] == [7473, 1319]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows and all(row.get("sampling/logp_difference", 0.0) < 1e-4 for row in rows if algo == "score")
