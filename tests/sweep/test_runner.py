"""A sweep runs what is missing and nothing twice, whatever happened before."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from amend.sweep.__main__ import main

REPOSITORY = Path(__file__).parents[2]
PRETEND = REPOSITORY / "tests" / "helpers" / "pretend.py"
SWEEP = """
method: grid
program: run.py
name: small
parameters:
  seed: {values: [0, 1]}
  algo: {values: [%s]}
command: ["${env}", "${interpreter}", "${program}", "${args_no_hyphens}"]
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run.py that pretends, and nothing run yet."""
    shutil.copy(PRETEND, tmp_path / "run.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "src"))
    return tmp_path


def sweep(algorithms: str = "grpo, rloo") -> str:
    Path("small.yaml").write_text(SWEEP % algorithms, encoding="utf-8")
    return "small.yaml"


def summaries(folder: Path) -> dict[str, list[int]]:
    """What each run came to, by its folder's name."""
    found = folder.glob("runs/math/*/*/summary.json")
    return {str(path.parent.relative_to(folder)): json.loads(path.read_text())["lines"] for path in found}


def alone(words: list[str]) -> subprocess.Popen[bytes]:
    """The runner as a process of its own."""
    asked = [sys.executable, "-m", "amend.sweep", *words]
    return subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_it_runs_all_and_then_nothing_twice(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([sweep(), "--jobs", "2"]) == 0
    said = capsys.readouterr().out
    assert said.count("starts: ") == 4 and "[4/4] finished: " in said and "4 finished, 0 failed" in said
    assert len(summaries(desk)) == 4 and all(len(lines) == 6 for lines in summaries(desk).values())
    told = json.loads(next(desk.glob("runs/math/*/*/summary.json")).read_text())
    assert told["env"] == {"WANDB_MODE": "offline", "WANDB_RUN_GROUP": "small"}
    if len(os.sched_getaffinity(0)) > 1:
        assert len(told["cores"]) == len(os.sched_getaffinity(0)) // 2, "each of two keeps to half of the cores"
    assert main([sweep(), "--jobs", "2"]) == 0
    said = capsys.readouterr().out
    assert "starts: " not in said and said.count("finished before: ") == 4
    assert main([sweep(), "--dry-run"]) == 0
    assert capsys.readouterr().out.count("finished: /usr/bin/env python run.py") == 4


def test_killed_three_times_it_ends_as_if_undisturbed(desk: Path) -> None:
    words = [sweep(), "--jobs", "2"]
    assert alone([*words, "runs_dir=undisturbed"]).wait(timeout=120) == 0
    expected = summaries_in(desk / "undisturbed")
    assert len(expected) == 4
    for rounds in (2, 9, 18):  # with the first runs under way, between two, among the last
        runner = alone(words)
        while written(desk / "runs") < rounds and runner.poll() is None:
            time.sleep(0.02)
        assert runner.poll() is None, "it was done before it could be killed"
        runner.send_signal(signal.SIGKILL)
        runner.wait()
        time.sleep(0.3)
        before = written(desk / "runs")
        time.sleep(0.5)
        assert written(desk / "runs") == before, "a run outlived its runner"
    assert alone(words).wait(timeout=120) == 0
    assert summaries_in(desk / "runs") == expected, "same folders, none twice, and in them the same"


def summaries_in(runs: Path) -> dict[str, list[int]]:
    return {
        str(p.parent.relative_to(runs)): json.loads(p.read_text())["lines"] for p in runs.glob("math/*/*/summary.json")
    }


def written(runs: Path) -> int:
    """Rounds on disk."""
    return sum(path.read_bytes().count(b"\n") for path in runs.glob("math/*/*/metrics.jsonl"))


def test_what_fails_is_listed_and_stops_nothing(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([sweep("rcrl, rloo"), "--jobs", "2"]) == 1
    said = capsys.readouterr().out
    assert "2 finished, 2 failed" in said
    assert "failed: /usr/bin/env python run.py seed=1 algo=rcrl: amend: round 3: the gradient is not finite" in said
    kept = json.loads((desk / "runs" / "sweeps" / "small" / "failed.json").read_text())
    assert len(kept) == 2 and all("round 3" in why for why in kept.values())


def test_what_cannot_be_is_refused_before_it_costs_anything(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([sweep("grpoo")]) == 1
    assert "no such file in conf/algo; did you mean grpo?" in capsys.readouterr().out
    assert main([sweep("pair_sft"), "--dry-run", "algo.turns=2"]) == 1
    assert "refused: " in (said := capsys.readouterr().out) and "algo=pair_sft has one turn" in said


def test_it_waits_for_a_run_that_somebody_else_is_at(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = subprocess.Popen([sys.executable, "run.py", "algo=rloo", "seed=0"], stderr=subprocess.DEVNULL)
    while not written(desk / "runs"):
        time.sleep(0.02)
    assert main([sweep("rloo")]) == 0
    assert other.wait() == 0
    assert capsys.readouterr().out.count("starts: ") == 1, "the other one's run was not run again"
    assert len(summaries(desk)) == 2


def test_interrupted_it_ends_the_rounds_and_goes_on_later(desk: Path) -> None:
    runner = alone([sweep("dpo")])
    while not written(desk / "runs"):
        time.sleep(0.02)
    runner.send_signal(signal.SIGTERM)
    assert runner.wait(timeout=60) == 130
    assert written(desk / "runs") == 1 and not summaries(desk)


def test_count_bounds_what_is_started(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([sweep(), "--count", "1"]) == 0
    assert main([sweep(), "--count", "1"]) == 0
    assert len(summaries(desk)) == 2


def test_two_ways_to_write_one_run_are_one_run(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (SWEEP % "rloo").replace("  algo:", "  algo.lr: {values: [1.2e-4, 0.00012]}\n  algo:")
    Path("twice.yaml").write_text(text, encoding="utf-8")
    assert main(["twice.yaml", "--dry-run"]) == 0
    assert "[2/2]" in capsys.readouterr().out


def test_bad_input_is_one_line(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing.yaml"]) == 2
    assert main([sweep(), "--jobs", "0"]) == 2
    (desk / "run.py").unlink()
    assert main([sweep()]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 3 and "start the sweep from the folder" in said


def test_random_needs_an_end_and_draws_the_same_again(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "method: random\nprogram: run.py\nparameters:\n  algo.lr: {min: 0.1, max: 1.0}\n  algo: {value: rloo}\n"
    text += 'command: ["${env}", "${interpreter}", "${program}", "${args_no_hyphens}"]\n'
    Path("any.yaml").write_text(text, encoding="utf-8")
    assert main(["any.yaml", "--dry-run"]) == 2
    assert "has no end; add --count" in capsys.readouterr().err
    assert main(["any.yaml", "--dry-run", "--count", "3"]) == 0
    first = capsys.readouterr().out
    assert main(["any.yaml", "--dry-run", "--count", "3"]) == 0
    assert capsys.readouterr().out == first and first.count("algo.lr=0.") == 3
    assert main(["any.yaml", "--dry-run", "--count", "3", "--seed", "1"]) == 0
    assert capsys.readouterr().out != first


BAYES = """
method: bayes
program: run.py
metric: {name: loss, goal: minimize}
parameters:
  algo.lr: {min: 0.0, max: 1.0}
  algo: {value: rloo}
command: ["${env}", "${interpreter}", "${program}", "${args_no_hyphens}"]
"""


def test_bayes_without_optuna_says_what_to_install(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    Path("bayes.yaml").write_text(BAYES, encoding="utf-8")
    assert main(["bayes.yaml", "--count", "2"]) == 2
    said = capsys.readouterr().err
    assert 'pip install "amend[hpo]"' in said and said.count("\n") == 1


def test_bayes_learns_and_a_killed_one_suggests_what_it_would_have(desk: Path) -> None:
    optuna = pytest.importorskip("optuna", reason="no optuna; enable with: make install-dev")
    Path("bayes.yaml").write_text(BAYES, encoding="utf-8")

    def tried(runs: str) -> list[float]:
        storage = optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(desk / runs / "sweeps" / "bayes" / "optuna.journal"))
        )
        found = optuna.load_study(study_name="bayes", storage=storage).trials
        return [trial.params["algo.lr"] for trial in found if trial.params]

    assert main(["bayes.yaml", "--count", "4", "runs_dir=one"]) == 0
    assert main(["bayes.yaml", "--count", "2", "runs_dir=two"]) == 0
    runner = alone(["bayes.yaml", "--count", "4", "runs_dir=two"])
    while len(tried("two")) < 3 and runner.poll() is None:
        time.sleep(0.02)
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    assert main(["bayes.yaml", "--count", "4", "runs_dir=two"]) == 0
    assert tried("one") == tried("two") and len(set(tried("one"))) == 4
