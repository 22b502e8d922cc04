"""The runner killed three times over real runs: its result is that of one that nobody disturbed, to the last digit.

``test_runner.py`` has the same of runs that only pretend, with all that a sweep may meet; here models learn.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from amend.sweep.plan import Plans
from amend.sweep.results import result
from amend.sweep.spec import read_sweep

ROOT = Path(__file__).parents[2]
ROUNDS = 24
SWEEP = f"""
program: run.py
method: grid
name: killed
metric: {{name: trained.acc_t2.mean, goal: maximize}}
parameters:
  seed: {{values: [0, 1]}}
  algo: {{values: [grpo]}}
command: ["${{env}}", "${{interpreter}}", "${{program}}", task=math, scale=smoke, debug=fast,
algo.num_iterations={ROUNDS},
          logger=none, trainer.threads=1, "${{args_no_hyphens}}"]
"""


def runner(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "amend.sweep", *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )


def rounds(runs: Path) -> int:
    """On disk, of all runs."""
    return sum(path.read_bytes().count(b"\n") for path in runs.glob("math/*/*/metrics.jsonl"))


def told(path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The sweep's result but for what names the clock or the folder."""
    monkeypatch.chdir(ROOT)
    found = json.loads(json.dumps(result(read_sweep(path), Plans(read_sweep(path), "", [f"runs_dir={runs}"]), [])))
    assert found["runs"] == 2 and not found["missing"]
    for row in found["rows"]:
        del row["cost"]["seconds"]
    return {key: value for key, value in found.items() if key not in ("run_minutes", "date")}


@pytest.mark.heavy
def test_killed_three_times_its_result_is_that_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "killed.yaml"
    path.write_text(SWEEP, encoding="utf-8")
    words = [str(path), "--jobs", "2"]
    assert runner([*words, f"runs_dir={tmp_path}/undisturbed"]).wait(timeout=300) == 0
    disturbed = tmp_path / "disturbed"
    for at in (2, ROUNDS // 2, ROUNDS + ROUNDS // 2):
        one = runner([*words, f"runs_dir={disturbed}"])
        while rounds(disturbed) < at and one.poll() is None:
            time.sleep(0.02)
        assert one.poll() is None, "it was done before it could be killed"
        one.send_signal(signal.SIGKILL)
        one.wait()
        time.sleep(0.5)  # its runs end with it
    assert rounds(disturbed) < 2 * ROUNDS, "no run was under way"
    assert runner([*words, f"runs_dir={disturbed}"]).wait(timeout=300) == 0
    for mine in (tmp_path / "undisturbed").glob("math/*/*/metrics.jsonl"):
        other = disturbed / mine.relative_to(tmp_path / "undisturbed")
        assert other.read_bytes() == mine.read_bytes() and mine.read_bytes().count(b"\n") == ROUNDS
    assert told(path, disturbed, monkeypatch) == told(path, tmp_path / "undisturbed", monkeypatch)
