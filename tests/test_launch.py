"""``trainer=ddp`` as a user starts it: two processes on the CPU leave the run folder that one would leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from amend import launch
from amend.errors import UserError

REPOSITORY = Path(__file__).parents[1]
ROUNDS = 4
SMALL = [
    "scale=smoke", f"algo.rounds={ROUNDS}", "eval.problems=8", "eval.samples=1", "trainer.checkpoint_every=2",
    "trainer.threads=1", "logger=none", "curriculum=plr",
]  # fmt: skip
TWO = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]


def start(runs: Path, *overrides: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [sys.executable, "run.py", *SMALL, f"runs_dir={runs}", *overrides],
        cwd=REPOSITORY, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def folder(runs: Path) -> Path:
    found = [path for path in runs.glob("math/score/*") if path.is_dir()]
    assert len(found) == 1, found
    return found[0]


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def test_killed_and_resumed_two_processes_leave_the_run_folder_of_one(tmp_path: Path) -> None:
    """Killed (kill -9) after its first checkpoint. The other process does not outlive the first, and the rest of
    the run is that of a single process, but for how sums are rounded."""
    alone = start(tmp_path / "one")
    killed = start(tmp_path / "two", *TWO)
    until = time.monotonic() + 240
    while time.monotonic() < until and not list((tmp_path / "two").glob("math/score/*/checkpoints/last.ckpt")):
        time.sleep(0.02)
    others = children(killed.pid)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert others
    code, out, err = finish(start(tmp_path / "two", *TWO, "resume=true"))
    assert code == 0, err
    assert not [pid for pid in others if Path(f"/proc/{pid}").exists() and alive(pid)]
    assert out.count("evaluating the trained model, greedy") == 1 and "report:" in out  # one of the two speaks
    code, _, err = finish(alone)
    assert code == 0, err

    one, two = folder(tmp_path / "one"), folder(tmp_path / "two")
    names = {path.relative_to(one).as_posix() for path in one.rglob("*")}
    assert names == {path.relative_to(two).as_posix() for path in two.rglob("*")}
    rows = [[json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()] for path in (one, two)]
    assert [row["round"] for row in rows[1]] == list(range(1, ROUNDS + 1))
    for single, double in zip(*rows, strict=True):
        assert single.pop("stage") == double.pop("stage")
        assert double == pytest.approx(single, rel=1e-3, abs=1e-5)
    kept = [torch.load(path / "checkpoints" / "last.ckpt", weights_only=True) for path in (one, two)]
    for name, value in kept[0]["state_dict"].items():
        assert float((kept[1]["state_dict"][name] - value).norm()) <= 1e-5 * float(value.norm())
    assert kept[0]["amend"] == kept[1]["amend"]
    tables = [pq.read_table(path / "episodes.parquet").drop_columns(["logp"]) for path in (one, two)]
    assert tables[0].equals(tables[1])


def alive(pid: int) -> bool:
    """Not a zombie that nobody has asked after."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_both_complain_of_is_said_once(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "foreign.ckpt")
    said = ["job=evaluate", f"checkpoint={tmp_path / 'foreign.ckpt'}"]
    code, _, err = finish(start(tmp_path / "runs", *TWO, *said))
    assert code == 2
    assert err.strip().count("\n") == 0 and "foreign.ckpt" in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said() -> None:
    with pytest.raises(UserError, match="accelerator=gpu: torch sees no GPU"):
        launch.device("gpu")
    assert launch.device("auto") == launch.device("cpu") == torch.device("cpu")
