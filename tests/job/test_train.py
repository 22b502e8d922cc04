"""Whole runs, as a user starts them: what they leave, and that nothing ends them in the wrong state (law 7).

Runs are processes of their own, for what is tested is what survives one: a kill at any instant, Ctrl-C, a broken file.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from forked import Forked

REPOSITORY = Path(__file__).parents[2]
ROUNDS = 6
SMALL = [
    "scale=smoke", f"algo.num_iterations={ROUNDS}", "algo.stage1_iterations=3", "algo.lr=0.001", "eval.problems=8",
    "eval.samples=1",
    "trainer.checkpoint_every=2", "trainer.threads=1", "logger=none",
]  # fmt: skip


def start(runs: Path, *overrides: str, largest: int | None = None) -> Forked:
    """``python run.py`` with a small run's overrides; ``largest``: bytes a file may have, as if the disk were full."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return Forked([*SMALL, f"runs_dir={runs}", *overrides], REPOSITORY, environment, largest=largest)


def finish(process: Forked) -> tuple[int | None, str, str]:
    out, err = process.communicate()
    return process.returncode, out, err


def folder(runs: Path) -> Path:
    found = [path for path in runs.glob("math/score/*") if path.is_dir()]
    assert len(found) == 1, found
    return found[0]


def weights(path: Path) -> dict[str, torch.Tensor]:
    saved = torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)
    return {name: value for name, value in saved["state_dict"].items() if name.startswith("policy.lm.")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    runs = tmp_path_factory.mktemp("undisturbed")
    code, out, err = finish(start(runs))
    assert code == 0, err
    return folder(runs), out


def assert_same_run(one: Path, two: Path) -> None:
    """The same lines, the same weights, the same episodes, bit for bit."""
    assert (one / "metrics.jsonl").read_text().splitlines() == (two / "metrics.jsonl").read_text().splitlines()
    a, b = weights(one), weights(two)
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert pq.read_table(one / "episodes.parquet").equals(pq.read_table(two / "episodes.parquet"))


def test_a_run_leaves_what_the_readme_says(undisturbed: tuple[Path, str]) -> None:
    path, out = undisturbed
    for name in ("config.yaml", "versions.json", "metrics.jsonl", "timing.jsonl", "episodes.parquet", "summary.json",
                 "report.html", "checkpoints/last.ckpt", "checkpoints/best.ckpt"):  # fmt: skip
        assert (path / name).stat().st_size > 0, name
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == list(range(1, ROUNDS + 1))
    assert [row["stage"] for row in rows] == ["I"] * 3 + ["II"] * 3
    assert all(row["sampling/logp_difference"] < 1e-4 for row in rows)
    summary = json.loads((path / "summary.json").read_text())
    assert {"algo", "task", "policy", "seed", "base", "trained", "cost"} <= summary.keys()
    for phase in ("base", "trained"):
        figures = summary[phase]
        assert figures["n"] == 8
        for name in ("acc_t1", "acc_t2", "delta", "i_to_c", "c_to_i"):
            assert figures[name]["low"] <= figures[name]["mean"] <= figures[name]["high"]
        assert figures["delta"]["mean"] == pytest.approx(figures["acc_t2"]["mean"] - figures["acc_t1"]["mean"])
        assert figures["delta"]["mean"] == pytest.approx(figures["i_to_c"]["mean"] - figures["c_to_i"]["mean"])
    cost = summary["cost"]
    assert cost["episodes"] == ROUNDS * 16 and cost["optimizer_steps"] == ROUNDS
    assert cost["sampled_tokens"] == rows[-1]["sampled_tokens"]
    assert "Acc@t2" in out and str(path / "report.html") in out


def test_kill_at_any_instant_and_resume_is_the_undisturbed_run(undisturbed: tuple[Path, str], tmp_path: Path) -> None:
    """Killed (kill -9) at three instants nobody chose, once before the first checkpoint: the rest is bit-identical."""
    chance = random.Random(time.time_ns())
    wait = [0, chance.randint(2, 4), chance.randint(4, ROUNDS - 1)]  # lines there must be before the kill
    for kill, lines in enumerate(wait):
        process = start(tmp_path, *(["resume=true"] if kill else []))
        metrics = list(tmp_path.glob("math/score/*/metrics.jsonl"))
        until = time.monotonic() + 120
        while time.monotonic() < until and process.poll() is None:
            metrics = list(tmp_path.glob("math/score/*/metrics.jsonl"))
            if (metrics and len(metrics[0].read_text().splitlines()) >= lines) or (not lines and metrics):
                break
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    code, _, err = finish(start(tmp_path, "resume=true"))
    assert code == 0, err
    assert_same_run(undisturbed[0], folder(tmp_path))


def test_ctrl_c_saves_says_how_to_go_on_and_going_on_is_the_same_run(
    undisturbed: tuple[Path, str], tmp_path: Path
) -> None:
    process = start(tmp_path)
    until = time.monotonic() + 120
    while time.monotonic() < until and not list(tmp_path.glob("math/score/*/metrics.jsonl")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert code == 130, err
    assert "resume=true" in out and "Traceback" not in out + err
    at = torch.load(folder(tmp_path) / "checkpoints" / "last.ckpt", weights_only=True)["amend"]["iteration"]
    assert 1 <= at < ROUNDS
    code, _, err = finish(start(tmp_path, "resume=true"))
    assert code == 0, err
    assert_same_run(undisturbed[0], folder(tmp_path))


def test_a_broken_checkpoint_is_named_in_one_line_and_nothing_is_lost(tmp_path: Path) -> None:
    process = start(tmp_path)
    until = time.monotonic() + 120
    while time.monotonic() < until and not list(tmp_path.glob("math/score/*/checkpoints/last.ckpt")):
        time.sleep(0.02)
    process.kill()
    process.communicate()
    last, metrics = folder(tmp_path) / "checkpoints" / "last.ckpt", folder(tmp_path) / "metrics.jsonl"
    whole, lines = last.read_bytes(), metrics.read_bytes()

    def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
        kept = torch.load(io.BytesIO(whole), weights_only=True)
        change(kept)
        torch.save(kept, told := io.BytesIO())
        return told.getvalue()

    name = "policy.lm.model.norm.weight"
    for damage, said in [
        (whole[:1000], "not a complete amend checkpoint"),
        (changed(lambda kept: kept.pop("amend")), "not a complete amend checkpoint"),
        (changed(lambda kept: kept["amend"].pop("beta2_now")), "another algorithm or model (its state: KeyError"),
        (changed(lambda kept: kept["state_dict"].pop(name)), f"another algorithm or model ({name}: missing there"),
        (changed(lambda kept: kept["state_dict"].update({name: torch.zeros(2)})), f"({name}: (2,) there, (128,) here"),
    ]:
        last.write_bytes(damage)
        code, _, err = finish(start(tmp_path, "resume=true"))
        assert code == 2
        assert err.strip().count("\n") == 0 and "last.ckpt" in err and said in err
        assert metrics.read_bytes() == lines
    last.write_bytes(whole)
    code, _, err = finish(start(tmp_path, "resume=true"))
    assert code == 0, err


def test_a_second_run_of_the_same_configuration_gets_its_own_folder(undisturbed: tuple[Path, str]) -> None:
    path, _ = undisturbed
    before = (path / "summary.json").read_bytes()
    code, _, err = finish(start(path.parents[2], "algo.num_iterations=6"))
    assert code == 0, err
    assert (path / "summary.json").read_bytes() == before
    assert path.with_name(path.name + "-2").is_dir()
    assert_same_run(path, path.with_name(path.name + "-2"))  # and, its seed being the same, it is the same run


def test_evaluate_a_checkpoint_gives_the_trained_figures(undisturbed: tuple[Path, str], tmp_path: Path) -> None:
    path, _ = undisturbed
    code, _, err = finish(start(tmp_path, "job=evaluate", f"checkpoint={path / 'checkpoints' / 'best.ckpt'}"))
    assert code == 0, err
    found = json.loads((folder(tmp_path) / "summary.json").read_text())
    assert found["base"]["acc_t2"] == json.loads((path / "summary.json").read_text())["trained"]["acc_t2"]


def test_a_checkpoint_of_another_model_is_refused_in_one_line(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "foreign.ckpt")
    code, _, err = finish(start(tmp_path / "runs", "job=evaluate", f"checkpoint={tmp_path / 'foreign.ckpt'}"))
    assert code == 2
    assert err.strip().count("\n") == 0 and "foreign.ckpt" in err


def test_a_disk_that_fills_up_is_said_in_one_line_and_loses_no_line(
    undisturbed: tuple[Path, str], tmp_path: Path
) -> None:
    """The first checkpoint does not fit; what was measured before it is there, and with space the run goes on."""
    code, _, err = finish(start(tmp_path, largest=2**20))
    assert code == 2
    assert err.strip().count("\n") == 0 and "last.ckpt" in err and "Traceback" not in err
    path = folder(tmp_path)
    assert [json.loads(line)["iteration"] for line in (path / "metrics.jsonl").read_text().splitlines()] == [1, 2]
    assert not list((path / "checkpoints").glob("*.writing"))
    code, _, err = finish(start(tmp_path, "resume=true"))
    assert code == 0, err
    assert_same_run(undisturbed[0], path)


def test_a_run_killed_after_its_last_round_is_only_evaluated(undisturbed: tuple[Path, str], tmp_path: Path) -> None:
    """All rounds are in the checkpoint and nothing else is finished: going on adds no round."""
    path = tmp_path / undisturbed[0].relative_to(undisturbed[0].parents[2])
    shutil.copytree(undisturbed[0], path)
    for name in (".finished", "summary.json", "report.html"):
        (path / name).unlink()
    code, _, err = finish(start(tmp_path, "resume=true"))
    assert code == 0, err
    assert_same_run(undisturbed[0], path)
    before, after = (json.loads((p / "summary.json").read_text()) for p in (undisturbed[0], path))
    assert before["trained"] == after["trained"]
