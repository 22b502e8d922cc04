"""Pool the metrics of several runs over seeds and problems."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from amend.errors import UserError
from amend.results.analysis.baseline_comparison import compare_to_baseline
from amend.results.analysis.metric_registry import HELD, SEED_FIGURES, clip_interval, metric_range
from amend.results.analysis.rliable_aggregates import BASELINE, subject_scores
from amend.results.analysis.run_metrics import figures, per_problem
from amend.results.metrics.episode_table import select
from amend.results.run_folder.atomic_files import atomic_write_text
from amend.results.run_folder.reader import Run, read_run
from amend.results.stats.intervals import Interval
from amend.results.stats.random_effects import interval_over_runs


def compared(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """One entry an algorithm, in the order in which they first appear: figures with intervals, seeds, cost."""
    runs: dict[str, list[Run]] = {}
    for folder in folders:
        run = read_run(folder)
        runs.setdefault(str(run.summary.get("algo", "?")), []).append(run)
    values = {name: _values(some) for name, some in runs.items()}
    differences = compare_to_baseline(values, HELD, BASELINE)
    return [
        {**_entry(name, some, values[name]), **({"against": differences[name]} if name in differences else {})}
        for name, some in runs.items()
    ]


def _values(runs: list[Run]) -> dict[str, Float[np.ndarray, "s p"]]:
    """Each figure of one algorithm's runs, a row a seed."""
    each = [figures(run, "trained") for run in runs]
    return {key: np.stack([values[key] for values in each]) for key in each[0]}


def _entry(name: str, runs: list[Run], values: dict[str, Float[np.ndarray, "s p"]]) -> dict[str, Any]:
    intervals = {key: pooled(key, value) for key, value in values.items()}
    cost = {
        key: float(np.mean([run.summary["cost"][key] for run in runs]))
        for key in ("seconds", "sampled_tokens", "episodes", "optimizer_steps", "tokens_per_problem")
        if all(key in run.summary["cost"] for run in runs)
    }
    k = select(runs[0].episodes, "trained", "wide").correct.shape[1]
    plain = {key: {n: float(v) for n, v in interval._asdict().items()} for key, interval in intervals.items()}
    subjects = [subject_scores(select(run.episodes, "trained", "greedy")) for run in runs]
    return {
        "algo": name,
        "seeds": [run.summary["seed"] for run in runs],
        "k": k,
        "figures": plain,
        "cost": cost,
        "subjects": subjects,
    }


def pooled(name: str, values: Float[np.ndarray, "s p"]) -> Interval:
    """A figure over seeds (rows) and problems; with one seed over problems alone."""
    return clip_interval(interval_over_runs(values[None])[0], *metric_range(name))


def write_comparison(path: Path, folders: Sequence[Path]) -> Path:
    """Write the same metrics as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_text(path, json.dumps(compared(folders), indent=1, ensure_ascii=False) + "\n")
    return path


def pool(folders: Sequence[Path]) -> tuple[list[dict[str, Any]], dict[str, Interval]]:
    """Return the metrics of each run, and of all runs with intervals; UserError if the runs differ in kind."""
    runs = sorted((read_run(folder) for folder in folders), key=lambda run: int(run.summary.get("seed", -1)))
    if len(runs) < 2:
        raise UserError(f"{len(runs)} finished run of this configuration; at least two seeds are needed: -m seed=0,1,2")
    values = [per_problem(run) for run in runs]
    if len({len(v["acc_t1"]) for v in values}) > 1:
        raise UserError("these runs were evaluated on different numbers of problems; allowed: the same eval.problems")
    names = [name for name in SEED_FIGURES if name in values[0]]
    intervals = interval_over_runs(np.stack([[v[name] for v in values] for name in names]))
    pooled = {name: clip_interval(i, *metric_range(name)) for name, i in zip(names, intervals, strict=True)}
    each = [
        {
            "seed": run.summary["seed"],
            "seconds": run.summary["cost"]["seconds"],
            **{n: float(v[n].mean()) for n in names},
        }
        for run, v in zip(runs, values, strict=True)
    ]
    return each, pooled
