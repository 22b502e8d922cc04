"""A W&B sweep file, read as W&B reads it: which values each parameter takes, and in which order runs come.

    grid     every combination, the first parameter slowest (itertools.product, which is W&B's order)
    random   run n of seed s is a function of (s, n): nothing is remembered, and no run depends on those before it
    bayes    asks optuna what to try next (``optimise``)

Keys are dotted and flat (``algo.lr``): W&B writes a nested mapping into the command line as a Python dictionary, which
Hydra cannot read. ``null`` would arrive as the word None, so ``"null"`` is asked for. What is not understood is
refused, never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from amend.errors import UserError

METHODS = ("grid", "random", "bayes")
KNOWN = (
    "program", "method", "name", "description", "metric", "parameters", "command", "run_cap", "project", "entity",
)  # fmt: skip
KEYS = {  # what each distribution is told, beside its name
    "constant": ("value",),
    "categorical": ("values",),
    "int_uniform": ("min", "max"),
    "uniform": ("min", "max"),
    "q_uniform": ("min", "max"),
    "log_uniform": ("min", "max"),
    "log_uniform_values": ("min", "max"),
    "q_log_uniform_values": ("min", "max"),
    "normal": (),
    "q_normal": (),
    "log_normal": (),
    "beta": (),
}
MORE = {  # and may be told
    "categorical": ("probabilities",),
    "q_uniform": ("q",),
    "q_log_uniform_values": ("q",),
    "normal": ("mu", "sigma"),
    "q_normal": ("mu", "sigma", "q"),
    "log_normal": ("mu", "sigma"),
    "beta": ("a", "b"),
}
Parameters = dict[str, Any]  # one run's: name -> value


@dataclass(frozen=True)
class Sweep:
    """What a file says. ``parameters``: name -> its specification with ``distribution`` filled in."""

    path: Path
    name: str
    program: str
    method: str
    metric: str
    maximize: bool
    cap: int | None
    command: tuple[str, ...]
    parameters: Mapping[str, Mapping[str, Any]]

    @property
    def varied(self) -> list[str]:
        """Parameters that take more than one value, in the file's order."""
        return [key for key, spec in self.parameters.items() if spec["distribution"] != "constant"]


def read_sweep(path: Path) -> Sweep:
    """The sweep in a file; UserError in one line for whatever is not as it should be."""
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give a sweep file such as sweeps/*.yaml"
        ) from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(said, dict) or not isinstance(said.get("parameters"), dict):
        raise UserError(f"{path}: no sweep, for it has no parameters")
    if unknown := [key for key in said if key not in KNOWN]:
        raise UserError(f"{path}: {unknown[0]}: not run here; allowed: {', '.join(KNOWN)}")
    if said.get("method") not in METHODS:
        raise UserError(f"{path}: method={said.get('method')}: allowed: {', '.join(METHODS)}")
    metric = said.get("metric") or {}
    if said["method"] == "bayes" and not metric.get("name"):
        raise UserError(f"{path}: metric.name: missing, and method=bayes needs it; such as trained.delta.mean")
    return Sweep(
        path=path,
        name=str(said.get("name") or path.stem),
        program=str(said.get("program", "run.py")),
        method=said["method"],
        metric=str(metric.get("name", "")),
        maximize=metric.get("goal", "minimize") == "maximize",  # W&B's default
        cap=said.get("run_cap"),
        command=tuple(map(str, said.get("command") or ("${env}", "${interpreter}", "${program}", "${args}"))),
        parameters={str(key): _specified(f"{path}: {key}", spec) for key, spec in said["parameters"].items()},
    )


def _specified(where: str, spec: Any) -> dict[str, Any]:
    """A parameter's specification, with the distribution that W&B would take where none is named."""
    if not isinstance(spec, dict) or "parameters" in spec:
        raise UserError(f"{where}: allowed: value, values, or min and max; nested keys are written with a dot")
    given = dict(spec)
    whole = all(isinstance(given.get(end), int) for end in ("min", "max"))
    implied = (
        "constant"
        if "value" in given
        else "categorical"
        if "values" in given
        else "int_uniform"
        if whole
        else "uniform"
    )
    kind = given.setdefault("distribution", implied)
    if kind not in KEYS:
        raise UserError(f"{where}: distribution={kind}: allowed: {', '.join(KEYS)}")
    if missing := [key for key in KEYS[kind] if key not in given]:
        raise UserError(f"{where}: {missing[0]}: missing, and distribution={kind} needs it")
    if stray := [key for key in given if key not in ("distribution", *KEYS[kind], *MORE.get(kind, ()))]:
        raise UserError(f"{where}: {stray[0]}: distribution={kind} has no use for it")
    for key in ("min", "max", "q", "mu", "sigma", "a", "b"):
        if isinstance(given.get(key, 0), str):
            raise UserError(f"{where}: {key}={given[key]}: text, not a number; YAML wants 1.0e-5 where 1e-5 is meant")
    for value in [given["value"]] if kind == "constant" else given.get("values", []):
        if value is None:
            raise UserError(f'{where}: null would arrive as the word None; write "null"')
        if isinstance(value, dict):
            raise UserError(f"{where}: a mapping cannot stand on a command line; give each of its keys with a dot")
    return given
