"""Write a sweep as one ``python run.py -m ...`` command for Hydra's launchers joblib and submitit.

    values          key=a,b,c                          every combination, with Hydra's basic sweeper
    min and max     key=interval(a,b), tag(log,...)    with Hydra's Optuna sweeper (hydra/sweeper=optuna)

Overrides are quoted for the shell. Values are written as Hydra's grammar expects them.
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
    """Return the command line.

    Raises:
        UserError: If Hydra's sweepers do not have the distribution of a parameter.
    """
    first = {key: spec.get("value", spec.get("values", [None])[0]) for key, spec in sweep.parameters.items()}
    swept = {key: _choice(sweep, key) for key in sweep.varied}
    words = []
    original = overrides(sweep, command_line(sweep, first))
    for word in [*(resized(original, scale) if scale else original), *more]:
        key = word.lstrip("+").split("=", 1)[0]
        words.append(f"{key}={swept[key]}" if key in swept and word not in more else word)
    sweeper = "" if sweep.method == "grid" else "hydra/sweeper=optuna "
    return f"python {sweep.program} -m {sweeper}{shlex.join(words)}"


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
        f"{sweep.path}: {key}: Hydra's sweepers have no distribution={kind}; run the sweep with python -m amend.sweep"
    )


def _value(value: Any) -> str:
    """Return a value as it is typed; strings that W&B quotes ('a,b') have their quotes already."""
    return str(value)
