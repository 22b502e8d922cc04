"""A sweep as one ``python run.py -m ...``: for Hydra's launchers: processes (joblib) and clusters (submitit).

    values          key=a,b,c                          every combination, by Hydra's own sweeper
    min and max     key=interval(a,b), tag(log,...)    for its Optuna sweeper (hydra/sweeper=optuna)

Words that have a meaning for Hydra's grammar are quoted; lists stand as they are.
"""

from __future__ import annotations

import shlex
from typing import Any

from amend.errors import UserError
from amend.sweep.command import command_line, overrides, resized
from amend.sweep.spec import Sweep

LAUNCHERS = {
    "several at a time": "hydra/launcher=joblib hydra.launcher.n_jobs={jobs}",
    "a Slurm cluster": "hydra/launcher=submitit_slurm hydra.launcher.timeout_min=120 hydra.launcher.cpus_per_task=2",
}


def multirun(sweep: Sweep, scale: str, more: list[str]) -> str:
    """The command line. UserError where Hydra has no such distribution."""
    first = {key: spec.get("value", spec.get("values", [None])[0]) for key, spec in sweep.parameters.items()}
    swept = {key: _choice(sweep, key) for key in sweep.varied}
    words = []
    given = overrides(sweep, command_line(sweep, first))
    for word in [*(resized(given, scale) if scale else given), *more]:
        key = word.lstrip("+").split("=", 1)[0]
        words.append(f"{key}={swept[key]}" if key in swept and word not in more else word)
    optimiser = "" if sweep.method == "grid" else "hydra/sweeper=optuna "
    return f"python {sweep.program} -m {optimiser}{shlex.join(words)}"


def _choice(sweep: Sweep, key: str) -> str:
    spec = sweep.parameters[key]
    kind = spec["distribution"]
    if kind == "categorical":
        joined = ",".join(_value(value) for value in spec["values"])
        return joined if sweep.method == "grid" else f"choice({joined})"
    if kind == "int_uniform" and sweep.method == "grid":
        return ",".join(str(value) for value in range(spec["min"], spec["max"] + 1))
    if kind == "int_uniform":
        return f"int(interval({spec['min']},{spec['max']}))"
    if kind == "uniform":
        return f"interval({spec['min']},{spec['max']})"
    if kind == "log_uniform_values":
        return f"tag(log,interval({spec['min']},{spec['max']}))"
    raise UserError(
        f"{sweep.path}: {key}: Hydra's sweepers have no distribution={kind}; run it with amend.sweep itself"
    )


def _value(value: Any) -> str:
    """As it would be typed. W&B's quoted strings ('a,b') carry their quotes already."""
    return str(value)
