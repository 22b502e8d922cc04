"""What ``runs`` may name in job=report: a sweep's file stands for its finished runs, wherever they were sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from synthetic_run import write

from amend.errors import UserError
from amend.job.report import USUAL, folders_of
from amend.results.run_folder.naming import FINISHED
from amend.sweep.plan import Plans
from amend.sweep.search import grid
from amend.sweep.spec import read_sweep

ROOT = Path(__file__).parents[2]
SWEEP = ROOT / "sweeps" / "score_methods.yaml"


def some_runs(runs_dir: str) -> list[Path]:
    """Two of the sweep's runs as if finished, and one that is not."""
    plans = Plans(read_sweep(SWEEP), "", [f"runs_dir={runs_dir}"])
    folders = [write(plans(parameters).base) for parameters in grid(read_sweep(SWEEP))[:3]]
    for folder in folders[:2]:
        (folder / FINISHED).touch()
    return folders[:2]


def test_a_sweeps_runs_are_where_its_file_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = some_runs(USUAL)
    assert folders_of([str(SWEEP)], USUAL) == made
    assert folders_of([str(SWEEP), str(made[0])], USUAL) == made, "each once"
    assert OmegaConf.load(ROOT / "conf" / "config.yaml").runs_dir == USUAL


def test_or_where_they_were_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = some_runs(str(tmp_path / "elsewhere"))
    assert folders_of([str(SWEEP)], str(tmp_path / "elsewhere")) == made
    with pytest.raises(UserError, match="no run of the sweep is finished; start it with"):
        folders_of([str(SWEEP)], USUAL)
    with pytest.raises(UserError, match=f"start it with python -m amend.sweep {SWEEP} runs_dir=nowhere"):
        folders_of([str(SWEEP)], "nowhere")
