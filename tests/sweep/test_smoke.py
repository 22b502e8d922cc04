"""Every sweep file through the local runner at scale=smoke: its last run for real, all of them by --dry-run.

The last, for the first is often that of the untrained model: a copy of the file, its lists of values backwards, is run.

Runs are forked instead of started anew, for importing torch takes longer than such a run; what is forked is handed the
very words that a process would be given.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import IO

import pytest
import yaml
from forked import Forked
from small_models import DATA, save_model

from amend.sweep import runner
from amend.sweep.__main__ import main
from amend.sweep.search import grid
from amend.sweep.spec import read_sweep

ROOT = Path(__file__).parents[2]
SWEEPS = [p for p in sorted((ROOT / "sweeps").glob("*.yaml")) if "method:" in p.read_text(encoding="utf-8")]
SMALL = [
    "debug=fast", "trainer.threads=1", "task.test=32", "task.validation=16",
    "orm.problems=24", "orm.epochs=1", "orm.rollouts_per_step=1",
]  # fmt: skip
TWO_ROUNDS = ["algo.num_iterations=2", "algo.stage1_iterations=1", "algo.groups_per_batch=2", "algo.group_size=2"]
FITS = {  # what is fitted to given or generated solutions is many of them at every scale
    "init=sft": ["init.problems=24", "init.num_minibatches=2"],
    "distillation=sft": ["distillation.problems=16", "distillation.group_size=2", "distillation.num_minibatches=2"],
}


class Forking:
    """As much of the module ``subprocess`` as the runner asks for."""

    DEVNULL, STDOUT = subprocess.DEVNULL, subprocess.STDOUT

    @staticmethod
    def Popen(words: list[str], stdin: int, stdout: IO[bytes], stderr: int, env: dict[str, str]) -> Forked:
        return Forked(words[words.index("run.py") + 1 :], ROOT, env, stdout, stdout)


def programs(folder: Path) -> list[str]:
    """What a sweep over programs is run with here: the real files, a model made on the spot, and two rounds of the
    paper's 1,500, which its experiments ask for at any scale."""
    if not (DATA / "mbpp.jsonl").exists():
        pytest.skip("no MBPP files; enable with: AMEND_DATA=FOLDER make test")
    if shutil.which("bwrap") is None:
        pytest.skip("no bubblewrap; enable with: apt-get install bubblewrap")
    save_model(folder)
    files = [f"task.source={DATA}", f"task.train={DATA}"]
    return ["policy=hf", f"policy.path={folder}", *files, "algo.max_tokens=12", "eval.problems=8", *TWO_ROUNDS]


# One file of each kind runs on every change: imitation and RL in two turns, a fine-tuned model, noise, a reranker.
USUAL = ("score_ablations", "reason_init", "noise_lines", "reason_rewards")
EVERY = [pytest.param(path, marks=[] if path.stem in USUAL else pytest.mark.heavy, id=path.stem) for path in SWEEPS]


@pytest.mark.parametrize("path", EVERY)
def test_every_file_runs(path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(runner, "subprocess", Forking)  # the runner's alone: a run asks git for its commit
    runs = tmp_path_factory.getbasetemp() / "runs"  # one for all files: what they share runs once
    words = [f"runs_dir={runs}", f"orm.path={runs}/orm", "logger=none", *SMALL]
    text = path.read_text(encoding="utf-8")
    backwards = yaml.safe_load(text)
    for parameter in backwards["parameters"].values():
        parameter.get("values", []).reverse()
    copy = tmp_path_factory.mktemp("file") / path.name
    copy.write_text(yaml.safe_dump(backwards, sort_keys=False), encoding="utf-8")
    if "eval.reranker" in text:
        words.append(f"eval.reranker={runs}/orm")
    words += [word for what, fewer in FITS.items() if what in text for word in fewer]
    if "humaneval" in text:
        words += programs(tmp_path_factory.mktemp("model"))
    assert main([str(copy), "--scale", "smoke", "--count", "1", *words]) == 0


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_run_of_every_file_can_be(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert main([str(path), "--dry-run"]) == 0
    assert capsys.readouterr().out.count("python run.py") == len(grid(read_sweep(path)))
