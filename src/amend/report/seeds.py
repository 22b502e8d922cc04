"""Several seeds of one configuration, together: the only figures that speak of the algorithm and not of one run of it.

Every seed is evaluated on the same problems, so seeds and problems are two crossed sources of noise, and the interval
is over both (``stat.seeds``). The table shows each seed on its own, for a mean can hide one that failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from rich.table import Table

from amend.errors import UserError
from amend.metric import correction
from amend.metric.table import arrange
from amend.report.files import Run, read_run
from amend.report.limits import limits, within
from amend.stat.interval import Interval
from amend.stat.many import over_runs

FIGURES = {  # of the trained model, one value a problem; the last against the base model on the same problems
    "acc_t1": "Acc@t1",
    "acc_t2": "Acc@t2",
    "delta": "Δ(t1,t2)",
    "i_to_c": "i→c",
    "c_to_i": "c→i",
    "gain": "Acc@t2 over the base's",
    "gain_t1": "Acc@t1 over the base's",  # where there is one turn
}


def per_problem(run: Run) -> dict[str, Float[np.ndarray, " p"]]:
    """Each figure of a finished run, greedy, on each problem."""
    base, trained = (arrange(run.episodes, phase, "greedy") for phase in ("base", "trained"))
    if not len(trained) or list(base.problem) != list(trained.problem):
        raise UserError(f"run={run.folder}: no finished run; allowed: one that ended with its table")
    accuracy = correction.accuracy(trained.correct)
    if trained.turns < 2:
        return {"acc_t1": accuracy[:, 0], "gain_t1": accuracy[:, 0] - correction.accuracy(base.correct)[:, 0]}
    first, second = trained.correct[:, :, 0], trained.correct[:, :, 1]
    return {
        "acc_t1": accuracy[:, 0],
        "acc_t2": accuracy[:, 1],
        "delta": correction.delta(first, second),
        "i_to_c": correction.i_to_c(first, second),
        "c_to_i": correction.c_to_i(first, second),
        "gain": accuracy[:, 1] - correction.accuracy(base.correct)[:, 1],
    }


def pool(folders: Sequence[Path]) -> tuple[list[dict[str, Any]], dict[str, Interval]]:
    """What each run says, and each figure over all runs with its interval. UserError where they differ in kind."""
    runs = sorted((read_run(folder) for folder in folders), key=lambda run: int(run.summary.get("seed", -1)))
    if len(runs) < 2:
        raise UserError(f"{len(runs)} finished run of this configuration; at least two seeds are needed: -m seed=0,1,2")
    values = [per_problem(run) for run in runs]
    if len({len(v["acc_t1"]) for v in values}) > 1:
        raise UserError("these runs were evaluated on different numbers of problems; allowed: the same eval.problems")
    names = [name for name in FIGURES if name in values[0]]
    intervals = over_runs(np.stack([[v[name] for v in values] for name in names]))
    pooled = {name: within(i, *limits(name)) for name, i in zip(names, intervals, strict=True)}
    each = [
        {
            "seed": run.summary["seed"],
            "seconds": run.summary["cost"]["seconds"],
            **{n: float(v[n].mean()) for n in names},
        }
        for run, v in zip(runs, values, strict=True)
    ]
    return each, pooled


def seeds_table(folders: Sequence[Path], title: str) -> Table:
    """Each seed a column, and all of them together with 95 % intervals, in points."""
    each, pooled = pool(folders)
    table = Table(title=title, title_justify="left")
    table.add_column("greedy, trained")
    for row in each:
        table.add_column(f"seed {row['seed']}", justify="right")
    table.add_column("all, 95 %", justify="right", no_wrap=True)
    for name, whole in pooled.items():
        cells = [f"{100 * row[name]:.1f}" for row in each]
        table.add_row(FIGURES[name], *cells, f"{100 * whole.mean:.1f} [{100 * whole.low:.1f}, {100 * whole.high:.1f}]")
    table.add_row("seconds", *(f"{row['seconds']:.0f}" for row in each), "")
    return table
