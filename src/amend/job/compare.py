"""The fair comparison: every algorithm, the same seeds, the same budget of sampled tokens, one table (job=compare).

Each run is a process and a command line of its own, printed so that it can be repeated alone; what is finished is not
run again, what was killed goes on, and what failed is named at the end and keeps nothing else from running.
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

OWN = ("job=", "algo=", "seed=", "compare.")  # words of this job's command line that are not a run's


def run(cfg: DictConfig) -> int:
    """Run what is missing, then print the table and write it; the exit status is 1 where a run failed."""
    plan = [(name, seed) for seed in cfg.compare.seeds for name in cfg.compare.algorithms]
    known = sorted(path.stem for path in (config_dir() / "algo").glob("*.yaml"))
    for name in cfg.compare.algorithms:
        if name not in known:
            near = did_you_mean(name, known)
            raise UserError(f"compare.algorithms: no algo={name} in conf/algo{near}allowed: {', '.join(known)}")
    failed: dict[str, str] = {}
    began = time.perf_counter()
    for number, (name, seed) in enumerate(plan, 1):
        words = command_line(cfg, name, seed)
        state = where(words)
        if state == "finished":
            continue
        print(f"[{number}/{len(plan)}] python run.py {shlex.join(words)}", flush=True)
        if reason := run_missing([*words, *(["resume=true"] if state == "unfinished" else [])]):
            failed[f"algo={name} seed={seed}"] = reason
            print(f"    failed: {reason}", flush=True)
    folders = [found for name, seed in plan if (found := folder(command_line(cfg, name, seed)))]
    for table in comparison_tables(folders, cfg.compare.sampled_tokens):
        print_table(table)
    out = write_comparison(Path(cfg.runs_dir) / "comparison.json", folders)
    print(f"{len(folders)} of {len(plan)} runs, {(time.perf_counter() - began) / 60:.0f} minutes; figures: {out}")
    for which, reason in failed.items():
        print(f"failed: {which}: {reason}")
    return int(bool(failed))


def command_line(cfg: DictConfig, name: str, seed: int) -> list[str]:
    """The overrides of one run: the plan's, then whatever this job was given beside its own."""
    typed = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    given = [word for word in typed if not word.lstrip("+").startswith(OWN)]
    budget = f"budget.sampled_tokens={cfg.compare.sampled_tokens}"
    return [f"algo={name}", f"seed={seed}", budget, *cfg.compare.overrides, *given]


def folder(words: list[str]) -> Path | None:
    """The folder of such a run that finished last."""
    return latest_finished(run_path(compose_config(words)))


def where(words: list[str]) -> str:
    """Whether such a run is finished, unfinished (and can go on), or has not begun."""
    base = run_path(compose_config(words))
    return "finished" if latest_finished(base) else "unfinished" if existing_runs(base) else "new"


def run_missing(words: list[str]) -> str:
    """Run it in a process of its own; why it failed, or nothing."""
    program = Path(sys.argv[0])
    asked = [sys.executable, str(program), *words] if program.suffix == ".py" else [str(program), *words]
    said = subprocess.run(asked, capture_output=True, text=True)
    lines = said.stderr.strip().splitlines() or [f"exit status {said.returncode}"]
    return "" if said.returncode == 0 else lines[-1]
