"""A user's own model and data, from folders, with no network: sockets are taken away before anything is imported.

Not even a local one can be connected, so W&B's own service and the server that forks the grader's workers are out of
reach as well: the run says so once, starts its workers another way, and goes on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
from architectures import folder
from paper_data import data

ROOT = Path(__file__).parents[1]
BLOCKED = """
import runpy, socket, sys
def refuse(*given, **named):
    raise OSError("a socket was asked for")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from amend.task.grading import math_grader as grade
grade.extract_answer = lambda reply: "1 + 1"  # a random model's replies have no answer: this one needs sympy
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def test_a_folder_is_a_policy_and_a_folder_is_a_task(tmp_path: Path) -> None:
    words = [
        f"policy={folder('qwen2', tmp_path / 'model')}",
        "task=gsm8k", f"task.source={data('gsm8k', tmp_path / 'data')}",
        "scale=smoke", "tuning=lora", "task.validation=2", "algo.max_tokens=8", "eval.problems=4", "eval.samples=0",
        "trainer.threads=1", f"runs_dir={tmp_path / 'runs'}",
    ]  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "WANDB_MODE")}
    said = subprocess.run(
        [sys.executable, "-c", BLOCKED, str(ROOT / "run.py"), *words],
        capture_output=True, text=True, env=environment, timeout=300,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    (run,) = (path.parent for path in (tmp_path / "runs").glob("gsm8k/score/*/report.html"))
    assert said.stderr.count("logging failed; the run continues without it: WandbService") == 1, said.stderr
    table = pq.read_table(run / "episodes.parquet").to_pydict()
    assert set(zip(table["gold"], table["why"], strict=True)) == {
        ("0", "wrong"), ("2", "right"), ("4", "wrong"), ("6", "wrong")
    }  # fmt: skip
