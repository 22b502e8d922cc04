"""job=report: write the page of a run again, or one report of many runs, as files or as a W&B Report.

``runs`` may name run folders, parents of run folders, patterns and sweep files. This module resolves them to run
folders for `amend.results.report`, which knows neither configurations nor sweeps.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from amend.errors import UserError
from amend.results.report.html.run_page import write_report
from amend.results.report.html.study_page import write_index
from amend.results.report.wandb_report import as_workspace, publish
from amend.results.run_folder.atomic_files import atomic_write_text, os_errors_as_user_errors
from amend.results.run_folder.naming import latest_finished
from amend.results.run_folder.reader import run_folders
from amend.sweep import search
from amend.sweep import spec as sweeps
from amend.sweep.plan import Plans

USUAL = "runs"  # default of runs_dir in conf/config.yaml


def run(cfg: DictConfig) -> int:
    """Write the report of the run folder ``run`` again, or one report of all ``runs`` into ``out``.

    Raises:
        UserError: If a folder does not exist, or cannot be written.
    """
    if cfg.runs:
        out = Path(cfg.out)
        with os_errors_as_user_errors(out):
            words = [cfg.runs] if isinstance(cfg.runs, str) else list(cfg.runs)
            path, study = write_index(out, folders_of(words, str(cfg.runs_dir)))
            print(f"report: {path}")
            if cfg.to == "wandb":
                atomic_write_text(out / "wandb_report.json", as_workspace(study))
                print(f"W&B Report: {publish(study, cfg.publish) if cfg.publish else out / 'wandb_report.json'}")
        return 0
    if not Path(cfg.run).is_dir():
        raise UserError(f"run={cfg.run}: no such run folder; allowed: a folder under {cfg.runs_dir}")
    print(f"report: {write_report(Path(cfg.run))}")
    return 0


def folders_of(given: list[str], runs_dir: str) -> list[Path]:
    """Return the run folders of paths, patterns and sweep files.

    A sweep file stands for its finished runs.

    Args:
        given: Paths, patterns and sweep files.
        runs_dir: The folder of all runs. If it is not the default, it replaces that of the sweep file.

    Raises:
        UserError: If a path has no run folder, or a sweep has no finished run.
    """
    overrides = [f"runs_dir={runs_dir}"] if runs_dir != USUAL else []
    folders: list[Path] = []
    for word in given:
        if not word.endswith((".yaml", ".yml")):
            folders += run_folders([word])
            continue
        sweep = sweeps.read_sweep(Path(word))
        plans = Plans(sweep, "", overrides)
        planned = [plans(parameters) for parameters in search.grid(sweep)]
        finished = [folder for run in planned if not run.refused and (folder := latest_finished(run.base))]
        if not finished:
            words = " ".join([word, *overrides])
            raise UserError(
                f"runs={word}: no run of the sweep is finished; start it with python -m amend.sweep {words}"
            )
        folders += finished
    return list(dict.fromkeys(folders))
