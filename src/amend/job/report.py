"""job=report: one run's page again, or one report of many runs or of a sweep, as files and as a W&B Report.

A composition root: it knows what ``runs`` may name (run folders, folders that hold some, patterns, sweep files) and
hands folders to ``amend.report``, which knows neither configurations nor sweeps.
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

USUAL = "runs"  # conf/config.yaml's runs_dir


def run(cfg: DictConfig) -> int:
    """Write the report of the run folder ``run`` again, or one of all ``runs`` into ``out``."""
    if cfg.runs:
        out = Path(cfg.out)
        with os_errors_as_user_errors(out):
            given = [cfg.runs] if isinstance(cfg.runs, str) else list(cfg.runs)
            path, made = write_index(out, folders_of(given, str(cfg.runs_dir)))
            print(f"report: {path}")
            if cfg.to == "wandb":
                atomic_write_text(out / "wandb_report.json", as_workspace(made))
                print(f"W&B Report: {publish(made, cfg.publish) if cfg.publish else out / 'wandb_report.json'}")
        return 0
    if not Path(cfg.run).is_dir():
        raise UserError(f"run={cfg.run}: no such run folder; allowed: a folder under {cfg.runs_dir}")
    print(f"report: {write_report(Path(cfg.run))}")
    return 0


def folders_of(given: list[str], runs_dir: str) -> list[Path]:
    """Run folders: of a sweep's finished runs, where a file of sweeps/ is named, and of paths and patterns.

    A sweep's are where its file has them, or under ``runs_dir`` where that is not the usual one.
    """
    elsewhere = [f"runs_dir={runs_dir}"] if runs_dir != USUAL else []
    folders: list[Path] = []
    for word in given:
        if not word.endswith((".yaml", ".yml")):
            folders += run_folders([word])
            continue
        sweep = sweeps.read_sweep(Path(word))
        plans = Plans(sweep, "", elsewhere)
        planned = [plans(parameters) for parameters in search.grid(sweep)]
        found = [folder for run in planned if not run.refused and (folder := latest_finished(run.base))]
        if not found:
            words = " ".join([word, *elsewhere])
            raise UserError(f"runs={word}: none of its runs is finished; start it with python -m amend.sweep {words}")
        folders += found
    return list(dict.fromkeys(folders))
