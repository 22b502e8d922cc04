"""``trainer=ddp|fsdp`` as a user starts it: two processes on the CPU leave the run folder that one would leave."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from amend.distributed import launch
from amend.errors import UserError
from amend.training.checkpoints import load_checkpoint

REPOSITORY = Path(__file__).parents[2]
ROUNDS = 4
SMALL = [
    "scale=smoke", f"algo.num_iterations={ROUNDS}", "eval.problems=8", "eval.samples=0", "eval.pass_at_k_samples=0",
    "trainer.checkpoint_every=2", "trainer.threads=1", "logger=none", "curriculum=plr",
]  # fmt: skip
TWO = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]
DIVIDED = ["trainer=fsdp", *TWO[1:]]
LAST = "checkpoints/last.ckpt"


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


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    runs = tmp_path_factory.mktemp("alone")
    code, _, err = finish(start(runs))
    assert code == 0, err
    return folder(runs)


def assert_but_for_rounding(one: Path, two: Path) -> None:
    """The same lines, the same weights, the same replies; sums over processes are rounded in another order."""
    rows = [[json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()] for path in (one, two)]
    assert [row["iteration"] for row in rows[1]] == list(range(1, ROUNDS + 1))
    for single, double in zip(*rows, strict=True):
        assert single.pop("stage") == double.pop("stage")
        assert double == pytest.approx(single, rel=1e-3, abs=1e-5)
    best = [torch.load(path / "checkpoints" / "best.ckpt", weights_only=True) for path in (one, two)]
    assert best[0].keys() == best[1].keys()
    for name, value in best[0].items():
        assert float((best[1][name] - value).norm()) <= 1e-5 * float(value.norm())
    tables = [pq.read_table(path / "episodes.parquet").drop_columns(["logp"]) for path in (one, two)]
    assert tables[0].equals(tables[1])


@pytest.mark.heavy
def test_killed_and_resumed_two_processes_leave_the_run_folder_of_one(alone: Path, tmp_path: Path) -> None:
    """Killed (kill -9) after its first checkpoint. The other process does not outlive the first, and the rest of
    the run is that of a single process, but for how sums are rounded."""
    killed = start(tmp_path, *TWO)
    others = children_at_the_first_checkpoint(killed, tmp_path)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert others
    code, out, err = finish(start(tmp_path, *TWO, "resume=true"))
    assert code == 0, err
    assert not [pid for pid in others if alive(pid)]
    assert out.count("evaluating the trained model, greedy") == 1 and "report:" in out  # one of the two speaks
    path = folder(tmp_path)
    assert {p.relative_to(path) for p in path.rglob("*")} == {p.relative_to(alone) for p in alone.rglob("*")}
    assert_but_for_rounding(alone, path)
    kept = [torch.load(p / "checkpoints" / "last.ckpt", weights_only=True)["amend"] for p in (path, alone)]
    assert kept[0] == kept[1]


@pytest.mark.heavy
def test_divided_weights_leave_the_run_of_one_and_are_resumed_bit_for_bit(alone: Path, tmp_path: Path) -> None:
    """``trainer=fsdp``. What a kill after the first checkpoint would leave is copied while the run stands still, and
    gone on with: as if it had come between moving one checkpoint, in parts, aside and naming the next."""
    through, killed = tmp_path / "through", tmp_path / "killed"
    process = start(through, *DIVIDED)
    for pid in (pids := [process.pid, *children_at_the_first_checkpoint(process, through)]):
        os.kill(pid, signal.SIGSTOP)
    shutil.copytree(through, killed)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    code, out, err = finish(process)
    assert code == 0, err
    assert "  memory: about" in out and f"{ROUNDS} iterations, {ROUNDS} optimizer steps" in out and "replies/s" in out
    path = folder(through)
    files = {p.relative_to(path) for p in path.rglob("*") if p.parent.name != "last.ckpt"}
    assert files == {p.relative_to(alone) for p in alone.rglob("*")}
    assert {p.name for p in (path / LAST).iterdir()} == {".metadata", "meta.pt", "__0_0.distcp", "__1_0.distcp"}
    assert_but_for_rounding(alone, path)

    again = folder(killed)
    assert not (again / "summary.json").exists()
    (again / LAST).rename(again / "checkpoints" / ".last.ckpt.before")
    (again / "checkpoints" / ".last.ckpt.writing").mkdir(exist_ok=True)
    code, _, err = finish(start(killed, *DIVIDED, "resume=true"))
    assert code == 0, err
    assert {p.name for p in (again / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    for name in ("metrics.jsonl", "episodes.parquet"):
        assert (again / name).read_bytes() == (path / name).read_bytes()
    assert_equal(*(load_checkpoint(p / LAST) for p in (again, path)))
    assert_equal(*(load_checkpoint(p / "checkpoints" / "best.ckpt") for p in (again, path)))


def children_at_the_first_checkpoint(process: subprocess.Popen[str], runs: Path) -> list[int]:
    """The processes that a run has started, as soon as there is something to go on from."""
    until = time.monotonic() + 240
    while not list(runs.glob(f"math/score/*/{LAST}")):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    return children(process.pid)


def assert_equal(one: Any, two: Any) -> None:
    """Nested values, tensors bit for bit."""
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_equal(one[key], two[key])
    else:
        assert torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two


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
