"""job=compare: run several algorithms with the same seeds and the same budget of sampled tokens, and print one table.

Each run has its own process. The job prints its command line, so that a run can be repeated separately. Finished runs
are not repeated, and killed runs resume. A failed run does not stop the others; the job lists it at the end.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from amend.config.compose import compose_config, config_dir
from amend.config.value_checks import did_you_mean
from amend.errors import UserError
from amend.results.analysis.pooling import write_comparison
from amend.results.report.terminal.tables import comparison_tables, print_table
from amend.results.run_folder.naming import existing_runs, latest_finished, run_path

OWN = ("job=", "algo=", "seed=", "compare.")  # overrides of this job that its runs do not get


def run(cfg: DictConfig) -> int:
    """Run the missing runs, then print the table and write it.

    Returns:
        The exit status: 0, or 1 if a run failed.

    Raises:
        UserError: If ``compare.algorithms`` has an unknown algorithm.
    """
    plan = [(name, seed) for seed in cfg.compare.seeds for name in cfg.compare.algorithms]
    known = sorted(path.stem for path in (config_dir() / "algo").glob("*.yaml"))
    for name in cfg.compare.algorithms:
        if name not in known:
            hint = did_you_mean(name, known)
            raise UserError(f"compare.algorithms: no algo={name} in conf/algo{hint}allowed: {', '.join(known)}")
    failed: dict[str, str] = {}
    start = time.perf_counter()
    for number, (name, seed) in enumerate(plan, 1):
        words = command_line(cfg, name, seed)
        state = where(words)
        if state == "finished":
            continue
        print(f"[{number}/{len(plan)}] python run.py {shlex.join(words)}", flush=True)
        if reason := run_missing([*words, *(["resume=true"] if state == "unfinished" else [])]):
            failed[f"algo={name} seed={seed}"] = reason
            print(f"    failed: {reason}", flush=True)
    folders = [path for name, seed in plan if (path := folder(command_line(cfg, name, seed)))]
    for table in comparison_tables(folders, cfg.compare.sampled_tokens):
        print_table(table)
    out = write_comparison(Path(cfg.runs_dir) / "comparison.json", folders)
    print(f"{len(folders)} of {len(plan)} runs, {(time.perf_counter() - start) / 60:.0f} minutes; results: {out}")
    for label, reason in failed.items():
        print(f"failed: {label}: {reason}")
    return int(bool(failed))


def command_line(cfg: DictConfig, name: str, seed: int) -> list[str]:
    """Return the overrides of one run: those of the plan, ``compare.overrides``, then further ones of this job."""
    typed = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    further = [word for word in typed if not word.lstrip("+").startswith(OWN)]
    budget = f"budget.sampled_tokens={cfg.compare.sampled_tokens}"
    return [f"algo={name}", f"seed={seed}", budget, *cfg.compare.overrides, *further]


def folder(words: list[str]) -> Path | None:
    """Return the folder of the run that finished last, among the runs with these overrides."""
    return latest_finished(run_path(compose_config(words)))


def where(words: list[str]) -> str:
    """Return the state of the run with these overrides: finished | unfinished (can be resumed) | new."""
    base = run_path(compose_config(words))
    return "finished" if latest_finished(base) else "unfinished" if existing_runs(base) else "new"


def run_missing(words: list[str]) -> str:
    """Run the program with these overrides in its own process; return why it failed, or an empty text."""
    program = Path(sys.argv[0])
    command = [sys.executable, str(program), *words] if program.suffix == ".py" else [str(program), *words]
    process = subprocess.run(command, capture_output=True, text=True)
    lines = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
    return "" if process.returncode == 0 else lines[-1]
